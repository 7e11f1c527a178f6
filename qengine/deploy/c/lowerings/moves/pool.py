"""The largest and the smallest: MaxPool, ReduceMax and ReduceMin, and where they are."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np

from qengine.deploy.c.ir import Call, CTensor, Operation, Parameters
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.moves.index_maps import Map, overlap
from qengine.deploy.c.lowerings.nests import AXES, Nest, in_memory
from qengine.kernels.reference.pool import max_index
from qengine.kernels.reference.window import pad_spatial, windows
from qengine.model.steps import Move
from qengine.model.steps.forms import AxisExtreme, WindowMax
from qengine.model.steps.row_forms import AxisIndex

_SPATIAL = 3
_AXES = ("d", "h", "w")
_MOST = 1 << 31
_WIDE = 1 << 63


def _window(context: Context, form: Any) -> Parameters:
    """Return the fields of `struct net_pool_window`."""
    x, y = context.tensors[context.step.x.name], context.y
    spatial = len(form.kernel)
    if spatial > _SPATIAL:
        raise NotExportable(f"its windows have {spatial} axes, C has {_SPATIAL}: reshape its input")
    numbers: dict[str, int] = {"images": x.shape[0], "channels": x.shape[1]}
    rows = {
        "in": (x.shape[2:], 1),
        "out": (y.shape[2:], 1),
        "window": (form.kernel, 1),
        "stride": (form.strides, 1),
        "dilation": (form.dilations, 1),
        "pad": ([before for before, _ in form.pads], 0),
    }
    for name, (given, none) in rows.items():
        own = [none] * (_SPATIAL - spatial) + list(given)
        numbers |= {f"{name}_{axis}": int(n) for axis, n in zip(_AXES, own, strict=True)}
    for name, t in (("x", x), ("y", y)):
        own = [*t.strides[:2], *[0] * (_SPATIAL - spatial), *t.strides[2:]]
        numbers |= {f"{name}_{axis}": n for axis, n in zip(("n", "c", *_AXES), own, strict=True)}
    return numbers


@lowers(Move, lambda c: isinstance(c.step.function, WindowMax), first=50)
def lower_max_pool(context: Context) -> Operation:
    """Return a MaxPool: all channels of a pixel at a time where they are neighbours, else channel by channel."""
    step: Move = context.step
    x, y, form = context.tensors[step.x.name], context.y, cast(WindowMax, step.function)
    if not y.size:
        return context.operation()
    if not x.size:
        raise NotExportable("its input has no elements")
    least = max(_end(step), x.ends[0])  # no element is less
    numbers: Parameters = {"window": _window(context, form), "least": least}
    is_by_pixel = x.shape[1] > 1 and x.strides[1] == 1 and y.strides[1] == 1
    kernel = "max_pool_channels" if is_by_pixel else "max_pool_planes"
    distance = _distance(x, y, form, is_by_pixel)
    return context.operation(Call(kernel, {"x": x.dtype}, (x, y), numbers), overlap=(distance,))


def _end(step: Move) -> int:
    """Return the constant that is the result where there is no element."""
    (constant,) = step.constants
    assert constant is not None
    return step.x.encode(constant) if step.x.format is not None else int(constant)


def _distance(x: CTensor, y: CTensor, form: WindowMax, is_by_pixel: bool) -> int | None:
    """Return the distance at which the output may lie on the input."""
    if x.order != y.order or (not is_by_pixel and y.order != tuple(range(len(y.shape)))):
        return None
    places = x.unplaced(np.arange(x.size))
    far = x.size
    view = windows(pad_spatial(places, form.pads, far), form.kernel, form.strides, form.dilations)
    first = y.placed(view.min(axis=tuple(range(-len(form.kernel), 0))))
    unit = y.shape[1] if is_by_pixel else 1
    reads: Map = first.reshape(-1, unit).min(axis=1)
    return overlap(reads, unit) * x.dtype.itemsize


def _is_max_index(context: Context) -> bool:
    function = context.step.function
    return isinstance(function, partial) and function.func is max_index


@lowers(Move, _is_max_index, first=50)
def lower_max_index(context: Context) -> Operation:
    """Return the places of the elements that a MaxPool picks."""
    step: Move = context.step
    x, y, fields = context.tensors[step.x.name], context.y, dict(cast(partial[Any], step.function).keywords)
    by_columns = fields.pop("by_columns", False)
    if not y.size:
        return context.operation()
    if x.size >= _MOST:
        raise NotExportable(f"its input has {x.size} elements, C counts to {_MOST - 1}")
    form = WindowMax(**fields)
    lengths = x.shape[2:]
    counts = [1] * len(lengths)
    axes = range(1, len(lengths)) if by_columns else range(len(lengths) - 2, -1, -1)
    for axis in axes:
        near = axis - 1 if by_columns else axis + 1
        counts[axis] = counts[near] * lengths[near]
    own = [0] * (_SPATIAL - len(lengths)) + counts
    places = {f"count_{a}": n for a, n in zip(_AXES, own, strict=True)}
    numbers: Parameters = {"window": _window(context, form), **places}
    return context.operation(Call("max_pool_index", {"x": x.dtype}, (x, y), numbers))


def _kept(x: CTensor, y: CTensor, axes: tuple[int, ...], keepdims: bool) -> Nest:
    """Return the loops over the axes that stay, with the steps in x and in y."""
    stays = [a for a in range(len(x.shape)) if a not in axes]
    of_y = {a: (a if keepdims else i) for i, a in enumerate(stays)}
    in_order = [a for a in x.order if a in of_y]
    if y.size > 1:  # the loops go through y as it lies
        back = {at: a for a, at in of_y.items()}
        in_order = [back[at] for at in y.order if at in back]
    lengths = [x.shape[a] for a in in_order]
    return Nest.of(lengths, [[x.strides[a] for a in in_order], [y.strides[of_y[a]] for a in in_order]])


@lowers(Move, lambda c: isinstance(c.step.function, AxisExtreme), first=50)
def lower_axis_extreme(context: Context) -> Operation:
    """Return a ReduceMax, a ReduceMin or a GlobalMaxPool."""
    step: Move = context.step
    x, y, form = context.tensors[step.x.name], context.y, cast(AxisExtreme, step.function)
    if not y.size:
        return context.operation()
    end = _end(step)
    is_empty = not x.size
    if not is_empty:  # no element is beyond the end that it can have
        end = max(end, x.ends[0]) if form.largest else min(end, x.ends[1])
    if not -_WIDE <= end < _WIDE:
        raise NotExportable(f"its input has elements of {x.dtype} and C compares those of int64: cast it to int64")
    kept = _kept(x, y, form.axes, form.keepdims)
    reduced = Nest.of(
        in_memory(x, [n if a in form.axes else 1 for a, n in enumerate(x.shape)]), [in_memory(x, x.strides)]
    )
    _check_loops(kept, reduced)
    inner = reduced.numbers("r")
    numbers = {**kept.numbers("x", "y"), "m": inner["n"], "r": inner["r"], "is_largest": form.largest, "end": end}
    return context.operation(Call("axis_extreme", {"x": x.dtype}, (x, y), numbers))


@lowers(Move, lambda c: isinstance(c.step.function, AxisIndex), first=50)
def lower_axis_index(context: Context) -> Operation:
    """Return an ArgMax or ArgMin."""
    step: Move = context.step
    x, y, form = context.tensors[step.x.name], context.y, cast(AxisIndex, step.function)
    if not y.size:
        return context.operation()
    kept = _kept(x, y, (form.axis,), form.keepdims)
    _check_loops(kept)
    numbers = {
        **kept.numbers("x", "y"),
        "length": x.shape[form.axis],
        "step": x.strides[form.axis],
        "is_largest": form.largest,
        "is_last": form.last,
    }
    return context.operation(Call("axis_index", {"x": x.dtype}, (x, y), numbers))


def _check_loops(*nests: Nest) -> None:
    for nest in nests:
        if len(nest.lengths) > AXES:
            raise NotExportable(
                f"its axes need {len(nest.lengths)} loops, C has {AXES}: merge axes by a Reshape before it"
            )
