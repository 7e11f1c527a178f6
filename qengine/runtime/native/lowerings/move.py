"""Lowering of Relu and Clip by themselves, and of reshapes that keep the order in memory."""

from __future__ import annotations

from qengine.model.steps import Move
from qengine.model.steps.forms import Bounded, Reshaped
from qengine.runtime.native.columns import is_column
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, lowers
from qengine.runtime.native.lowerings.elementwise import copy_op, requantize_op
from qengine.runtime.native.tensor_buffer import TensorBuffer, images


@lowers(Move, function=Bounded)
def lower_bounded(context: LoweringContext[Move]) -> Lowered:
    """Lower bounds without another operation: Relu, Clip."""
    step, out = context.step, context.out
    x = context.request_buffer(step.x)
    low, high = step.constants
    if out.format is None:
        return Lowered.by(copy_op(context.isa, x, TensorBuffer.of(out, x.block), (low, high)))
    codes = None if low is None else step.x.encode(low), None if high is None else step.x.encode(high)
    buffer = TensorBuffer.of(out, x.block, *codes)
    return Lowered.by(requantize_op(context.isa, x, buffer, out.one_format.word(), 0, codes))


@lowers(Move, function=Reshaped)
def lower_reshape(context: LoweringContext[Move]) -> Lowered:
    """Lower a reshape to no op, where the order of the elements in memory stays the same."""
    step = context.step
    shapes = [images(step.shape)] + [images(step.shape[:3])] * is_column(step.shape)
    buffers = [b for b in context.buffers(step.x.name) if b.shape in shapes]
    if step.x.value is not None or not buffers:
        raise NotLowered("a reshape that changes the order in memory")
    return Lowered((), tuple(buffers))
