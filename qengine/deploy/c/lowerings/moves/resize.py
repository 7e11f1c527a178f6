"""Linear and cubic Resize: exact sums over integer taps along each axis, rounded once.

The sums of two axes that are neighbours in memory, as rows and columns of an image are, go row by row: the taps of the
outer axis give a row of exact sums, of which the taps of the inner axis make codes. Other axes are summed one after the
other, in memory for whole tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Argument, Call, Constant, CTensor, Operation, Parameters, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.calls import copy_calls, fill_call
from qengine.deploy.c.lowerings.elements.convert import convert_call, enough
from qengine.deploy.c.lowerings.elements.operands import magnitude
from qengine.deploy.c.lowerings.nests import AXES, Nest, in_memory
from qengine.kernels.reference.resize import ResizeTaps, integer_taps
from qengine.model.steps import Resize

_MOST_INDEX = (1 << 15) - 1


@dataclass(frozen=True)
class AxisTaps:
    """The taps of an axis, those of one period.

    Attributes
    ----------
    axis : number of the axis in ONNX's order.
    size : length before.
    out : length after.
    first : first cell of each output of a period; it may lie outside.
    weights : weights of the cells from there on, (period, taps).
    advance : cells by which the first one moves in a period.
    growth : largest sum of the magnitudes of the weights of an output.
    """

    axis: int
    size: int
    out: int
    first: NDArray[np.int64]
    weights: NDArray[np.int64]
    advance: int
    growth: int

    @classmethod
    def of(cls, axis: int, size: int, taps: ResizeTaps) -> AxisTaps:
        """Return the taps of an axis."""
        first, weights = first_cells(taps.index, size), taps.weight
        out, count = weights.shape
        growth = int(np.abs(weights).sum(axis=1).max(initial=1))
        for period in range(1, out):
            advance = int(first[period] - first[0])
            later = first[:-period] + advance
            if np.array_equal(first[period:], later) and np.array_equal(weights[period:], weights[:-period]):
                return cls(axis, size, out, first[:period], weights[:period], advance, growth)
        del count
        return cls(axis, size, out, first, weights, 0, growth)

    @property
    def numbers(self) -> Parameters:
        """The fields of `struct net_resize_axis`."""
        period, taps = self.weights.shape
        return {"out": self.out, "in": self.size, "taps": taps, "period": period, "advance": self.advance}

    def constants(self, context: Context) -> tuple[Constant, Constant]:
        """Return the first cells and the weights."""
        if np.abs(self.first).max() > _MOST_INDEX:
            raise NotExportable(f"axis {self.axis} has {self.size} cells, at most {_MOST_INDEX} are possible in C")
        wide = np.abs(self.weights).max() > _MOST_INDEX
        weights = self.weights.astype(np.int32 if wide else np.int16)
        name = f"axis{self.axis}"
        return (
            context.constant(f"{name}_first", self.first.astype(np.int16), f"first cells along axis {self.axis}"),
            context.constant(f"{name}_weights", weights, f"weights along axis {self.axis}"),
        )


def first_cells(index: NDArray[np.intp], size: int) -> NDArray[np.int64]:
    """Return for each output the cell of the first tap, outside of the axis where taps read its end.

    Parameters
    ----------
    index
        Cells of the taps, (out, taps): neighbours, those beyond an end brought to it.
    size
        Length of the axis.
    """
    zeros = (index == 0).sum(axis=1)
    first = np.where(index[:, 0] > 0, index[:, 0], 1 - zeros).astype(np.int64)
    cells = np.clip(first[:, None] + np.arange(index.shape[1]), 0, size - 1)
    assert np.array_equal(cells, index), "taps are neighbours"
    return first


@lowers(Resize, lambda c: c.step.mode != "nearest", first=50)
def lower_resize(context: Context) -> Operation:
    """Return the operation of a linear or cubic Resize."""
    step: Resize = context.step
    y = context.y
    if not y.size:
        return context.operation()
    taps = [integer_taps(t, step.tap_bits) for t in step.taps()]
    axes = [AxisTaps.of(a.axis, a.size, t) for a, t in zip(step.axes, taps, strict=True)]
    axes.sort(key=lambda one: y.order.index(one.axis))
    shift = step.tap_bits * len(axes) + step.x.fraction_bits - context.out.fraction_bits
    calls, comment = _Passes(context, axes, shift).calls()
    outside = {
        a.axis: t.outside for a, t in zip(step.axes, taps, strict=True) if t.outside is not None and t.outside.any()
    }
    calls += _fills(context, outside)
    return context.operation(*calls, comments=(comment,), macs=_macs(y, axes))


def _macs(y: CTensor, axes: Sequence[AxisTaps]) -> int:
    return y.size * sum(int(one.weights.shape[1]) for one in axes)


class _Passes:
    """The calls of a Resize, for an input whose shape changes axis by axis."""

    def __init__(self, context: Context, axes: Sequence[AxisTaps], shift: int) -> None:
        self.context, self.axes, self.shift = context, list(axes), shift
        self.x, self.y = context.tensors[context.step.x.name], context.y
        self.lengths = [self.x.shape[a] for a in self.y.order]
        self.found: list[Call] = []
        self.end = 0
        self.source: Argument = self.x
        self.bound = magnitude(self.x.ends)

    def calls(self) -> tuple[list[Call], str]:
        """Return the calls, and the bound of the sums."""
        if self.x.order != self.y.order:
            nest = Nest.of(self.lengths, [[t[a] for a in self.y.order] for t in (self.x.strides, self._own_strides())])
            scratch = self._scratch(self.x.dtype, self.x.size)
            self.found += copy_calls(self.x, scratch, nest)
            self.source = scratch
        total = self.bound * prod(one.growth for one in self.axes)
        self.numbers = self.context.epilogue(enough(self.shift, total))
        v = accumulator(total, enough(self.shift, total))
        if not self.axes:
            row = Nest((self.y.size,), ((1,), (1,)))
            self.found.append(convert_call(self.source, self.y, row, self.numbers, v))
        elif len(self.axes) == 2:
            self._rows(v)
        else:
            for one in self.axes[:-1]:
                self._sums(one)
            self._codes(v)
        return self.found, f"|sum| <= {total}"

    def _own_strides(self) -> list[int]:
        """Return the strides of the input, if it lay in the order of the output."""
        found, step = [0] * len(self.lengths), 1
        for a in reversed(self.y.order):
            found[a] = step
            step *= self.x.shape[a]
        return found

    def _scratch(self, dtype: np.dtype[Any], size: int) -> Scratch:
        scratch = Scratch(dtype, size, self.end)
        self.end = -(-scratch.end // 8) * 8
        return scratch

    def _around(self, one: AxisTaps) -> tuple[int, int, int]:
        """Return the place of an axis in memory, and the elements outside and inside of it."""
        at = self.y.order.index(one.axis)
        return at, prod(self.lengths[:at]), prod(self.lengths[at + 1 :])

    def _type(self) -> np.dtype[Any]:
        source = self.source
        assert isinstance(source, CTensor | Scratch)
        return source.dtype

    def _sums(self, one: AxisTaps) -> None:
        at, outer, inner = self._around(one)
        self.bound *= one.growth
        first, weights = one.constants(self.context)
        sums = self._scratch(accumulator(self.bound), outer * inner * one.out)
        types = {"x": self._type(), "w": weights.array.dtype, "v": sums.dtype}
        numbers: Parameters = {"outer": outer, "inner": inner, "axis": one.numbers}
        self.found.append(Call("resize_sums", types, (self.source, first, weights, sums), numbers))
        self.source = sums
        self.lengths[at] = one.out

    def _codes(self, v: np.dtype[Any]) -> None:
        one = self.axes[-1]
        _, outer, inner = self._around(one)
        first, weights = one.constants(self.context)
        types = {"x": self._type(), "w": weights.array.dtype, "v": v, "y": self.y.dtype}
        numbers: Parameters = {"outer": outer, "inner": inner, "axis": one.numbers, "epilogue": self.numbers}
        self.found.append(Call("resize_codes", types, (self.source, first, weights, self.y), numbers))

    def _rows(self, v: np.dtype[Any]) -> None:
        """Add the call for two axes, row by row."""
        outer_axis, inner_axis = self.axes
        at, outer, inside = self._around(outer_axis)
        last, _, inner = self._around(inner_axis)
        row = self._scratch(accumulator(self.bound * outer_axis.growth), inside)
        codes: Parameters = {
            "outer": prod(self.lengths[at + 1 : last]),
            "inner": inner,
            "axis": inner_axis.numbers,
            "epilogue": self.numbers,
        }
        first, weights = outer_axis.constants(self.context)
        inner_first, inner_weights = inner_axis.constants(self.context)
        types = {
            "x": self._type(),
            "w": weights.array.dtype,
            "u": inner_weights.array.dtype,
            "r": row.dtype,
            "v": v,
            "y": self.y.dtype,
        }
        arguments = (self.source, first, weights, inner_first, inner_weights, row, self.y)
        numbers: Parameters = {"outer": outer, "axis": outer_axis.numbers, "codes": codes}
        self.found.append(Call("resize_rows", types, arguments, numbers))


def _fills(context: Context, outside: dict[int, NDArray[np.bool_]]) -> list[Call]:
    """Return the calls that write the extrapolated value where a coordinate lies outside of the input."""
    y, calls = context.y, list[Call]()
    value = context.out.encode(context.step.extrapolation_value)
    for axis, mask in outside.items():
        edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
        for start, end in edges.reshape(-1, 2).tolist():
            lengths = [end - start if a == axis else n for a, n in enumerate(y.shape)]
            nest = Nest.of(in_memory(y, lengths), [in_memory(y, y.strides)])
            assert len(nest.lengths) <= AXES
            calls.append(fill_call(y, value, nest, start * y.strides[axis]))
    return calls
