"""Moves: elements in another order, by the index map of `index_maps`; and Relu and Clip that no operator took in."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Call, CTensor, Operation
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.calls import copy_calls, fill_call, whole_copies
from qengine.deploy.c.lowerings.moves import index_maps
from qengine.deploy.c.lowerings.moves.index_maps import FILL, Copied, Map
from qengine.deploy.c.lowerings.nests import AXES, Nest, in_memory
from qengine.kernels.reference.resize import pick
from qengine.model.steps import Evaluated, Move, Picking, Resize, Tensor
from qengine.model.steps.forms import Bounded, Reshaped
from qengine.model.steps.moves import Gathered, Padded, StridedMove

REARRANGES = (Reshaped, StridedMove, Padded, Gathered)
"""Forms that only rearrange elements of their first operand."""
PICKS = ("GatherElements", "GatherND", "ReverseSequence")
"""Operators of an evaluation that pick elements of their first input by indices in the others."""
_FAR = 1 << 24  # real numbers of float32 hold indices up to here


@lowers(Move, lambda c: isinstance(c.step.function, REARRANGES), first=50)
def lower_move(context: Context) -> Operation:
    """Return the copy of a move that only rearranges."""
    step: Move = context.step
    if any(t.value is None for t in step.others):
        return _taken(context)
    others = [t.value for t in step.others]
    found = index_maps.probed(
        lambda codes, fill: step.function(codes, *others, *(fill for _ in step.constants)), step.x.shape
    )
    return moved(context, step.x, found, _fill(step.x, step.constants))


def _fill(x: Tensor, constants: tuple[float | None, ...]) -> int:
    """Return the one constant of a move as an element of its output."""
    assert len(constants) <= 1
    value = constants[0] if constants else 0
    if value is None:
        return 0
    return x.encode(value) if x.format is not None else int(np.asarray(value).astype(x.dtype))


@lowers(Resize, lambda c: c.step.mode == "nearest", first=50)
def lower_nearest(context: Context) -> Operation:
    """Return the copy of a Resize that picks the nearest elements."""
    step: Resize = context.step
    taps = step.taps()
    found = index_maps.probed(lambda codes, fill: pick(codes, step.axes, taps, fill), step.x.shape)
    has_format = context.out.format is not None
    fill = context.out.encode(step.extrapolation_value) if has_format else int(step.extrapolation_value)
    return moved(context, step.x, found, fill)


def _picks_by_constants(context: Context) -> bool:
    evaluation = context.step.evaluation
    x, *others = evaluation.inputs
    return (
        evaluation.node.operator in PICKS
        and (evaluation.rule is Picking or (x is not None and not x.is_float))
        and all(t is None or t.value is not None for t in others)
    )


@lowers(Evaluated, _picks_by_constants, first=50)
def lower_pick(context: Context) -> Operation:
    """Return the copy of an operator that picks elements by constant indices."""
    evaluation = context.step.evaluation
    x, *others = evaluation.inputs
    given = [None if t is None else t.value for t in others]
    if np.prod(x.shape) >= _FAR:
        raise NotExportable(
            f"its input has {np.prod(x.shape)} elements, C picks from fewer than {_FAR}: split the tensor"
        )

    def move(codes: Map, _: int) -> NDArray[Any]:
        return np.asarray(evaluation.compute([codes.astype(np.float32 if x.is_float else np.int64), *given])[0])

    return moved(context, x, index_maps.probed(move, x.shape), 0)


def moved(context: Context, source: Tensor, found: Map, fill: int) -> Operation:
    """Return the operation of an index map.

    Parameters
    ----------
    context
        The step.
    source
        Tensor that elements come from.
    found
        The map, in ONNX's order of both tensors.
    fill
        Element of the output for FILL.
    """
    x, y = context.tensors[source.name], context.y
    if not y.size:
        return context.operation()
    flat = index_maps.in_memory(found, x, y)
    first = index_maps.contiguous(flat)
    if first is not None:
        return context.view(x, first)
    loops = index_maps.copied(flat, y)
    if loops is not None:
        calls = copy_calls(x, y, loops.nest, (loops.x, loops.y))
        if loops.fills:
            return _padded(context, fill, calls)
        return context.operation(*calls, overlap=(_overlap(flat, _row(loops), x),))
    return _gather(context, x, flat, fill)


def _padded(context: Context, fill: int, calls: tuple[Call, ...]) -> Operation:
    """Return the operation of copies into an output whose other elements are one number.

    Around an input that stays together only the ends are filled, so that its producer can write it there.
    """
    y = context.y
    parts = whole_copies(calls) if len(calls) == 1 else ()
    ends = [(0, p.offset) for p in parts] + [(p.offset + p.tensor.size, y.size) for p in parts]
    filled = [(start, end) for start, end in ends or [(0, y.size)] if start < end]
    fills = [fill_call(y, fill, Nest((end - start,), ((1,),)), start) for start, end in filled]
    return context.operation(*fills, *calls, parts=parts)


def _row(loops: Copied) -> int:
    """Return the elements that a copy moves at once."""
    nest = loops.nest
    return nest.lengths[-1] if nest.lengths and nest.steps[0][-1] == 1 else 1


def _overlap(flat: Map, unit: int, x: CTensor) -> int:
    return index_maps.overlap(flat.reshape(-1, unit).min(axis=1), unit) * x.dtype.itemsize


def _gather(context: Context, x: CTensor, flat: Map, fill: int) -> Operation:
    found, y = index_maps.tables(flat), context.y
    is_short = max(found.rows.max(), found.columns.max()) < 0xFFFF
    none = 0xFFFF if is_short else FILL
    dtype = np.dtype(np.uint16 if is_short else np.int32)

    def table(role: str, places: Map) -> Any:
        comment = f"places in {x.name}" + (", the largest number: none" if is_short and (places == FILL).any() else "")
        return context.constant(
            role, np.where(places == FILL, none, places).astype(dtype), comment, is_visible=places.size == 1
        )

    numbers = {
        "outer": found.outer,
        "step": found.step,
        "rows": found.rows.size,
        "columns": found.columns.size,
        "block": found.block,
        "none": none,
        "fill": fill,
    }
    arguments = (x, table("rows", found.rows), table("columns", found.columns), y)
    call = Call("pick", {"x": x.dtype, "r": dtype, "c": dtype}, arguments, numbers)
    return context.operation(call, overlap=(_overlap(flat, found.block, x),))


def _taken(context: Context) -> Operation:
    """Return the operation of a Gather whose indices are computed."""
    step: Move = context.step
    (indices,) = step.others
    x, y, i = context.operand(step.x), context.y, context.tensors[indices.name]
    form = cast(Gathered, step.function)
    axis, length = form.axis, form.length
    source: Any = x
    strides = x.strides if x is not None else _onnx_strides(step.x.shape)
    if x is None:
        source = context.constant("table", step.x.elements, f"{step.x.name}")
    if not length or not y.size:
        return context.operation()
    before, after, wide = strides[:axis], strides[axis + 1 :], len(indices.shape)
    of_x = (*before, *(0,) * wide, *after)
    of_i = (*(0,) * axis, *i.strides, *(0,) * len(after))
    nest = Nest.of(in_memory(y, y.shape), [in_memory(y, s) for s in (of_x, of_i, y.strides)])
    if len(nest.lengths) > AXES:
        raise NotExportable(
            f"its output {list(y.shape)} needs {len(nest.lengths)} loops, C has {AXES}: flatten its indices"
        )
    numbers = {**nest.numbers("x", "i", "y"), "length": length, "step": strides[axis]}
    call = Call("take", {"x": y.dtype, "i": i.dtype}, (source, i, y), numbers)
    return context.operation(call, comments=("an index outside of the axis is brought to its nearest end",))


def _onnx_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[a + 1 :], dtype=np.int64)) for a in range(len(shape)))


@lowers(Move, lambda c: isinstance(c.step.function, Bounded), first=50)
def lower_bounded(context: Context) -> Operation:
    """Return a Relu or Clip; a copy where the input never leaves the bounds."""
    step: Move = context.step
    x, y = context.tensors[step.x.name], context.y
    low, high = (_bound(step.x, c) for c in step.constants)
    least, most = x.ends
    if low is None:
        low = least if high is None else min(least, high)
    if high is None:
        high = max(most, low)  # a bound above all codes is the result
    if (low <= least and high >= most) or not y.size:
        return moved(context, step.x, np.arange(x.size), 0)
    if not -(1 << 63) <= min(low, high) <= max(low, high) < 1 << 63:
        raise NotExportable(f"its bounds {low} and {high} are beyond int64: cast its input to int64")
    nest = Nest.of(in_memory(y, y.shape), [in_memory(y, x.strides), in_memory(y, y.strides)])
    assert len(nest.lengths) <= AXES
    call = Call("bounded", {"x": x.dtype}, (x, y), {**nest.numbers("x", "y"), "low": low, "high": high})
    return context.operation(call, overlap=(0 if x.order == y.order else None,))


def _bound(x: Tensor, value: float | None) -> int | None:
    if value is None:
        return None
    return x.encode(value) if x.format is not None else int(np.asarray(value).astype(x.dtype))
