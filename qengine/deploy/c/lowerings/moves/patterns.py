"""Operators that write patterns, and running sums: OneHot, Hardmax, EyeLike, Trilu, CenterCropPad, CumSum, CumProd."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Call, Operation
from qengine.deploy.c.lowering import Context, NotExportable, lowers
from qengine.deploy.c.lowerings.calls import element_type
from qengine.deploy.c.lowerings.elements.exact import (
    Memory,
    attributes_of,
    check_exact,
    is_evaluation_of,
    reals_as_codes,
    rounded,
)
from qengine.deploy.c.lowerings.elements.operands import magnitude
from qengine.deploy.c.lowerings.moves import index_maps
from qengine.deploy.c.lowerings.moves.move import moved
from qengine.deploy.c.lowerings.moves.picks import axis_parts
from qengine.model.eager.elements import axis_of
from qengine.model.steps import Evaluated

_PROBED = 1 << 24
"""Elements below which real numbers number them."""
_INT32 = 1 << 31


@lowers(Evaluated, is_evaluation_of("Trilu", "CenterCropPad"), first=60)
def lower_with_zeros(context: Context) -> Operation:
    """Return the copy of an operator that keeps elements, or writes 0."""
    evaluation = context.step.evaluation
    x, *others = evaluation.inputs
    check_exact(evaluation)
    if context.y.format != x.format:
        raise NotExportable("its result has another format than its input: give both the same one")
    if any(t is not None and t.value is None for t in others):
        raise NotExportable("its second input is computed during the run, and C needs a constant")
    if prod(x.shape) >= _PROBED:
        raise NotExportable(f"its input has {prod(x.shape)} elements, C moves fewer than {_PROBED}: split the tensor")
    given = [None if t is None else t.value for t in others]

    def move(codes: index_maps.Map, fill: int) -> NDArray[np.int64]:
        kind = np.float32 if x.is_float else np.int64
        found = np.asarray(evaluation.compute([(codes + 1).astype(kind), *given])[0]).astype(np.int64)
        return np.where(found == 0, fill, found - 1)

    return moved(context, x, index_maps.probed(move, x.shape), 0)


@lowers(Evaluated, is_evaluation_of("EyeLike"), first=60)
def lower_eye(context: Context) -> Operation:
    """Return what does not depend on the elements of the input."""
    evaluation, y = context.step.evaluation, context.y
    (x,) = evaluation.inputs
    check_exact(evaluation)
    if not y.size:
        return context.operation()
    found = reals_as_codes(context, np.asarray(evaluation.compute([np.zeros(x.shape, x.dtype)])[0]))
    found = found.astype(np.uint8) if found.dtype.kind == "b" else found
    eye = context.constant("value", y.placed(found), "ones on a diagonal")
    return context.operation(Call("copy", {"x": y.dtype}, (eye, y), {"size": y.size}))


@lowers(Evaluated, is_evaluation_of("OneHot"), first=60)
def lower_one_hot(context: Context) -> Operation:
    """Return one number at the place of each index, and another elsewhere."""
    indices, depth, values = context.step.evaluation.inputs
    y = context.y
    check_exact(context.step.evaluation)
    if values.value is None or indices.dtype.kind not in "iu":
        raise NotExportable("C needs constant values and integers as indices: leave it out of the model")
    if not y.size:
        return context.operation()
    off, on = (int(one) for one in reals_as_codes(context, values.value))
    if not -_INT32 <= min(off, on) <= max(off, on) < _INT32:
        raise NotExportable(f"its values {off} and {on} are beyond 32 bits: use smaller ones")
    axis = axis_of(attributes_of(context).get("axis", -1), indices.ndim + 1)
    outer, length, inner = axis_parts(y.shape, axis)
    if outer * length * inner == 0 or depth.value is None:
        return context.operation()
    memory = Memory.of(context)
    numbers = {"outer": outer, "depth": length, "inner": inner, "off": off, "on": on}
    call = Call("one_hot", {"i": indices.dtype, "y": y.dtype}, (memory.plain(indices, "indices"), y), numbers)
    return context.operation(*memory.calls, call)


@lowers(Evaluated, is_evaluation_of("Hardmax"), first=60)
def lower_hard_max(context: Context) -> Operation:
    """Return 1 at the first largest element of each row."""
    (x,) = context.step.evaluation.inputs
    y, node = context.y, context.bound_step.node
    check_exact(context.step.evaluation)
    if not y.size:
        return context.operation()
    if node.version >= 13:
        outer, n, inner = axis_parts(x.shape, axis_of(attributes_of(context).get("axis", -1), x.ndim))
    else:
        axis = attributes_of(context).get("axis", 1)
        first = axis if axis == x.ndim else axis_of(axis, x.ndim)
        outer, n, inner = prod(x.shape[:first]), prod(x.shape[first:]), 1
    memory = Memory.of(context)
    one = int(reals_as_codes(context, np.ones(())))
    types = {"x": context.tensors[x.name].dtype, "y": y.dtype}
    numbers = {"outer": outer, "n": n, "inner": inner, "one": one}
    call = Call("hard_max", types, (memory.plain(x, "elements"), y), numbers)
    return context.operation(*memory.calls, call)


@lowers(Evaluated, is_evaluation_of("CumSum", "CumProd"), first=60)
def lower_running(context: Context) -> Operation:
    """Return sums or products up to each element along a constant axis."""
    evaluation, y, node = context.step.evaluation, context.y, context.bound_step.node
    x, axis = evaluation.inputs
    most = check_exact(evaluation)
    if axis.value is None:
        raise NotExportable("its axis is computed during the run, and C needs a constant")
    if not y.size:
        return context.operation()
    outer, n, inner = axis_parts(x.shape, axis_of(int(axis.value.reshape(-1)[0]), x.ndim))
    memory = Memory.of(context)
    source = memory.plain(x, "elements")
    numbers = {
        "outer": outer,
        "n": n,
        "inner": inner,
        "is_product": node.operator == "CumProd",
        "is_exclusive": bool(attributes_of(context).get("exclusive", 0)),
        "is_reverse": bool(attributes_of(context).get("reverse", 0)),
    }
    types = {"x": element_type(source), "y": y.dtype}
    if y.format is None:
        return context.operation(*memory.calls, Call("running", types, (source, y), numbers))
    if node.operator == "CumProd":
        raise NotExportable("it multiplies real numbers one after the other, and C has none: use Mul")
    bound = n * magnitude(context.tensors[x.name].ends)
    if bound > most or bound >= _INT32:
        raise NotExportable(f"sums up to {bound} are not exact in {x.dtype}: split its axis")
    wide = memory.scratch(np.dtype(np.int32), y.size)
    call = Call("running", types | {"y": wide.dtype}, (source, wide), numbers)
    return rounded(context, memory, wide, x.fraction_bits, bound, call)
