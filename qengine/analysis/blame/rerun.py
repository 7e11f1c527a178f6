"""Float32 runs in which chosen tensors are rounded, and what they share with the run in which none is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import WEIGHTS, Point, points_of
from qengine.errors import FormatError, UnsupportedError
from qengine.kernels.reference.requantize import dequantize, quantize
from qengine.model.steps import Arithmetic, Tensor
from qengine.qformat import Format, fraction_bits_of
from qengine.runtime.plan.plan import Plan

Arrays = Mapping[str, NDArray[Any]]


class Rerun:
    """One plan in float32: a run, and any number of runs of the same feeds that differ from it by what is rounded.

    Only what depends on the rounded tensor is computed again; the rest is kept from the run without rounding.

    Parameters
    ----------
    fixed, float32
        Plans of one model, one set of shapes and outputs. The first tells what is rounded and how.

    Attributes
    ----------
    points : the tensors of the first, by name.
    outputs : the real-valued tensors that the plans answer with and compute.
    exact : every tensor of the last run without rounding.
    """

    def __init__(self, fixed: Plan, float32: Plan) -> None:
        assert fixed.fixed is not None
        self._plan, self._arithmetic = float32, fixed.fixed.arithmetic
        self.points = points_of(fixed, float32)
        self.outputs = [name for name, t in float32.outputs.items() if t.value is None and t.is_float]
        if not self.outputs:
            listed = ", ".join(f"'{name}'" for name in float32.outputs)
            raise UnsupportedError(
                f"noise is measured in real numbers that a run computes, and there are none in {listed}: name a tensor "
                "inside of the model that holds some (--fetch, outputs=)"
            )
        self.exact: dict[str, NDArray[Any]] = {}
        self._affected = {name: self._after(point) for name, point in self.points.items() if point.rounds}
        self._kept: dict[tuple[str, int, int], NDArray[Any]] = {}

    def run(self, feeds: Arrays) -> None:
        """Run in float32, and keep every tensor."""
        self.exact = {tensor.name: array for tensor, array in self._plan.trace(feeds)}

    def rounded(self, point: Point, form: Format | None = None) -> NDArray[Any]:
        """Return an input or an activation of the float32 run rounded to a format; by default the point's own."""
        return in_format(point.name, self.exact[point.name], form or point.format, self._arithmetic)

    def alone(self, point: Point, form: Format | None = None, *, array: NDArray[Any] | None = None) -> Arrays:
        """Return the outputs of a run in which one tensor is rounded, and everything else is as in float32.

        Parameters
        ----------
        point
            A tensor that rounds.
        form
            Its format; None for the point's own.
        array
            What `rounded` returned for it, if that is known.
        """
        changed: dict[str, NDArray[Any]] = {}
        swapped = self._constants(point, form)
        if point.kind != WEIGHTS:
            changed[point.name] = self.rounded(point, form) if array is None else array
        for i in self._affected[point.name]:
            self._compute(i, changed, swapped)
            for gone in self._plan.steps[i].release:
                if gone not in self._plan.outputs:
                    changed.pop(gone, None)
        return {name: changed.get(name, self.exact[name]) for name in self.outputs}

    def together(self, *, weights: bool, activations: bool) -> Arrays:
        """Return the outputs of a run in which all constants are rounded, or all activations and inputs, or both."""
        changed: dict[str, NDArray[Any]] = {}
        swapped: dict[tuple[int, int], NDArray[Any]] = {}
        for point in self.points.values():
            if weights:
                swapped |= self._constants(point, None)
        if activations:
            for tensor in self._plan.inputs:
                self._round(tensor.name, changed, self.exact)
        for i, bound in enumerate(self._plan.steps):
            self._compute(i, changed, swapped)
            if activations:
                self._round(bound.output.name, changed, changed)
            for gone in bound.release:
                if gone not in self._plan.outputs:
                    changed.pop(gone, None)
        return {name: changed.get(name, self.exact[name]) for name in self.outputs}

    def _round(self, name: str, changed: dict[str, NDArray[Any]], source: Arrays) -> None:
        point = self.points.get(name)
        if point is not None and point.rounds:
            changed[name] = in_format(name, source[name], point.format, self._arithmetic)

    def _compute(self, i: int, changed: dict[str, NDArray[Any]], swapped: Mapping[tuple[int, int], Any]) -> None:
        bound = self._plan.steps[i]
        arrays = []
        for k, source in enumerate(bound.sources):
            if (i, k) in swapped:
                arrays.append(swapped[i, k])
            elif isinstance(source, str):
                arrays.append(changed[source] if source in changed else self.exact[source])
            else:
                arrays.append(source)
        with bound.node.errors_named():
            changed[bound.output.name] = bound.kernel(*arrays)

    def _constants(self, point: Point, form: Format | None) -> dict[tuple[int, int], NDArray[Any]]:
        """Return what takes the place of a constant, by step and operand; those of the point's own format are kept."""
        found = {}
        for i, k, tensor in point.places:
            key = (point.name, i, k)
            if form is None and key not in self._kept:
                self._kept[key] = constant_in_format(tensor, point.format)
            found[i, k] = self._kept[key] if form is None else constant_in_format(tensor, form)
        return found

    def _after(self, point: Point) -> tuple[int, ...]:
        """Return the steps that depend on a tensor, in order."""
        names = {point.name} if point.kind != WEIGHTS else set()
        reads = {i for i, _, _ in point.places}
        found = []
        for i, bound in enumerate(self._plan.steps):
            if i in reads or any(isinstance(s, str) and s in names for s in bound.sources):
                found.append(i)
                names.add(bound.output.name)
        return tuple(found)


def in_format(name: str, array: NDArray[Any], form: Format, arithmetic: Arithmetic) -> NDArray[Any]:
    """Return the real numbers that the codes of others stand for, rounded as a run does.

    Raises
    ------
    FormatError
        If there is NaN among them.
    """
    if np.isnan(array).any():
        raise FormatError(f"tensor '{name}' became NaN in float32: fixed point has no code for it")
    n = fraction_bits_of(form, array.ndim)
    codes = quantize(array, n, form.word(arithmetic.rounding, arithmetic.overflow))
    return dequantize(codes, n).astype(array.dtype, copy=False)


def constant_in_format(tensor: Tensor, form: Format) -> NDArray[Any]:
    """Return the real numbers that a constant's codes stand for; constants round half to even and saturate."""
    assert tensor.value is not None
    return in_format(tensor.name, tensor.value, form, Arithmetic())
