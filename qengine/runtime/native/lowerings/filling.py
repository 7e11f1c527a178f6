"""Lowering of operators that write a pattern, on plain buffers: Trilu, EyeLike, OneHot; and of a few others."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.strided_copy import ReverseRuns
from qengine.model.eager.elements import axis_of, one_integer
from qengine.model.steps import Evaluated, Tensor
from qengine.model.steps.moves import Strided
from qengine.runtime.native.broadcast_op import broadcast_op
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.broadcast import MAX_TERMS
from qengine.runtime.native.op import Op
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.strided_copies import copy_view
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, element_type


def _given(context: PlainContext[Evaluated], elements: NDArray[Any]) -> TensorBuffer:
    """Return the buffer of elements that are known."""
    return context.request(Tensor(f"{context.out.name} given", elements.dtype, elements.shape, elements))


def _distance(rows: int, columns: int) -> NDArray[np.int64]:
    """Return how far each element of a matrix is to the right of the main diagonal."""
    return np.arange(columns, dtype=np.int64) - np.arange(rows, dtype=np.int64)[:, None]


@lowers_plain(Evaluated, "Trilu")
def lower_trilu(context: PlainContext[Evaluated]) -> Lowered:
    """Lower Trilu: the elements where a mask holds, and 0."""
    evaluation, out = context.step.evaluation, context.out
    x, *rest = evaluation.inputs
    assert x is not None
    diagonal = 0
    if rest and rest[0] is not None:
        assert rest[0].value is not None
        diagonal = one_integer(rest[0].value, "k")
    distance = _distance(*x.shape[-2:])
    mask = distance >= diagonal if evaluation.node.number("upper", 1) else distance <= diagonal
    buffer = TensorBuffer.plain(out)
    integer = f"i{8 * ITEMSIZE[buffer.stored]}"
    zero = np.zeros((), x.dtype)
    operands = [(_given(context, mask), mask.shape), (context.request(x), x.shape), (_given(context, zero), ())]
    types = ("b8", integer, integer, integer)
    return Lowered.by(broadcast_op(context.isa, "where", operands, buffer, out.shape, types=types))


@lowers_plain(Evaluated, "EyeLike")
def lower_eye_like(context: PlainContext[Evaluated]) -> Lowered:
    """Lower EyeLike, whose elements are known."""
    out = context.out
    diagonal = context.step.evaluation.node.number("k", 0)
    return Lowered((), (_given(context, np.asarray(_distance(*out.shape) == diagonal).astype(out.dtype)),))


@lowers_plain(Evaluated, "OneHot")
def lower_one_hot(context: PlainContext[Evaluated]) -> Lowered:
    """Lower OneHot: the index, or the negative one, equals the place along the new axis."""
    evaluation, out, isa = context.step.evaluation, context.out, context.isa
    indices, _, values = evaluation.inputs
    assert indices is not None
    assert values is not None
    place = axis_of(evaluation.node.number("axis", -1), indices.ndim + 1)
    if indices.dtype.kind not in "iu":
        raise NotLowered(f"indices of {indices.dtype}")
    depth, ops = out.shape[place], list[Op]()
    index = context.request(indices)
    if index.stored != "i64":
        wide = Tensor(f"{out.name} indices", np.dtype(np.int64), indices.shape)
        ops.append(broadcast_op(isa, "cast", [(index, indices.shape)], TensorBuffer.plain(wide), indices.shape))
        index = ops[-1].out
    counted = np.arange(depth, dtype=np.int64).reshape(depth, *(1,) * (indices.ndim - place))
    shape = (*indices.shape[:place], 1, *indices.shape[place:])
    masks: list[tuple[TensorBuffer, tuple[int, ...]]] = []
    for numbers in (counted, counted - depth):
        mask = TensorBuffer.plain(Tensor(f"{out.name} mask {len(masks)}", np.dtype(bool), out.shape))
        operands = [(index, shape), (_given(context, numbers), numbers.shape)]
        ops.append(broadcast_op(isa, "equal", operands, mask, out.shape))
        masks.append((mask, out.shape))
    both = TensorBuffer.plain(Tensor(f"{out.name} mask", np.dtype(bool), out.shape))
    ops.append(broadcast_op(isa, "logical_or", masks, both, out.shape))
    ends: list[tuple[TensorBuffer, tuple[int, ...]]] = []
    pair = context.request(values)
    for i in (1, 0):
        end = TensorBuffer.plain(Tensor(f"{out.name} value {i}", values.dtype, (1,)))
        ops.append(copy_view(isa, pair, Strided((1,), (1,), i), end))
        ends.append((end, ()))
    buffer = TensorBuffer.plain(out)
    integer = f"i{8 * ITEMSIZE[buffer.stored]}"
    types = ("b8", integer, integer, integer)
    ops.append(broadcast_op(isa, "where", [(both, out.shape), *ends], buffer, out.shape, types=types))
    return Lowered.by(*ops)


@lowers_plain(Evaluated, "ReverseSequence")
def lower_reverse_sequence(context: PlainContext[Evaluated]) -> Lowered:
    """Lower ReverseSequence: the elements of a batch and a time are a run."""
    node, (tensor, lengths) = context.step.evaluation.node, context.step.operands
    x, counts, out = context.request(tensor), context.request(lengths), TensorBuffer.plain(context.out)
    batch_axis = node.number("batch_axis", 1)
    batch, time = tensor.shape[batch_axis], tensor.shape[1 - batch_axis]
    run = prod(tensor.shape[2:]) * ITEMSIZE[x.stored]
    strides = {"batch_run": run if batch_axis else run * time, "time_run": run * batch if batch_axis else run}
    fault = context.fault(f"sequence_lens are not all in 0..{time}")
    if counts.stored != "i64":
        raise NotLowered(f"lengths of {lengths.dtype}")

    def arguments(part: Part) -> dict[str, Address]:
        (source, places), (y,) = part.inputs, part.outputs
        numbers = {"first": part.first, "end": part.end, "time": time, "run": run, **strides}
        return {"x": source, "y": y, "lengths": places, **numbers, "fault": fault}

    return Lowered.by(
        PlainOp(context.isa, (x, counts), out, ReverseRuns(), arguments, batch, time * batch * (4 + run / 16))
    )


@lowers_plain(Evaluated, "Mean")
def lower_mean(context: PlainContext[Evaluated]) -> Lowered:
    """Lower the mean of some tensors: the sum, divided by their number."""
    out, tensors = context.out, context.step.operands
    if len(tensors) > MAX_TERMS or out.dtype not in (np.float32, np.float64):
        raise NotLowered(f"Mean of {len(tensors)} tensors of {out.dtype}")
    total, buffer = TensorBuffer.plain(Tensor(f"{out.name} sum", out.dtype, out.shape)), TensorBuffer.plain(out)
    summed = broadcast_op(context.isa, "add", [(context.request(t), t.shape) for t in tensors], total, out.shape)
    count = np.asarray(len(tensors), out.dtype)
    operands = [(total, out.shape), (_given(context, count), ())]
    return Lowered.by(summed, broadcast_op(context.isa, "divide", operands, buffer, out.shape))


@lowers_plain(Evaluated, "Pow")
def lower_power(context: PlainContext[Evaluated]) -> Lowered:
    """Lower powers of float32 numbers with exponents that broadcast."""
    x, exponent = context.step.operands
    if x.dtype != np.float32 or element_type(exponent) is None:
        raise NotLowered(f"powers of {x.dtype}")
    operands = [(context.request(t), t.shape) for t in (x, exponent)]
    buffer = TensorBuffer.plain(context.out)
    return Lowered.by(broadcast_op(context.isa, "power", operands, buffer, context.out.shape, cycles=80.0))
