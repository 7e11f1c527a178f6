"""Rows of a tensor in memory: loops over rows, and over the elements of a row, for any order of axes.

A function of rows sees its input in a *view*, a shape of as many elements, in which some axes make a row. The view may
split axes of the tensor (channels into groups) or join them (all pixels). The finest axes of both are found first; then
neighbours that are one run in every tensor that is read or written are joined, so that few loops remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from qengine.deploy.c.ir import Parameters
from qengine.deploy.c.lowering import NotExportable

_LOOPS = 3
_ROW_NAMES = ("outer", "middle", "inner")
_UNIT_NAMES = ("plane", "line", "unit")
_LENGTH_NAMES = ("planes", "lines", "length")


@dataclass(frozen=True)
class Axis:
    """An axis of loops.

    Attributes
    ----------
    length : number of places.
    strides : elements from one place to the next, in each tensor.
    in_row : whether it is a part of a row.
    """

    length: int
    strides: tuple[int, ...]
    in_row: bool


@dataclass(frozen=True)
class RowAxes:
    """The loops of a function of rows.

    Attributes
    ----------
    of_rows, in_rows : loops over rows, and over the elements of a row, the outermost first.
    """

    of_rows: tuple[Axis, ...]
    in_rows: tuple[Axis, ...]

    def counts(self) -> Parameters:
        """Return the fields of `struct net_rows`."""
        names = (*_ROW_NAMES, *_LENGTH_NAMES)
        return {name: axis.length for name, axis in zip(names, self._padded(), strict=True)}

    def strides(self, tensor: int) -> Parameters:
        """Return the fields of `struct net_strides` of a tensor."""
        names = (*_ROW_NAMES, *_UNIT_NAMES)
        return {name: axis.strides[tensor] for name, axis in zip(names, self._padded(), strict=True)}

    def is_one_run(self, tensor: int) -> bool:
        """Whether a tensor is read or written from its start to its end."""
        step = 1
        for axis in reversed((*self.of_rows, *self.in_rows)):
            if axis.strides[tensor] != step:
                return False
            step *= axis.length
        return True

    def _padded(self) -> list[Axis]:
        found = []
        for axes in (self.of_rows, self.in_rows):
            count = max((len(axis.strides) for axis in (*self.of_rows, *self.in_rows)), default=4)
            found += [Axis(1, (0,) * count, False)] * (_LOOPS - len(axes)) + list(axes)
        return found


def row_axes(
    view: Sequence[int], in_row: Sequence[int], tensors: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> RowAxes:
    """Return the loops over rows.

    Parameters
    ----------
    view
        Shape in which the rows are axes.
    in_row
        Axes of the view that make a row.
    tensors
        Shape and strides of each tensor, of as many elements as the view; of a parameter, the view itself and its
        strides in it, 0 where it is repeated. The loops are in the order of the memory of the first one.

    Raises
    ------
    NotExportable
        If the memory of the tensors is in pieces that three loops over rows, or in a row, do not reach.
    """
    cuts = sorted({cut for shape in (view, *(shape for shape, _ in tensors)) for cut in _cuts(shape)}, reverse=True)
    lengths = [a // b for a, b in pairwise(cuts)]
    places = [_places(shape, strides, cuts) for shape, strides in tensors]
    owners = [_owner(view, cut) for cut in cuts[1:]]
    axes = [
        Axis(length, tuple(one[i] for one in places), owners[i] in in_row)
        for i, length in enumerate(lengths)
        if length > 1
    ]
    found = RowAxes(_joined([a for a in axes if not a.in_row]), _joined([a for a in axes if a.in_row]))
    if len(found.of_rows) > _LOOPS or len(found.in_rows) > _LOOPS:
        raise NotExportable("its rows lie in memory in more pieces than C has loops for: transpose its input first")
    return found


def _cuts(shape: Sequence[int]) -> list[int]:
    """Return the number of elements of each block of a shape, the largest first: of all of it, ..., of one element."""
    return [prod(shape[axis:]) for axis in range(len(shape) + 1)]


def _places(shape: Sequence[int], strides: Sequence[int], cuts: Sequence[int]) -> list[int]:
    """Return the stride of each axis between cuts."""
    found = []
    for end in cuts[1:]:
        axis = _owner(shape, end)
        found.append(strides[axis] * (end // prod(shape[axis + 1 :])) if axis >= 0 else 0)
    return found


def _owner(shape: Sequence[int], cut: int) -> int:
    """Return the axis of a shape that a step over `cut` elements belongs to; -1 for a shape without axes."""
    blocks = _cuts(shape)
    return max((axis for axis in range(len(shape)) if blocks[axis + 1] <= cut < blocks[axis]), default=-1)


def _joined(axes: list[Axis]) -> tuple[Axis, ...]:
    """Return loops in the order of memory of the first tensor, those that are one run as one."""
    found: list[Axis] = []
    for axis in sorted(axes, key=lambda a: a.strides[0], reverse=True):
        if found and all(
            outer == inner * axis.length for outer, inner in zip(found[-1].strides, axis.strides, strict=True)
        ):
            found[-1] = Axis(found[-1].length * axis.length, axis.strides, axis.in_row)
        else:
            found.append(axis)
    return tuple(found)
