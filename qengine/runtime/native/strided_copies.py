"""Op that copies strided views: which kernel copies a view, along which axes, and how threads share the work.

A `Piece` is a strided view of a source and one of the target, of the same shape. Axes that lie in both like one axis
are merged first. What is then the last axis of the target decides the kernel:

- it is contiguous in both: runs of bytes are copied;
- another axis is contiguous in the source: a matrix of these two axes is transposed, in tiles;
- neither: single elements are copied, or one element is repeated.

Any number of pieces is one op: a Concat has one for each input, a Pad one for each side of each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from qengine.kernels.program import Call
from qengine.kernels.strided_copy import STRIP, CopyElements, CopyRuns, CopyTransposed
from qengine.model.steps.moves import Strided
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, View

_LONG_RUN = 1 << 14
"""Bytes of a run above which it is cut, so that threads can share it."""

_CYCLES_PER_BYTE = {CopyRuns: 0.06, CopyTransposed: 0.2, CopyElements: 0.5}


@dataclass(frozen=True)
class Piece:
    """A strided view of a source, and where in the target its elements go.

    Attributes
    ----------
    source : index of the input.
    x, y : views of the source and of the target, of the same shape.
    """

    source: int
    x: Strided
    y: Strided


@dataclass(frozen=True)
class _Axis:
    """An axis of a piece: its length, and its distance in bytes in the source and in the target."""

    length: int
    x: int
    y: int


def _merged(piece: Piece, itemsize: int) -> list[_Axis]:
    """Return the axes of a piece without those of length 1, and with those merged that lie in both like one."""
    axes: list[_Axis] = []
    for length, x, y in zip(piece.x.shape, piece.x.strides, piece.y.strides, strict=True):
        axis = _Axis(length, x * itemsize, y * itemsize)
        if length == 1:
            continue
        if axes and (axes[-1].x, axes[-1].y) == (axis.x * length, axis.y * length):
            axis = _Axis(axes.pop().length * length, axis.x, axis.y)
        axes.append(axis)
    return axes


@dataclass(frozen=True)
class _Plan:
    """The kernel that copies a piece, and its arguments.

    Attributes
    ----------
    spec : specification of the kernel.
    outer : axes other than the two inner ones.
    parts : number of parts: places of the outer axes and rows, or strips of rows, along `mid`.
    arguments : arguments of the kernel besides addresses and parts.
    """

    spec: Any
    outer: tuple[_Axis, ...]
    parts: int
    arguments: dict[str, int]


def _plan(piece: Piece, itemsize: int) -> _Plan:
    """Return how a piece is copied."""
    axes = _merged(piece, itemsize)
    if not axes or axes[-1].y != itemsize:  # columns of one element
        axes.append(_Axis(1, itemsize, itemsize))
    last = axes.pop()
    contiguous = [axis for axis in axes if axis.x == itemsize]
    if last.x == itemsize:
        if not axes and last.length * itemsize > 2 * _LONG_RUN:
            return _long_run(last.length * itemsize)
        mid = _longest(axes)
        arguments = {"mid": mid.length, "x_mid": mid.x, "y_mid": mid.y, "inner": last.length * itemsize}
        return _with_outer(CopyRuns(), axes, mid, mid.length, arguments)
    if last.x and contiguous:
        mid = _longest(contiguous)
        arguments = {"mid": mid.length, "y_mid": mid.y, "inner": last.length, "x_inner": last.x}
        return _with_outer(CopyTransposed(itemsize), axes, mid, -(-mid.length // STRIP), arguments)
    mid = _longest(axes)
    arguments = {"mid": mid.length, "x_mid": mid.x, "y_mid": mid.y, "inner": last.length, "x_inner": last.x}
    return _with_outer(CopyElements(itemsize, last.x == 0), axes, mid, mid.length, arguments)


def _longest(axes: Sequence[_Axis]) -> _Axis:
    return max(axes, key=lambda axis: axis.length, default=_Axis(1, 0, 0))


def _with_outer(spec: Any, axes: Sequence[_Axis], mid: _Axis, rows: int, arguments: dict[str, int]) -> _Plan:
    outer = tuple(axis for axis in reversed(axes) if axis is not mid)
    return _Plan(spec, outer, rows * prod(axis.length for axis in outer), arguments)


def _long_run(size: int) -> _Plan:
    """Return how one long run is copied: as runs that may overlap by less than their number of bytes."""
    rows = size // _LONG_RUN
    step = size // rows
    return _Plan(CopyRuns(), (), rows, {"mid": rows, "x_mid": step, "y_mid": step, "inner": size - step * (rows - 1)})


@dataclass(eq=False)
class CopyOp(Op):
    """Copy of pieces, which together fill the output.

    Attributes
    ----------
    pieces : the pieces.
    """

    pieces: tuple[Piece, ...]
    _plans: list[_Plan] = field(default_factory=list, init=False)
    _tables: list[int] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        itemsize = ITEMSIZE[self.out.stored]
        for piece in self.pieces:
            plan = _plan(piece, itemsize)
            self._plans.append(plan)
            rows = [n for axis in plan.outer for n in (axis.length, axis.x, axis.y)]
            self._tables.append(self.address_of(np.array(rows or [0], np.int64)))
        self.kernel = max(self._plans, key=lambda plan: plan.parts).spec.emitter

    @property
    def part_count(self) -> int:
        """The number of parts of all pieces."""
        return sum(plan.parts for plan in self._plans)

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        sizes = [
            _CYCLES_PER_BYTE[type(plan.spec)] * prod(piece.x.shape)
            for plan, piece in zip(self._plans, self.pieces, strict=True)
        ]
        return sum(sizes) * ITEMSIZE[self.out.stored] + 8.0 * self.part_count

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that copy some parts."""
        calls, start, itemsize = [], 0, ITEMSIZE[self.out.stored]
        for piece, plan, table in zip(self.pieces, self._plans, self._tables, strict=True):
            first, end = max(rows.first - start, 0), min(rows.end - start, plan.parts)
            start += plan.parts
            if first < end:
                arguments: dict[str, Address] = {
                    "x": views[piece.source].origin + piece.x.offset * itemsize,
                    "y": out.origin + piece.y.offset * itemsize,
                    **{"axes": table, "outer": len(plan.outer), "first": first, "end": end},
                    **plan.arguments,
                }
                calls.append(Call(plan.spec, arguments))
        return calls


def copy_view(isa: Any, x: TensorBuffer, view: Strided, out: TensorBuffer) -> CopyOp:
    """Return the op that copies a strided view to a whole buffer."""
    return CopyOp(isa, (x,), out, (Piece(0, view, Strided.whole(view.shape)),))
