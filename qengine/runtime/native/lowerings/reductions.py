"""Lowering of reductions over any axes, of places of extremes, and of sums so far."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from qengine.kernels.rows import MAX_PLACE, Reduce, RowPlace
from qengine.kernels.scan import Accumulate, AxisPlace, ReduceIntegers
from qengine.model.eager.elements import axes_of, axis_of
from qengine.model.steps import Evaluated, Mean, Move, Tensor
from qengine.model.steps.forms import AxisExtreme, AxisSum
from qengine.model.steps.row_forms import AxisIndex
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.row_op import Extent, extent_of, row_op
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, constant_buffer

_FOLDS = {
    **{"ReduceL1": "size", "ReduceL2": "root", "ReduceSumSquare": "squares", "ReduceProd": "product"},
    **{"ReduceLogSum": "log", "ReduceLogSumExp": "log of exp"},
}
_EXTREMES = ("largest", "smallest")
# The fold of the first of several groups of axes, of those between, and of the last, where it is another one.
_FIRST = {"mean": "sum", "root": "squares", "log": "sum"}
_BETWEEN = {"size": "sum", "squares": "sum", "mean": "sum", "root": "sum", "log": "sum"}
_LAST = {"size": "sum", "squares": "sum", "root": "root of sum"}


@lowers_plain(Mean, AxisSum)
def lower_mean(context: PlainContext[Mean]) -> Lowered:
    """Lower a sum or a mean over axes."""
    step = context.step
    if not isinstance(step.count, int):
        raise NotLowered("means of several counts")
    return _reduced(context, step.x, step.total.axes, "mean" if step.count > 1 else "sum")  # type: ignore[attr-defined]


@lowers_plain(Move, AxisExtreme)
def lower_extreme(context: PlainContext[Move]) -> Lowered:
    """Lower the largest or smallest element over axes."""
    form = context.function
    return _reduced(context, context.step.x, form.axes, "largest" if form.largest else "smallest")


def lower_evaluated(context: PlainContext[Evaluated]) -> Lowered:
    """Lower a reduction that has an evaluator; its axes are an attribute or, from opset 18 on, an input."""
    node, (x, *others) = context.step.evaluation.node, context.step.evaluation.inputs
    assert x is not None
    given: Any = node.attributes.get("axes") if node.version < 18 else None
    if node.version >= 18 and others and others[0] is not None:
        if others[0].value is None:
            raise NotLowered("axes that are computed during the run")
        given = others[0].value.ravel().tolist()
    if given is None or not len(given):
        given = () if node.version >= 18 and node.number("noop_with_empty_axes", 0) else range(x.ndim)
    return _reduced(context, x, axes_of([int(axis) for axis in given], x.ndim), _FOLDS[node.operator])


for _name in _FOLDS:
    lowers_plain(Evaluated, _name)(lower_evaluated)


def _groups(shape: Sequence[int], axes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the axes as groups of neighbours, from the first to before the last; axes of length 1 join any group."""
    groups: list[tuple[int, int]] = []
    for axis in sorted(axis for axis in axes if shape[axis] > 1):
        if groups and all(n == 1 for n in shape[groups[-1][1] : axis]):
            groups[-1] = groups[-1][0], axis + 1
        else:
            groups.append((axis, axis + 1))
    return groups


def _reduced(context: PlainContext[Any], x: Tensor, axes: Sequence[int], fold: str) -> Lowered:
    """Lower a reduction, group after group of neighbouring axes."""
    out = TensorBuffer.plain(context.out)
    is_extreme = fold in _EXTREMES
    if not context.is_float and not (is_extreme and x.format is not None and x.format == context.out.format):
        raise NotLowered("a reduction of codes")
    source = context.request(x)
    if source.stored in ("f16", "bf16") or (source.stored[0] != "f" and fold in ("log", "root", "log of exp")):
        raise NotLowered(f"{fold} of {x.dtype}")
    shape = list(x.shape)
    groups = _groups(shape, axes)
    if not groups:
        groups = [(len(shape), len(shape))] if fold not in ("sum", "mean", "product", *_EXTREMES) else []
    if not groups:
        return Lowered((), (TensorBuffer(out.name, out.shape, out.stored, 1, view_of=source),))
    if len(groups) > 1 and fold in ("log of exp", "mean") and source.stored[0] != "f":
        raise NotLowered(f"{fold} of {x.dtype} over axes with others between them")
    total = prod(shape[a] for a in axes)
    ops: list[Op] = []
    for i, (first, end) in enumerate(groups):
        is_last = i == len(groups) - 1
        extent = extent_of(shape, first, end)
        shape[first:end] = [1] * (end - first)
        target = out if is_last else TensorBuffer.flat(f"{out.name} ({i})", prod(shape), out.stored)
        name = fold
        if len(groups) > 1:
            name = (_FIRST if i == 0 else _LAST if is_last else _BETWEEN).get(fold, fold)
        ops.append(_fold_op(context, source, target, extent, name, total))
        source = target
    return Lowered(tuple(ops), (out,))


def _fold_op(
    context: PlainContext[Any], x: TensorBuffer, out: TensorBuffer, extent: Extent, fold: Any, count: int
) -> Op:
    """Return the op of one group of axes; `count` is the divisor of a mean."""
    if x.stored[0] != "f":
        return scan_op(context, ReduceIntegers(x.stored, fold), x, out, extent)
    element: Any = x.stored
    scalars = constant_buffer(np.array([count], np.float32 if element == "f32" else np.float64), "count")
    cycles = 2.0 if fold == "log of exp" else 0.3
    spec = Reduce(element, extent[2] > 1, fold)
    return row_op(context.isa, spec, x, out, extent, inputs={"scalars": scalars}, element_cycles=cycles)


def scan_op(context: PlainContext[Any], spec: Any, x: TensorBuffer, out: TensorBuffer, extent: Extent) -> PlainOp:
    """Return the op of a kernel of `qengine.kernels.scan`."""
    outer, length, inner = extent

    def arguments(part: Part) -> dict[str, Address]:
        numbers = {"first": part.first, "end": part.end, "length": length, "inner": inner}
        return {"x": part.inputs[0], "y": part.outputs[0], **numbers}

    return PlainOp(context.isa, (x,), out, spec, arguments, outer * inner, 2.0 * outer * length * inner)


@lowers_plain(Move, AxisIndex)
def lower_axis_index(context: PlainContext[Move]) -> Lowered:
    """Lower ArgMax and ArgMin, on codes too."""
    x, form = context.request(context.step.x), context.function
    if x.stored in ("f16", "bf16"):
        raise NotLowered(f"the place of an extreme of {context.step.x.dtype}")
    out = TensorBuffer.plain(context.out)
    spec = AxisPlace(x.stored, form.largest, form.last)
    extent = extent_of(context.step.x.shape, form.axis, form.axis + 1)
    if x.stored in ("f32", "f64") and extent[1] < MAX_PLACE:
        element: Any = x.stored
        rows = RowPlace(element, extent[2] > 1, form.largest, form.last)
        return Lowered.by(row_op(context.isa, rows, x, out, extent, element_cycles=0.5))
    return Lowered.by(scan_op(context, spec, x, out, extent))


def lower_accumulated(context: PlainContext[Evaluated]) -> Lowered:
    """Lower CumSum and CumProd."""
    node, (x, axis) = context.step.evaluation.node, context.step.evaluation.inputs
    assert x is not None
    assert axis is not None
    if axis.value is None or axis.value.size != 1:
        raise NotLowered("an axis that is computed during the run")
    source, out = context.request(x), TensorBuffer.plain(context.out)
    if source.stored in ("f16", "bf16", "b8"):
        raise NotLowered(f"sums of {x.dtype} so far")
    place = axis_of(int(axis.value.item()), x.ndim)
    flags = bool(node.number("exclusive", 0)), bool(node.number("reverse", 0))
    spec = Accumulate(source.stored, *flags, product=node.operator == "CumProd")
    return Lowered.by(scan_op(context, spec, source, out, extent_of(x.shape, place, place + 1)))


for _name in ("CumSum", "CumProd"):
    lowers_plain(Evaluated, _name)(lower_accumulated)
