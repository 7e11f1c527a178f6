"""Float32 runs in which one tensor, or one kind of tensors, is rounded to its format.

The noise of a format is measured by running the model in float32 with nothing rounded but the tensor in question. A
model has hundreds of tensors, and most of such a run would repeat the plain float32 run. `Rerun` keeps every tensor of
the plain run, and computes again only the steps after the rounded tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import CONSTANT, Point, points_of
from qengine.errors import FormatError, UnsupportedError
from qengine.kernels.reference.requantize import dequantize, quantize
from qengine.model.steps import Arithmetic, Tensor
from qengine.qformat import Format, fraction_bits_of
from qengine.runtime.plan.plan import Plan

Arrays = Mapping[str, NDArray[Any]]


class Rerun:
    """A plan in float32, run once per feed without rounding, and then any number of times with chosen tensors rounded.

    Parameters
    ----------
    fixed, float32
        Plans of one model with the same shapes and outputs. The first has the formats and the arithmetic.

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

    def __init__(self, fixed: Plan, float32: Plan) -> None:
        assert fixed.fixed is not None
        self._plan, self._arithmetic = float32, fixed.fixed.arithmetic
        self.points = points_of(fixed, float32)
        self.outputs = [name for name, t in float32.outputs.items() if t.value is None and t.is_float]
        if not self.outputs:
            listed = ", ".join(f"'{name}'" for name in float32.outputs)
            raise UnsupportedError(
                f"noise needs an output with real numbers that a run computes, and {listed} has none: name a tensor "
                "inside the model that has some (--fetch, outputs=)"
            )
        self.exact: dict[str, NDArray[Any]] = {}
        self._affected = {name: self._steps_after(point) for name, point in self.points.items() if point.rounds}
        self._kept: dict[tuple[str, int, int], NDArray[Any]] = {}

    def run(self, feeds: Arrays) -> None:
        """Run in float32 without rounding, and keep every tensor."""
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
        swapped = self._rounded_constants(point, fmt)
        if point.kind != CONSTANT:
            changed[point.name] = self.rounded(point, fmt) if array is None else array
        for i in self._affected[point.name]:
            self._compute(i, changed, swapped)
            for gone in self._plan.steps[i].release:
                if gone not in self._plan.outputs:
                    changed.pop(gone, None)
        return {name: changed.get(name, self.exact[name]) for name in self.outputs}

    def run_with_kinds_rounded(self, *, constants: bool, activations: bool) -> Arrays:
        """Return the outputs of a float32 run with all constants rounded, or all inputs and activations, or both."""
        changed: dict[str, NDArray[Any]] = {}
        swapped: dict[tuple[int, int], NDArray[Any]] = {}
        for point in self.points.values():
            if constants:
                swapped |= self._rounded_constants(point, None)
        if activations:
            for tensor in self._plan.inputs:
                self._round(tensor.name, changed, self.exact)
        for i, bound_step in enumerate(self._plan.steps):
            self._compute(i, changed, swapped)
            if activations:
                self._round(bound_step.output.name, changed, changed)
            for gone in bound_step.release:
                if gone not in self._plan.outputs:
                    changed.pop(gone, None)
        return {name: changed.get(name, self.exact[name]) for name in self.outputs}

    def _round(self, name: str, changed: dict[str, NDArray[Any]], source: Arrays) -> None:
        point = self.points.get(name)
        if point is not None and point.rounds:
            changed[name] = in_format(name, source[name], point.format, self._arithmetic)

    def _compute(self, i: int, changed: dict[str, NDArray[Any]], swapped: Mapping[tuple[int, int], Any]) -> None:
        bound_step = self._plan.steps[i]
        arrays = []
        for k, source in enumerate(bound_step.sources):
            if (i, k) in swapped:
                arrays.append(swapped[i, k])
            elif isinstance(source, str):
                arrays.append(changed[source] if source in changed else self.exact[source])
            else:
                arrays.append(source)
        with bound_step.node.errors_named():
            changed[bound_step.output.name] = bound_step.kernel(*arrays)

    def _rounded_constants(self, point: Point, fmt: Format | None) -> dict[tuple[int, int], NDArray[Any]]:
        """Return a rounded constant by step and operand; in the point's own format it is computed once."""
        rounded = {}
        for i, k, tensor in point.uses:
            key = (point.name, i, k)
            if fmt is None and key not in self._kept:
                self._kept[key] = constant_in_format(tensor, point.format)
            rounded[i, k] = self._kept[key] if fmt is None else constant_in_format(tensor, fmt)
        return rounded

    def _steps_after(self, point: Point) -> tuple[int, ...]:
        """Return the indices of the steps that depend on a tensor, in order."""
        names = {point.name} if point.kind != CONSTANT else set()
        reads = {i for i, _, _ in point.uses}
        steps = []
        for i, bound_step in enumerate(self._plan.steps):
            if i in reads or names.intersection(bound_step.reads):
                steps.append(i)
                names.add(bound_step.output.name)
        return tuple(steps)


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
