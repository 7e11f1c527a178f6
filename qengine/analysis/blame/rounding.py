"""Steps and constants in float32 with the numbers of a format: what a run in fixed point would round them to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import CONSTANT, Point
from qengine.errors import FormatError
from qengine.kernels.reference.requantize import Tally, dequantize, quantize
from qengine.model.graph import Node
from qengine.model.rules import Arithmetic, Modes
from qengine.model.steps import FromCodes, Rounded, Tensor, codes_of
from qengine.qformat import Format, fraction_bits_of
from qengine.runtime.plan.plan import BoundStep, FixedPointSettings, Plan, decode_output

Constants = Mapping[str, Format]
"""Format of each constant that is rounded, by its name."""


def in_format(name: str, array: NDArray[Any], fmt: Format, modes: Modes) -> NDArray[Any]:
    """Return an array rounded to a format as a run does it: quantized and dequantized.

    Raises
    ------
    FormatError
        If it holds NaN.
    """
    if np.isnan(array).any():
        raise FormatError(f"tensor '{name}' became NaN in float32: fixed point has no code for it")
    n = fraction_bits_of(fmt, array.ndim)
    codes = quantize(array, n, modes.word(fmt))
    return dequantize(codes, n).astype(array.dtype, copy=False)


def constant_in_format(tensor: Tensor, fmt: Format) -> NDArray[Any]:
    """Return a constant rounded to a format as a run rounds it."""
    assert tensor.value is not None
    return in_format(tensor.name, tensor.value, fmt, tensor.encoding)


class Rounder:
    """Changes of steps in float32 that round constants and outputs.

    Parameters
    ----------
    points
        The tensors with formats, by name.
    fixed
        Arithmetic of the run in fixed point.
    """

    def __init__(self, points: Mapping[str, Point], fixed: FixedPointSettings) -> None:
        self.points, self.fixed = points, fixed
        self._uses: dict[str, list[tuple[int, Tensor, Format]]] = {}
        for point in points.values():
            for output, k, constant in point.uses:
                self._uses.setdefault(output, []).append((k, constant, point.format))

    def constants_of(self, bound_step: BoundStep) -> Constants:
        """Return the constants with formats that a step reads."""
        return {constant.name: fmt for _, constant, fmt in self._uses.get(bound_step.output.name, ())}

    def with_constants(self, bound_step: BoundStep, formats: Constants, output: Tensor | None = None) -> BoundStep:
        """Return a step that reads some constants rounded to formats, and writes its output under another name."""
        rounded: list[tuple[Tensor, Tensor]] = []
        for k, constant, _ in self._uses.get(bound_step.output.name, ()):
            if constant.name in formats:
                exact = bound_step.step.operands[k]
                value = constant_in_format(constant, formats[constant.name])
                rounded.append((exact, replace(exact, value=value)))

        def change(tensor: Tensor) -> Tensor:
            return next((other for one, other in rounded if one is tensor), tensor)

        return bound_step.with_operands(change, output)

    def rounds(self, tensor: Tensor) -> bool:
        """Whether a run in fixed point rounds an input or the output of a step."""
        point = self.points.get(tensor.name)
        return point is not None and point.rounds and point.kind != CONSTANT

    def rounding(self, tensor: Tensor, node: Node) -> tuple[Tensor, tuple[BoundStep, ...]]:
        """Return a tensor under the name that it has before it is rounded, and the steps that round it."""
        before = replace(tensor, name=before_name(tensor.name))
        codes = replace(tensor, name=f"{tensor.name}\0codes", format=self.points[tensor.name].format)
        fmt, modes = codes.one_format, self.points[tensor.name].modes
        assert modes.rounding is not None
        assert modes.overflow is not None
        arithmetic = Arithmetic(modes.rounding, modes.overflow)

        def encode(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            return codes_of(arrays[0], tensor.name, fmt, arithmetic, tally)

        def decode(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return decode_output(codes, arrays[0], raw=False)

        back = FromCodes(codes, fmt, 0, tensor.dtype)
        rounded = BoundStep(node, Rounded(before), codes, encode, arithmetic=arithmetic)
        return before, (rounded, BoundStep(node, back, tensor, decode))


def before_name(name: str) -> str:
    """Return the name that a tensor has before it is rounded."""
    return f"{name}\0unrounded"


def plan_of(plan: Plan, inputs: Sequence[Tensor], steps: Sequence[BoundStep], outputs: Mapping[str, Tensor]) -> Plan:
    """Return a plan of other inputs, steps and outputs, which releases each tensor after its last reader."""
    last_read = {name: i for i, step in enumerate(steps) for name in step.reads}
    release: list[list[str]] = [[] for _ in steps]
    for name, i in last_read.items():
        if name not in outputs:
            release[i].append(name)
    releasing = tuple(replace(step, release=tuple(names)) for step, names in zip(steps, release, strict=True))
    return replace(plan, inputs=tuple(inputs), steps=releasing, outputs=dict(outputs), constants=())


def read_before(steps: Sequence[BoundStep], find: Callable[[str], Tensor]) -> list[Tensor]:
    """Return the tensors that steps read and do not compute."""
    computed = {step.output.name for step in steps}
    return [find(name) for name in dict.fromkeys(name for step in steps for name in step.reads if name not in computed)]


def read_after(steps: Sequence[BoundStep], names: Collection[str]) -> dict[str, Tensor]:
    """Return those of the outputs of steps that are among some names."""
    return {step.output.name: step.output for step in steps if step.output.name in names}
