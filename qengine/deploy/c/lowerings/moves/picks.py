"""Elements picked by their order or by computed indices: TopK, GatherElements, GatherND, ReverseSequence."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from qengine.deploy.c.ir import Argument, Call, Operation
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.calls import element_type
from qengine.deploy.c.lowerings.elements.exact import (
    OUT_OF_RANGE,
    Memory,
    attributes_of,
    is_evaluation_of,
    plain_strides,
)
from qengine.deploy.c.lowerings.nests import AXES, Nest
from qengine.model.eager.elements import axis_of
from qengine.model.steps import Evaluated, Evaluation, Picking, Tensor

INDEX = np.dtype(np.int32)


def _picked(context: Context) -> tuple[Tensor, ...]:
    """Return the inputs of an evaluation that picks elements of the first one.

    Raises
    ------
    NotExportable
        If the result has another format, so that the runtime computes real numbers.
    """
    evaluation: Evaluation = context.step.evaluation
    x, *others = evaluation.inputs
    assert x is not None
    if evaluation.rule is not Picking and x.is_float and evaluation.outputs[0].name:
        raise NotExportable("its result has another format than its input: give both the same one")
    return (x, *(t for t in others if t is not None))


def axis_parts(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Return the elements before an axis, its length, and the elements after it."""
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


@lowers(Evaluated, is_evaluation_of("GatherElements"), first=60)
def lower_gather_elements(context: Context) -> Operation:
    """Return the elements at computed indices along an axis."""
    x, indices = _picked(context)
    y = context.y
    if not y.size:
        return context.operation()
    axis = axis_of(attributes_of(context).get("axis", 0), x.ndim)
    memory = Memory.of(context)
    source, at = memory.plain(x, "table"), memory.plain(indices, "indices")
    of_x = plain_strides(x.shape)
    steps = [(*of_x[:axis], 0, *of_x[axis + 1 :]), plain_strides(indices.shape), y.strides]
    numbers = {**nest_of(y.shape, *steps).numbers("x", "i", "y"), "length": x.shape[axis], "step": of_x[axis]}
    types = {"x": y.dtype, "i": indices.dtype}
    return context.operation(*memory.calls, Call("take", types, (source, at, y), numbers), comments=(OUT_OF_RANGE,))


def nest_of(shape: tuple[int, ...], *steps: tuple[int, ...]) -> Nest:
    """Return the loops over a shape in ONNX's order.

    Raises
    ------
    NotExportable
        If there are more than kernels have.
    """
    nest = Nest.of(shape, steps)
    if len(nest.lengths) > AXES:
        raise NotExportable(f"its indices {list(shape)} need {len(nest.lengths)} loops, C has {AXES}: flatten axes")
    return nest


def lengths_of(context: Context, shape: tuple[int, ...]) -> Argument:
    """Return the lengths of the axes that rows of indices are of."""
    return context.constant("lengths", np.array(shape, INDEX), "lengths of the axes of an index", is_visible=True)


@lowers(Evaluated, is_evaluation_of("GatherND"), first=60)
def lower_gather_slices(context: Context) -> Operation:
    """Return slices at rows of computed indices."""
    x, indices = _picked(context)
    y = context.y
    if not y.size:
        return context.operation()
    batch_axes = attributes_of(context).get("batch_dims", 0)
    axes = indices.shape[-1]
    named, rest = x.shape[batch_axes : batch_axes + axes], x.shape[batch_axes + axes :]
    memory = Memory.of(context)
    source, at = memory.plain(x, "table"), memory.plain(indices, "indices")
    numbers = {
        "batches": prod(x.shape[:batch_axes]),
        "batch": prod(x.shape[batch_axes:]),
        "count": prod(indices.shape[batch_axes:-1]),
        "axes": axes,
        "block": prod(rest),
    }
    arguments = (source, at, lengths_of(context, named), y)
    call = Call("take_slices", {"x": y.dtype, "i": indices.dtype}, arguments, numbers)
    return context.operation(*memory.calls, call, comments=(OUT_OF_RANGE,))


@lowers(Evaluated, is_evaluation_of("ReverseSequence"), first=60)
def lower_reverse(context: Context) -> Operation:
    """Return sequences in reverse order, as long as computed lengths."""
    x, lengths = _picked(context)
    y, time = context.y, attributes_of(context).get("time_axis", 0)
    if not y.size:
        return context.operation()
    memory, steps = Memory.of(context), plain_strides(x.shape)
    numbers = {
        "sequences": x.shape[1 - time],
        "times": x.shape[time],
        "block": prod(x.shape[2:]),
        "sequence": steps[1 - time],
        "time": steps[time],
    }
    arguments = (memory.plain(x, "table"), memory.plain(lengths, "lengths"), y)
    call = Call("reverse", {"x": y.dtype, "i": lengths.dtype}, arguments, numbers)
    return context.operation(*memory.calls, call)


@lowers(Evaluated, is_evaluation_of("TopK"), first=60)
def lower_top(context: Context) -> Operation:
    """Return the largest or smallest elements and their places."""
    x, *_ = _picked(context)
    evaluation: Evaluation = context.step.evaluation
    names = [t.name for t in evaluation.outputs]
    outputs = {names.index(y.name): y for y in context.outputs}
    shape = evaluation.outputs[0].shape
    if not prod(shape):
        return context.operation()
    axis = axis_of(attributes_of(context).get("axis", -1), x.ndim)
    outer, n, inner = axis_parts(x.shape, axis)
    memory = Memory.of(context)
    source = memory.plain(x, "elements")
    dtype = element_type(source)
    values = outputs.get(0) or memory.scratch(dtype, prod(shape))
    numbers: dict[str, Any] = {
        "outer": outer,
        "n": n,
        "k": shape[axis],
        "inner": inner,
        "is_smallest": not attributes_of(context).get("largest", 1),
        "has_places": 1 in outputs,
    }
    call = Call("top", {"x": dtype}, (source, values, outputs.get(1)), numbers)
    return context.operation(*memory.calls, call)
