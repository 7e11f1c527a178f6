"""Lowering of Concat along channels: every input is brought to the output's format, then moved into the output."""

from __future__ import annotations

from itertools import accumulate

from qengine.kernels.epilogue import LANES
from qengine.kernels.layout import natural_block
from qengine.model.steps import Join, Tensor
from qengine.model.steps.forms import Concatenated
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, lowers
from qengine.runtime.native.lowerings.elementwise import copy_op, requantize_op
from qengine.runtime.native.op import Op
from qengine.runtime.native.packing import RelayoutOp
from qengine.runtime.native.tensor_buffer import TensorBuffer, images


@lowers(Join, function=Concatenated)
def lower_concat(context: LoweringContext[Join]) -> Lowered:
    """Lower a Concat along channels."""
    step, out, isa = context.step, context.out, context.isa
    shape = images(out.shape)
    if context.function.axis != 1 or shape is None or any(t.value is not None for t in step.joined):
        raise NotLowered("Concat along an axis other than channels, or with a constant part")
    block = natural_block(shape[1])
    starts = [0, *accumulate(t.shape[1] for t in step.joined)]
    buffer = TensorBuffer.of(out, block, flagged=context.counts)
    word = context.arithmetic.word(out.one_format) if out.format is not None else None
    # Where every input begins a block, requantization writes directly into the output.
    is_aligned = all(s % block == 0 for s in starts[:-1]) and block == LANES
    ops: list[Op] = []
    parts: list[TensorBuffer] = []
    for t, start in zip(step.joined, starts, strict=False):
        x = context.request_buffer(t, block=block if is_aligned else None)
        # Codes that are counted get flags of their own: those of the input belong to its rounding.
        if is_aligned or t.format != out.format or (context.counts and word is not None):
            target, skip = buffer, start
            if not is_aligned:
                part = Tensor(f"{out.name} part {len(ops)}", t.dtype, t.shape, None, out.format)
                target, skip = TensorBuffer.of(part, x.block, flagged=context.counts), 0
            if word is None:
                ops.append(copy_op(isa, x, target, skip=skip))
            else:
                ops.append(requantize_op(isa, x, target, word, t.fraction_bits - out.fraction_bits, skip=skip))
            x = target
        parts.append(x)
    if not is_aligned:
        ops.append(RelayoutOp(isa, tuple(parts), buffer, tuple(starts[:-1])))
    return Lowered.by(*ops)
