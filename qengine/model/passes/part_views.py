"""Views of joined tensors as parts: what a node that only moves or bounds elements makes of each part by itself.

A Concat joins its inputs, the *parts*, along an axis. A Transpose of the whole is the Concat of the transposed parts
along another axis; a Slice that takes whole parts is the Concat of these parts, or one of them. `moved` says this for
each operator that moves elements: it turns the view of a node's input into the view of its output. Nothing is computed
for that: a part that a node of its own would compute is a `Moved`, which `joins` makes a node where something reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Attribute, Dim, Node

Constants = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Moved:
    """A tensor that a node computes, if anything reads it.

    Attributes
    ----------
    node : the node, without its tensors.
    sources : tensors that it reads first.
    others : names of its further inputs, or new constants for them.
    """

    node: Node
    sources: tuple[Piece, ...]
    others: tuple[str | NDArray[np.int64], ...] = ()


Piece = str | Moved
"""A part: a tensor of the graph, or one that a new node would compute."""


@dataclass(frozen=True, eq=False)
class Parts:
    """A tensor as the Concat of parts.

    Attributes
    ----------
    axis : axis along which the parts lie, counted from the front.
    pieces : the parts.
    lengths : lengths of the parts along the axis; None where unknown.
    """

    axis: int
    pieces: tuple[Piece, ...]
    lengths: tuple[int | None, ...]

    def ends(self) -> list[int] | None:
        """Return where each part ends along the axis; None where a length is unknown."""
        known = [n for n in self.lengths if n is not None]
        return list(accumulate(known)) if len(known) == len(self.lengths) else None


@dataclass(frozen=True)
class Move:
    """A node that moves elements, with what is known of its tensors.

    Attributes
    ----------
    node : the node.
    shape : shape of the input; None where even the number of axes is unknown.
    constants : constants of the graph.
    rank_of : function that returns the number of axes of a tensor, or None.
    """

    node: Node
    shape: tuple[Dim, ...] | None
    constants: Constants
    rank_of: Callable[[str], int | None] = field(repr=False)

    def given(self, attribute: str, place: int) -> tuple[int, ...] | None:
        """Return integers that an attribute or a constant input gives; None where neither does."""
        found: Any = self.node.attributes.get(attribute)
        if found is None and place < len(self.node.inputs):
            found = self.constants.get(self.node.inputs[place])
        array = np.asarray([] if found is None else found)
        is_given = found is not None and (array.dtype.kind in "iu" or not array.size)
        return tuple(int(n) for n in array.ravel()) if is_given else None

    def has_input(self, place: int) -> bool:
        """Whether the node has an input."""
        return place < len(self.node.inputs) and bool(self.node.inputs[place])

    def axes(self, axes: Iterable[int], rank: int | None) -> tuple[int, ...] | None:
        """Return axes counted from the front; None where that is not possible."""
        if rank is None:
            return tuple(axes) if all(a >= 0 for a in axes) else None
        return tuple(a % rank for a in axes) if all(-rank <= a < rank for a in axes) else None

    @property
    def rank(self) -> int | None:
        """The number of axes of the input."""
        return None if self.shape is None else len(self.shape)


Result = Piece | Parts | None
"""An output of a node: one part, a join of parts, or neither."""


def moved(move: Move, parts: Parts) -> list[Result]:
    """Return what each output of a node is, for an input that is a join of parts."""
    rule = _RULES.get(move.node.operator)
    none: list[Result] = [None] * len(move.node.outputs)
    return none if rule is None or move.node.domain else rule(move, parts) or none


def _each(move: Move, parts: Parts, axis: int, *others: str | NDArray[np.int64]) -> list[Result]:
    """Return the same node on each part."""
    pieces = tuple(Moved(move.node, (piece,), others) for piece in parts.pieces)
    return [Parts(axis, pieces, parts.lengths)]


def _identity(move: Move, parts: Parts) -> list[Result] | None:  # noqa: ARG001
    return [parts]


def _bound(move: Move, parts: Parts) -> list[Result] | None:
    return _each(move, parts, parts.axis, *move.node.inputs[1:])


def _transpose(move: Move, parts: Parts) -> list[Result] | None:
    order = move.given("perm", len(move.node.inputs))
    if order is None:
        order = None if move.rank is None else tuple(reversed(range(move.rank)))
    order = None if order is None else move.axes(order, len(order))
    return None if order is None or parts.axis not in order else _each(move, parts, order.index(parts.axis))


def _squeeze(move: Move, parts: Parts) -> list[Result] | None:
    axes = move.axes(move.given("axes", 1) or (), move.rank)
    if not axes or parts.axis in axes:
        return None
    return _each(move, parts, parts.axis - sum(a < parts.axis for a in axes), *move.node.inputs[1:])


def _unsqueeze(move: Move, parts: Parts) -> list[Result] | None:
    given = move.given("axes", 1)
    axes = None if given is None else move.axes(given, None if move.rank is None else move.rank + len(given))
    if axes is None:
        return None
    axis = parts.axis
    for new in sorted(axes):
        axis += new <= axis
    return _each(move, parts, axis, *move.node.inputs[1:])


def _reshape(move: Move, parts: Parts) -> list[Result] | None:
    wanted, shape = move.given("shape", 1), move.shape
    if wanted is None or shape is None or not move.has_input(1) or move.node.attributes.get("allowzero"):
        return None
    if 0 in parts.lengths:  # 0 says in a new shape that a length stays
        return None
    target = [shape[i] if n == 0 and i < len(shape) else None if n == -1 else n for i, n in enumerate(wanted)]
    for axis in range(len(target)):
        lengths = _lengths_after(parts, shape, target, axis)
        if lengths is None or (parts.axis != axis and wanted[parts.axis : parts.axis + 1] == (0,)):
            continue
        new = [np.array([*wanted[:axis], n, *wanted[axis + 1 :]], np.int64) for n in lengths]
        pieces = tuple(Moved(move.node, (p,), (spec,)) for p, spec in zip(parts.pieces, new, strict=True))
        return [Parts(axis, pieces, tuple(lengths))]
    return None


def _flatten(move: Move, parts: Parts) -> list[Result] | None:
    given = move.node.number("axis", 1)
    if move.shape is None or not -len(move.shape) <= given <= len(move.shape):
        return None
    first = given % len(move.shape) if given != len(move.shape) else given
    halves = [move.shape[:first], move.shape[first:]]
    target = [_product(half) for half in halves]
    axis = int(first <= parts.axis)
    lengths = _lengths_after(parts, move.shape, target, axis)
    if lengths is None:
        return None
    return [Parts(axis, tuple(Moved(move.node, (piece,)) for piece in parts.pieces), tuple(lengths))]


def _lengths_after(parts: Parts, shape: tuple[Dim, ...], target: Sequence[Dim], axis: int) -> list[int] | None:
    """Return the lengths of the parts along an axis of a new shape; None where the result is not a Concat."""
    ends = parts.ends()
    if not ends:
        return None
    whole, known = ends[-1], [n for n in parts.lengths if n is not None]
    before, after = shape[: parts.axis], shape[parts.axis + 1 :]
    same_before = (tuple(target[:axis]) == before and None not in before) or _product(before) == _product(
        target[:axis]
    ) is not None
    inner, new_inner = _product(after), _product(target[axis + 1 :])
    if target[axis] == whole and (same_before or (inner is not None and inner == new_inner)):
        return known
    if not same_before or not inner or not new_inner or any(n * inner % new_inner for n in known):
        return None
    lengths = [n * inner // new_inner for n in known]
    return lengths if target[axis] in (None, sum(lengths)) else None


def _product(lengths: Iterable[Dim]) -> int | None:
    known = list(lengths)
    return prod(n for n in known if isinstance(n, int)) if all(isinstance(n, int) for n in known) else None


def _slice(move: Move, parts: Parts) -> list[Result] | None:
    starts, ends, axes, steps = (move.given(n, i) for i, n in enumerate(("starts", "ends", "axes", "steps"), 1))
    if starts is None or ends is None or any(move.has_input(i) and g is None for i, g in ((3, axes), (4, steps))):
        return None
    places = move.axes(range(len(starts)) if axes is None else axes, move.rank)
    cuts = list(zip(places or (), starts, ends, steps or (1,) * len(starts), strict=False))
    own = next((cut for cut in cuts if cut[0] == parts.axis), None)
    if places is None or len(cuts) != len(starts):
        return None
    others = [cut for cut in cuts if cut is not own]
    if own is None:
        return [_cut(move.node, parts, others)]
    stops = parts.ends()
    if own[3] != 1 or stops is None:
        return None
    start, stop, _ = slice(own[1], own[2]).indices(stops[-1])
    return [_selected(move.node, _cut(move.node, parts, others), start, stop)]


def _split(move: Move, parts: Parts) -> list[Result] | None:
    places = move.axes((move.node.number("axis", 0),), move.rank)
    lengths, count = move.given("split", 1), len(move.node.outputs)
    if places is None or (lengths is None and move.has_input(1)):
        return None
    (axis,) = places
    stops = parts.ends()
    if lengths is None:
        whole = (stops[-1] if stops else None) if axis == parts.axis else move.shape[axis] if move.shape else None
        if not isinstance(whole, int):
            return None
        each = -(-whole // count)
        lengths = tuple(min(each, max(whole - i * each, 0)) for i in range(count))
    if len(lengths) != count:
        return None
    bounds = [0, *accumulate(lengths)]
    if axis != parts.axis:
        pairs = pairwise(bounds)
        return [_cut(move.node, parts, [(axis, a, b, 1)]) for a, b in pairs]
    if stops is None or bounds[-1] != stops[-1]:
        return None
    return [_selected(move.node, parts, a, b) for a, b in pairwise(bounds)]


def _gather(move: Move, parts: Parts) -> list[Result] | None:
    places = move.axes((move.node.number("axis", 0),), move.rank)
    if places is None:
        return None
    (axis,) = places
    rank = move.rank_of(move.node.inputs[1])
    if axis != parts.axis:
        after = parts.axis if axis > parts.axis else None if rank is None else parts.axis + rank - 1
        return None if after is None else _each(move, parts, after, move.node.inputs[1])
    indices, stops = move.constants.get(move.node.inputs[1]), parts.ends()
    if indices is None or stops is None or not indices.size or indices.ndim > 1:
        return None
    whole = stops[-1]
    if not -whole <= int(indices.min()) <= int(indices.max()) < whole:
        return None
    picked = np.where(indices < 0, indices + whole, indices).astype(np.int64)
    parts_of = np.searchsorted(stops, picked.ravel(), side="right")
    if len(set(parts_of.tolist())) == 1:
        k = int(parts_of[0])
        first = stops[k] - (parts.lengths[k] or 0)
        if indices.ndim and np.array_equal(picked, np.arange(first, stops[k])):
            return [parts.pieces[k]]
        return [Moved(move.node, (parts.pieces[k],), (picked - first,))]
    if not np.array_equal(np.diff(picked), np.ones(picked.size - 1)):
        return None
    return [_selected(move.node, parts, int(picked[0]), int(picked[-1]) + 1)]


def _selected(node: Node, parts: Parts, start: int, stop: int) -> Result:
    """Return the elements of a range along the axis of the parts."""
    ends = parts.ends()
    assert ends is not None
    pieces, lengths = [], []
    for piece, n, end in zip(parts.pieces, parts.lengths, ends, strict=True):
        assert n is not None
        first = end - n
        low, high = max(start, first), min(stop, end)
        if low < high:
            is_whole = (low, high) == (first, end)
            pieces.append(piece if is_whole else _sliced(node, piece, [(parts.axis, low - first, high - first, 1)]))
            lengths.append(high - low)
    if not pieces:
        return None
    return pieces[0] if len(pieces) == 1 else Parts(parts.axis, tuple(pieces), tuple(lengths))


def _cut(node: Node, parts: Parts, cuts: list[tuple[int, int, int, int]]) -> Parts:
    """Return the parts, each cut along other axes."""
    if not cuts:
        return parts
    return Parts(parts.axis, tuple(_sliced(node, piece, cuts) for piece in parts.pieces), parts.lengths)


def _sliced(node: Node, piece: Piece, cuts: list[tuple[int, int, int, int]]) -> Moved:
    """Return a part between limits: an axis, a start, an end and a step for each cut."""
    axes, starts, ends, steps = (tuple(one) for one in zip(*cuts, strict=True))
    if node.version < 10 and set(steps) == {1}:
        attributes: dict[str, Attribute] = {"axes": axes, "starts": starts, "ends": ends}
        return Moved(Node("Slice", (), (), attributes, node.name, version=node.version), (piece,))
    form = Node("Slice", (), (), {}, node.name, version=node.version)
    return Moved(form, (piece,), tuple(np.array(one, np.int64) for one in (starts, ends, axes, steps)))


_RULES: Mapping[str, Callable[[Move, Parts], list[Result] | None]] = {
    "Clip": _bound,
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": _identity,
    "Relu": _bound,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
