"""Reductions over axes: sums, means and products of integers, and sums of magnitudes and squares of codes too."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from qengine.deploy.c.ir import Call, Operation, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.elements.exact import (
    Memory,
    attributes_of,
    check_exact,
    is_evaluation_of,
    plain_strides,
    rounded,
)
from qengine.deploy.c.lowerings.elements.operands import magnitude
from qengine.deploy.c.lowerings.nests import AXES, Nest, in_memory
from qengine.model.eager.elements import axes_of
from qengine.model.steps import Evaluated, Mean, Tensor
from qengine.model.steps.forms import AxisSum
from qengine.model.steps.means import counts_of

_OPERATIONS = {"ReduceSum": 0, "ReduceProd": 1, "ReduceL1": 2, "ReduceSumSquare": 3}
_WIDE = np.dtype(np.uint64)


def _reduced(context: Context, memory: Memory, x: Tensor, axes: Sequence[int], operation: str) -> tuple[Scratch, Call]:
    """Return the results of a reduction in 64 bits, in ONNX's order, and the call that computes them."""
    source = context.tensors[x.name]
    kept = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    of_y = [0 if axis in axes else step for axis, step in enumerate(plain_strides(kept))]
    nest = Nest.of(in_memory(source, x.shape), [in_memory(source, source.strides), in_memory(source, of_y)])
    if len(nest.lengths) > AXES:
        raise NotExportable(f"it reduces {list(x.shape)} over axes {list(axes)}, which needs more than {AXES} loops")
    results = memory.scratch(_WIDE, prod(kept))
    numbers = {**nest.numbers("x", "y"), "results": prod(kept), "operation": _OPERATIONS[operation]}
    return results, Call("reduce", {"x": source.dtype}, (source, results), numbers)


def _divided(context: Context, memory: Memory, sums: Scratch, call: Call, count: int) -> Operation:
    y = context.y
    nest = Nest.of(in_memory(y, y.shape), [in_memory(y, plain_strides(y.shape)), in_memory(y, y.strides)])
    if len(nest.lengths) > AXES:
        raise NotExportable(f"its result {list(y.shape)} needs more than {AXES} loops: flatten some axes")
    wide = y.dtype if y.dtype == _WIDE else np.dtype(np.int64)
    numbers = {**nest.numbers("x", "y"), "count": count}
    last = Call("divide_all", {"y": y.dtype, "v": wide}, (sums, y), numbers)
    return context.operation(*memory.calls, call, last)


@lowers(Mean, lambda c: c.out.format is None, first=50)
def lower_integer_mean(context: Context) -> Operation:
    """Return the sums or the means of integers."""
    step: Mean = context.step
    count = counts_of(step, None)
    if not isinstance(step.total, AxisSum) or not isinstance(count, int) or count >= 1 << 31:
        raise NotExportable("C has means of integers over whole axes only")
    if not context.y.size:
        return context.operation()
    memory = Memory.of(context)
    sums, call = _reduced(context, memory, step.x, axes_of(step.total.axes, step.x.ndim), "ReduceSum")
    return _divided(context, memory, sums, call, count)


@lowers(Evaluated, is_evaluation_of("ReduceProd", "ReduceL1", "ReduceSumSquare"), first=60)
def lower_reduction(context: Context) -> Operation:
    """Return a reduction over constant axes."""
    evaluation, node = context.step.evaluation, context.bound_step.node
    x, given = (*evaluation.inputs, None)[:2]
    most = check_exact(evaluation)
    if given is not None and given.value is None:
        raise NotExportable("its axes are computed during the run, and C needs constants")
    listed = attributes_of(context).get("axes") if given is None else given.value.tolist()
    if not listed and attributes_of(context).get("noop_with_empty_axes", 0):
        raise NotExportable("it has no axes, and so reduces nothing: use Abs or Mul")
    axes = axes_of(listed, x.ndim) if listed else tuple(range(x.ndim))
    if not context.y.size:
        return context.operation()
    memory = Memory.of(context)
    results, call = _reduced(context, memory, x, axes, node.operator)
    if context.out.format is None:
        return _divided(context, memory, results, call, 1)
    if node.operator == "ReduceProd":
        raise NotExportable("it multiplies real numbers one after the other, and C has none: use Mul")
    power = 2 if node.operator == "ReduceSumSquare" else 1
    bound = prod(x.shape[axis] for axis in axes) * magnitude(context.tensors[x.name].ends) ** power
    if bound > most or bound >= 1 << 31:
        raise NotExportable(f"sums up to {bound} are not exact in {x.dtype}: reduce fewer elements, or use ReduceMean")
    return rounded(context, memory, results, power * x.fraction_bits, bound, call)
