"""Elements written at indices: ScatterElements, ScatterND and MaxUnpool.

Codes in one format are copied. Where formats differ, or updates are added, everything is brought to the
finest format in wider numbers first, and rounded last, as the runtime does with real numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from qengine.deploy.c.ir import Argument, Call, Constant, CTensor, Operation, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.calls import copy_calls, element_type
from qengine.deploy.c.lowerings.elements.exact import (
    OUT_OF_RANGE,
    Memory,
    attributes_of,
    check_exact,
    encoded,
    is_evaluation_of,
    plain_strides,
    raised,
    rounded,
)
from qengine.deploy.c.lowerings.elements.operands import magnitude
from qengine.deploy.c.lowerings.moves.picks import lengths_of, nest_of
from qengine.deploy.c.lowerings.nests import Nest, progressions
from qengine.deploy.c.ranges.ends import word_ends
from qengine.model.eager.elements import axis_of
from qengine.model.steps import Evaluated, Tensor

_REDUCTIONS = {"none": 0, "add": 1, "mul": 2, "max": 3, "min": 4}
_COPY_LOOPS = 5
_PROBED = 1 << 24
"""Elements below which real numbers number them."""


@dataclass(frozen=True)
class _Target:
    """Memory that is written to: the output, or wider numbers that are rounded to it.

    Attributes
    ----------
    argument : the elements, in ONNX's order.
    first : calls that write the elements of the data.
    left : bits by which an update is shifted left.
    sources : tensors of which codes are copied unchanged.
    fraction_bits, bound : fraction bits and largest magnitude of the wider numbers; None without them.
    """

    argument: CTensor | Scratch
    first: tuple[Call, ...]
    left: int
    sources: tuple[Tensor, ...] = ()
    fraction_bits: int | None = None
    bound: int = 0


def _target(context: Context, memory: Memory, data: Tensor, updates: Tensor, reduction: str) -> _Target:
    y = context.y
    most = check_exact(context.step.evaluation)
    x = memory.plain(data, "data")
    if y.format is None:
        if y.dtype.kind == "b" and reduction != "none":
            raise NotExportable(f"reduction '{reduction}' of truth values: spell it with And or Or")
        return _Target(y, (_copied(x, y),), 0)
    if data.format == y.format == updates.format and reduction in ("none", "max", "min"):
        return _Target(y, (_copied(x, y),), 0, (data, updates))
    if reduction == "mul":
        raise NotExportable("it multiplies real numbers one after the other, and C has none: use Mul")
    finest = max(data.fraction_bits, updates.fraction_bits)
    lefts = finest - data.fraction_bits, finest - updates.fraction_bits
    ends = (_ends(context, t) for t in (data, updates))
    bounds = [magnitude(one) << left for one, left in zip(ends, lefts, strict=True)]
    bound = bounds[0] + prod(updates.shape) * bounds[1] if reduction == "add" else max(bounds)
    if bound > most or bound >= 1 << 31:
        raise NotExportable(f"codes up to {bound} are not exact in {data.dtype}: give its tensors closer formats")
    wide = memory.scratch(np.dtype(np.int32), y.size)
    types = {"x": element_type(x), "v": wide.dtype}
    widen = Call("widen", types, (x, wide), {"size": y.size, "left": lefts[0]})
    return _Target(wide, (widen,), lefts[1], (), finest, bound)


def _ends(context: Context, t: Tensor) -> tuple[int, int]:
    return word_ends(t) if t.value is not None else context.tensors[t.name].ends


def _copied(x: Argument, y: CTensor) -> Call:
    return Call("copy", {"x": y.dtype}, (x, y), {"size": y.size})


def _operation(context: Context, memory: Memory, target: _Target, *calls: Call) -> Operation:
    calls = (*target.first, *calls)
    if target.fraction_bits is None:
        copied = context.operation(*memory.calls, *calls, comments=(OUT_OF_RANGE,))
        return raised(context, copied, *target.sources)
    return rounded(context, memory, target.argument, target.fraction_bits, target.bound, *calls)


def _inputs(context: Context) -> tuple[Tensor, Tensor, Tensor, str]:
    data, indices, updates = context.step.evaluation.inputs
    assert data is not None
    assert indices is not None
    assert updates is not None
    reduction = attributes_of(context).get("reduction", "none")
    if reduction == "none":
        data, updates = encoded(context, data), encoded(context, updates)
    elif any(t.is_float and t.format is None for t in (data, updates)):
        raise NotExportable(f"reduction '{reduction}' of a constant of real numbers: make it an input with a format")
    return data, indices, updates, reduction


def _types(update: Argument, indices: Tensor, target: _Target) -> dict[str, Any]:
    return {"u": element_type(update), "i": indices.dtype, "y": target.argument.dtype}


@lowers(Evaluated, is_evaluation_of("Scatter", "ScatterElements"), first=60)
def lower_scatter(context: Context) -> Operation:
    """Return updates at indices along an axis."""
    data, indices, updates, reduction = _inputs(context)
    if not context.y.size:
        return context.operation()
    memory = Memory.of(context)
    target = _target(context, memory, data, updates, reduction)
    if not prod(indices.shape):
        return _operation(context, memory, target)
    axis = axis_of(attributes_of(context).get("axis", 0), data.ndim)
    of_y, of_i = plain_strides(data.shape), plain_strides(indices.shape)
    update, at = memory.plain(updates, "updates"), memory.plain(indices, "indices")
    nest = nest_of(indices.shape, of_i, of_i, (*of_y[:axis], 0, *of_y[axis + 1 :]))
    numbers = {
        **nest.numbers("u", "i", "y"),
        "length": data.shape[axis],
        "step": of_y[axis],
        "left": target.left,
        "reduction": _REDUCTIONS[reduction],
    }
    call = Call("scatter", _types(update, indices, target), (update, at, target.argument), numbers)
    return _operation(context, memory, target, call)


@lowers(Evaluated, is_evaluation_of("ScatterND"), first=60)
def lower_scatter_slices(context: Context) -> Operation:
    """Return updates of slices; nested loops where constant indices are regular, as those of an assigned slice are."""
    data, indices, updates, reduction = _inputs(context)
    if not context.y.size:
        return context.operation()
    memory = Memory.of(context)
    target = _target(context, memory, data, updates, reduction)
    if not prod(updates.shape):
        return _operation(context, memory, target)
    update = memory.plain(updates, "updates")
    if indices.value is not None and target.argument is context.y and reduction == "none":
        loops = _regular(context, data, updates)
        if loops is not None:
            nest, start = loops
            return _operation(context, memory, target, *copy_calls(update, context.y, nest, (0, start)))
    axes = indices.shape[-1]
    numbers = {
        "count": prod(indices.shape[:-1]),
        "axes": axes,
        "block": prod(data.shape[axes:]),
        "left": target.left,
        "reduction": _REDUCTIONS[reduction],
    }
    arguments = (update, memory.plain(indices, "indices"), lengths_of(context, data.shape[:axes]), target.argument)
    return _operation(
        context, memory, target, Call("scatter_slices", _types(update, indices, target), arguments, numbers)
    )


def _regular(context: Context, data: Tensor, updates: Tensor) -> tuple[Nest, int] | None:
    """Return the loops that write updates at constant indices, and the first element; None where they are irregular."""
    size, count = prod(data.shape), prod(updates.shape)
    if size + count >= _PROBED:
        return None
    evaluation = context.step.evaluation
    indices = evaluation.inputs[1].value
    codes = np.arange(size + count)
    kind = np.float32 if data.is_float else np.int64
    given = [codes[:size].reshape(data.shape).astype(kind), indices, codes[size:].reshape(updates.shape).astype(kind)]
    found = np.asarray(evaluation.compute(given)[0]).astype(np.int64).reshape(-1)
    places = np.flatnonzero(found >= size)
    order = np.argsort(found[places])
    written = places[order]
    if written.size != count:
        return None  # a later update replaces an earlier one
    pairs = np.stack((np.arange(count), written - written[0]), axis=1)
    nest = progressions(pairs, _COPY_LOOPS)
    return None if nest is None else (nest, int(written[0]))


@lowers(Evaluated, is_evaluation_of("MaxUnpool"), first=60)
def lower_unpool(context: Context) -> Operation:
    """Return zeros with each element at its place."""
    x, indices, shape = (*context.step.evaluation.inputs, None)[:3]
    check_exact(context.step.evaluation)
    y = context.y
    if shape is not None:
        raise NotExportable("its output_shape leaves open what its indices count: leave output_shape out")
    if y.format != x.format:
        raise NotExportable("its result has another format than its input: give both the same one")
    zero = Constant(f"{y.c_name}_zeros", np.zeros(1, y.dtype), "0", is_visible=True)
    fill = copy_calls(zero, y, Nest((y.size,), ((0,), (1,)))) if y.size else ()
    if not prod(x.shape):
        return context.operation(*fill)
    memory = Memory.of(context)
    update, at = memory.plain(x, "updates"), memory.plain(indices, "indices")
    numbers = {
        **Nest((prod(x.shape),), ((1,), (1,), (0,))).numbers("u", "i", "y"),
        "length": y.size,
        "step": 1,
        "left": 0,
        "reduction": 0,
    }
    call = Call("scatter", {"u": element_type(update), "i": indices.dtype, "y": y.dtype}, (update, at, y), numbers)
    return raised(context, context.operation(*memory.calls, *fill, call, comments=(OUT_OF_RANGE,)), x)
