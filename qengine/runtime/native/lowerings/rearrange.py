"""Lowering of moves on plain buffers: views without a copy, strided copies, Pad, Gather, Concat."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import prod

import numpy as np

from qengine.kernels.strided_copy import Gather
from qengine.model.steps import Join, Move, Tensor
from qengine.model.steps.forms import Concatenated, Reshaped
from qengine.model.steps.moves import (
    Expanded,
    Gathered,
    Padded,
    Rearranged,
    Sliced,
    Strided,
    StridedMove,
    Tiled,
    Transposed,
)
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.broadcast import brought
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.strided_copies import CopyOp, Piece, copy_view
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer


def _same_elements(context: PlainContext[Move]) -> Lowered:
    """Return the input as the output: the elements are the same, in the same order."""
    x = context.request(context.step.x)
    buffer = TensorBuffer.plain(context.out)
    buffer.view_of = x
    return Lowered((), (buffer,))


@lowers_plain(Move, Reshaped)
def lower_reshape(context: PlainContext[Move]) -> Lowered:
    """Lower a reshape to no op."""
    return _same_elements(context)


@lowers_plain(Move, Transposed)
@lowers_plain(Move, Sliced)
@lowers_plain(Move, Tiled)
@lowers_plain(Move, Expanded)
@lowers_plain(Move, Rearranged)
def lower_strided(context: PlainContext[Move]) -> Lowered:
    """Lower a move that copies a strided view; where its elements keep their order, there is nothing to copy."""
    function, shape = context.function, context.step.x.shape
    assert isinstance(function, StridedMove)
    view = function.view(shape)
    if _keeps_order(view, shape):
        return _same_elements(context)
    return Lowered.by(copy_view(context.isa, context.request(context.step.x), view, TensorBuffer.plain(context.out)))


def _keeps_order(view: Strided, shape: tuple[int, ...]) -> bool:
    """Whether a view has all elements of a shape in their order."""
    long = [(n, s) for n, s in zip(view.shape, view.strides, strict=True) if n > 1]
    after = list(accumulate((n for n, _ in reversed(long)), lambda a, b: a * b, initial=1))[:-1]
    return prod(view.shape) == prod(shape) and [s for _, s in reversed(long)] == after


@lowers_plain(Join, Concatenated)
def lower_concat(context: PlainContext[Join]) -> Lowered:
    """Lower a Concat of tensors, brought to one format."""
    step, out = context.step, context.out
    ops, brought_inputs = brought(context)
    inputs = [buffer for buffer, t in zip(brought_inputs, step.joined, strict=True) if 0 not in t.shape]
    axis, whole = context.function.axis, Strided.whole(out.shape)
    ends = list(accumulate(t.shape[axis] for t in step.joined))
    pieces: list[Piece] = []
    for t, end in zip(step.joined, ends, strict=True):
        if 0 in t.shape:
            continue
        where = tuple(slice(end - n, end) if i == axis else slice(None) for i, n in enumerate(t.shape))
        pieces.append(Piece(len(pieces), Strided.whole(t.shape), whole.cut(where)))
    return Lowered.by(*ops, CopyOp(context.isa, tuple(inputs), TensorBuffer.plain(out), tuple(pieces)))


@lowers_plain(Move, Padded)
def lower_pad(context: PlainContext[Move]) -> Lowered:
    """Lower a Pad: one piece for what remains of the input, and one for each side of each axis."""
    step, form, out = context.step, context.function, context.out
    (value,) = step.constants
    assert value is not None
    x, buffer = context.request(step.x), TensorBuffer.plain(out)
    kind = out.dtype if out.format is None else out.one_format.word().dtype
    fill = np.asarray(value if out.format is None else step.x.encode(value)).astype(kind)
    filling = context.request(Tensor(f"{out.name} filling", kind, (1,), fill.reshape(1)))
    inner = Strided.whole(step.x.shape).cut(form.where)
    pieces = [Piece(i, a, b) for i, a, b in _padded(inner, form.width, form.mode, Strided.whole(out.shape))]
    return Lowered.by(CopyOp(context.isa, (x, filling), buffer, tuple(p for p in pieces if 0 not in p.x.shape)))


def _padded(
    x: Strided, width: tuple[tuple[int, int], ...], mode: str, y: Strided, axis: int = 0
) -> Iterator[tuple[int, Strided, Strided]]:
    """Yield the source, its view and the view of the target for each part of a padded tensor, from an axis on."""
    if axis == len(width):
        yield 0, x, y
        return
    before, after = width[axis]
    n = x.shape[axis]

    def part(view: Strided, start: int, length: int, step: int = 1) -> Strided:
        """Return places start, start + step, ... of a view along the axis."""
        shape = (*view.shape[:axis], length, *view.shape[axis + 1 :])
        stride = view.strides[axis]
        strides = (*view.strides[:axis], stride * step, *view.strides[axis + 1 :])
        return Strided(shape, strides, view.offset + start * stride)

    ends = ((before, 0, -before), (after, before + n, n))  # length, first place in y, first place in x
    for length, at, place in ends:
        if not length:
            continue
        target = part(y, at, length)
        if mode == "constant":
            yield 1, Strided(target.shape, (0,) * len(target.shape)), target
            continue
        if mode == "edge":
            source = part(x, 0 if place < 0 else n - 1, length, 0)
        elif mode == "reflect":
            source = part(x, length if place < 0 else n - 2, length, -1)
        else:
            source = part(x, n - length if place < 0 else 0, length)
        yield from _padded(source, width, mode, target, axis + 1)
    if n:
        yield from _padded(x, width, mode, part(y, before, n), axis + 1)


@lowers_plain(Move, Gathered)
def lower_gather(context: PlainContext[Move]) -> Lowered:
    """Lower a Gather: runs of elements that indices name."""
    step, form = context.step, context.function
    (names,) = step.others
    x, indices, out = context.request(step.x), context.request(names), TensorBuffer.plain(context.out)
    if indices.stored not in ("i32", "i64"):
        raise NotLowered(f"indices of {names.dtype}")
    shape, count = step.x.shape, prod(names.shape)
    rows = prod(shape[: form.axis]) * count
    run = prod(shape[form.axis + 1 :]) * ITEMSIZE[x.stored]
    fault = context.fault(form.refusal.replace("{", "{{").replace("}", "}}"))

    def arguments(part: Part) -> dict[str, Address]:
        (source, places), (y,) = part.inputs, part.outputs
        numbers = {"first": part.first, "end": part.end, "length": shape[form.axis], "count": count, "run": run}
        return {"x": source, "y": y, "indices": places, **numbers, "fault": fault}

    op = PlainOp(context.isa, (x, indices), out, Gather(indices.stored), arguments, rows, rows * (4 + run / 16))
    return Lowered.by(op)
