"""Float32 runs in which one tensor, or one kind of tensors, is rounded to its format.

The noise of a format is measured by running the model in float32 with nothing rounded but the tensor in question. A
model has hundreds of tensors, and most of such a run would repeat the plain float32 run. `Rerun` keeps every tensor of
the plain run. For a rounded tensor it makes a plan of the steps after it, whose inputs are the rounded tensor and the
kept ones, and runs it as the session runs any plan: on native kernels where it can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import CONSTANT, Point, points_of
from qengine.errors import FormatError, UnsupportedError
from qengine.kernels.reference.requantize import Tally, dequantize, quantize
from qengine.model.graph import Node
from qengine.model.steps import Arithmetic, FromCodes, Rounded, Tensor, codes_of
from qengine.qformat import Format, fraction_bits_of
from qengine.runtime.plan.plan import BoundStep, Plan, decode_output
from qengine.runtime.session import InferenceSession

Arrays = Mapping[str, NDArray[Any]]


class Rerun:
    """A plan in float32, run once per feed without rounding, and then any number of times with chosen tensors rounded.

    Parameters
    ----------
    fixed, float32
        Plans of one model with the same shapes and outputs. The first has the formats and the arithmetic.
    session
        Session in float32, which runs the plans.

    Attributes
    ----------
    points : the tensors with formats, by name.
    outputs : names of the real-valued outputs that a run computes.
    exact : every tensor of the last run without rounding, by name.

    Raises
    ------
    UnsupportedError
        If no output holds real numbers that a run computes.
    """

    def __init__(self, fixed: Plan, float32: Plan, session: InferenceSession) -> None:
        assert fixed.fixed is not None
        self._fixed, self._plan, self._plans, self._arithmetic = fixed, float32, session.plans, fixed.fixed.arithmetic
        self.points = points_of(fixed, float32)
        self.outputs = [name for name, t in float32.outputs.items() if t.value is None and t.is_float]
        if not self.outputs:
            listed = ", ".join(f"'{name}'" for name in float32.outputs)
            raise UnsupportedError(
                f"noise needs an output with real numbers that a run computes, and {listed} has none: name a tensor "
                "inside the model that has some (--fetch, outputs=)"
            )
        self.exact: dict[str, NDArray[Any]] = {}
        self._tensors = {t.name: t for t in (*float32.inputs, *(step.output for step in float32.steps))}
        computed = {step.output.name: step.output for step in float32.steps}
        self._every_tensor = _plan_of(float32, float32.inputs, float32.steps, computed)
        self._after: dict[str, Plan] = {}  # plans of the steps after a tensor, with constants in their own formats
        self._with_kinds: dict[tuple[bool, bool], Plan] = {}

    def run(self, feeds: Arrays) -> None:
        """Run in float32 without rounding, and keep every tensor."""
        if self._plans.isa is not None and self._plan.steps:
            inputs = {t.name: np.asarray(feeds[t.name]) for t in self._plan.inputs}
            self.exact = {**inputs, **self._plans.run(self._every_tensor, feeds, raw=False)}
        else:
            self.exact = {tensor.name: array for tensor, array in self._plan.trace(feeds)}

    def rounded(self, point: Point, fmt: Format | None = None) -> NDArray[Any]:
        """Return an input or an activation of the float32 run, rounded to a format; by default to the point's own."""
        return in_format(point.name, self.exact[point.name], fmt or point.format, self._arithmetic)

    def run_with_rounded(self, point: Point, fmt: Format | None = None, *, array: NDArray[Any] | None = None) -> Arrays:
        """Return the outputs of a float32 run in which one tensor is rounded.

        Parameters
        ----------
        point
            A tensor that the run in fixed point rounds.
        fmt
            Format to round to; None for the point's own.
        array
            Result of `rounded` for this point and format, if it is available.
        """
        changed: dict[str, NDArray[Any]] = {}
        if point.kind != CONSTANT:
            changed[point.name] = self.rounded(point, fmt) if array is None else array
        # The plan of an activation does not depend on its format.
        if fmt is None or point.kind != CONSTANT:
            if point.name not in self._after:
                self._after[point.name] = self._plan_after(point, None)
            plan = self._after[point.name]
        else:
            plan = self._plan_after(point, fmt)
        if plan.steps:
            feeds = {t.name: changed.get(t.name, self.exact[t.name]) for t in plan.inputs}
            changed |= self._plans.run(plan, feeds, raw=False)
        return {name: changed.get(name, self.exact[name]) for name in self.outputs}

    def run_with_kinds_rounded(self, *, constants: bool, activations: bool) -> Arrays:
        """Return the outputs of a float32 run with all constants rounded, or all inputs and activations, or both."""
        key = constants, activations
        if key not in self._with_kinds:
            self._with_kinds[key] = self._plan_with_kinds(constants=constants, activations=activations)
        plan = self._with_kinds[key]
        found = self._plans.run(
            plan, {t.name: self.exact[t.name.removesuffix(_BEFORE)] for t in plan.inputs}, raw=False
        )
        return {name: found[name] for name in self.outputs}

    def _plan_after(self, point: Point, fmt: Format | None) -> Plan:
        """Return the plan of the steps that depend on a tensor, rounded to a format where it is a constant."""
        names = {point.name} if point.kind != CONSTANT else set()
        uses, steps = self._rounded_constants(point, fmt), []
        for i, bound_step in enumerate(self._plan.steps):
            if i in uses or names.intersection(bound_step.reads):
                steps.append(bound_step.with_operands(uses.get(i, _same)))
                names.add(bound_step.output.name)
        computed = {step.output.name for step in steps}
        read = dict.fromkeys(name for step in steps for name in step.reads if name not in computed)
        outputs = {name: self._tensors[name] for name in self.outputs if name in computed}
        return _plan_of(self._plan, tuple(self._tensors[name] for name in read), steps, outputs)

    def _plan_with_kinds(self, *, constants: bool, activations: bool) -> Plan:
        """Return the plan of a run with all tensors of some kinds rounded."""
        uses: dict[int, Change] = {}
        for point in self.points.values() if constants else ():
            for i, change in self._rounded_constants(point, None).items():
                uses[i] = _both(uses.get(i, _same), change)
        inputs, steps = list(self._plan.inputs), []
        if activations:
            for k, tensor in enumerate(inputs):
                inputs[k], added = self._rounding(tensor, Node("Identity", (tensor.name,), (tensor.name,)))
                steps += added
        for i, bound_step in enumerate(self._plan.steps):
            before, added = (
                self._rounding(bound_step.output, bound_step.node) if activations else (bound_step.output, [])
            )
            steps += [bound_step.with_operands(uses.get(i, _same), before), *added]
        outputs = {name: self._tensors[name] for name in self.outputs}
        return replace(_plan_of(self._plan, tuple(inputs), steps, outputs), fixed=self._fixed.fixed)

    def _rounding(self, tensor: Tensor, node: Node) -> tuple[Tensor, list[BoundStep]]:
        """Return a tensor under the name that it has before it is rounded, and the steps that round it."""
        point = self.points.get(tensor.name)
        if point is None or not point.rounds:
            return tensor, []
        before = replace(tensor, name=f"{tensor.name}{_BEFORE}")
        codes = replace(tensor, name=f"{tensor.name}\0codes", format=point.format)
        fmt = codes.one_format

        def encode(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:
            return codes_of(arrays[0], tensor.name, fmt, self._arithmetic, tally)

        def decode(*arrays: NDArray[Any], tally: Tally | None = None) -> NDArray[Any]:  # noqa: ARG001
            return decode_output(codes, arrays[0], raw=False)

        back = FromCodes(codes, fmt, 0, tensor.dtype)
        return before, [
            BoundStep(node, Rounded(before), codes, encode),
            BoundStep(node, back, tensor, decode),
        ]

    def _rounded_constants(self, point: Point, fmt: Format | None) -> dict[int, Change]:
        """Return a function for each step that reads a constant: it replaces the constant by a rounded one."""
        changes: dict[int, Change] = {}
        for i, k, tensor in point.uses:
            exact = self._plan.steps[i].step.operands[k]
            rounded = replace(exact, value=constant_in_format(tensor, fmt or point.format))
            changes[i] = _both(changes.get(i, _same), partial(_swapped, exact, rounded))
        return changes


_BEFORE = "\0unrounded"

Change = Callable[[Tensor], Tensor]
"""Function that returns the operand that takes the place of another."""


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _swapped(one: Tensor, other: Tensor, tensor: Tensor) -> Tensor:
    return other if tensor is one else tensor


def _both(first: Change, second: Change) -> Change:
    return lambda tensor: second(first(tensor))


def _plan_of(plan: Plan, inputs: tuple[Tensor, ...], steps: Sequence[BoundStep], outputs: Mapping[str, Tensor]) -> Plan:
    """Return a plan of other inputs, steps and outputs, which releases each tensor after its last reader."""
    last_read = {name: i for i, step in enumerate(steps) for name in step.reads}
    release: list[list[str]] = [[] for _ in steps]
    for name, i in last_read.items():
        if name not in outputs:
            release[i].append(name)
    releasing = tuple(replace(step, release=tuple(names)) for step, names in zip(steps, release, strict=True))
    return replace(plan, inputs=inputs, steps=releasing, outputs=outputs, constants=())


def in_format(name: str, array: NDArray[Any], fmt: Format, arithmetic: Arithmetic) -> NDArray[Any]:
    """Return an array rounded to a format as a run does it: quantized and dequantized.

    Raises
    ------
    FormatError
        If it holds NaN.
    """
    if np.isnan(array).any():
        raise FormatError(f"tensor '{name}' became NaN in float32: fixed point has no code for it")
    n = fraction_bits_of(fmt, array.ndim)
    codes = quantize(array, n, fmt.word(arithmetic.rounding, arithmetic.overflow))
    return dequantize(codes, n).astype(array.dtype, copy=False)


def constant_in_format(tensor: Tensor, fmt: Format) -> NDArray[Any]:
    """Return a constant rounded to a format; constants round half to even and saturate in every arithmetic."""
    assert tensor.value is not None
    return in_format(tensor.name, tensor.value, fmt, Arithmetic())
