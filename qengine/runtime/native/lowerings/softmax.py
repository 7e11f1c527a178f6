"""Lowering of Softmax and LogSoftmax, of float32 and of codes."""

from __future__ import annotations

import numpy as np

from qengine.kernels.epilogue import LANES
from qengine.kernels.reference.softmax_fixed import LOG_BITS, POWER_BITS, log_table, log_width, power_table
from qengine.kernels.rows import CodeSoftmax, Softmax
from qengine.model.steps import Rows
from qengine.model.steps.row_forms import SoftmaxOver
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.row_op import Extent, code_end, extent_of, row_op
from qengine.runtime.native.tensor_buffer import TensorBuffer, constant_buffer

_MAX_BITS = 60
_MAX_SCRATCH = 1 << 28


@lowers_plain(Rows, SoftmaxOver)
def lower_softmax(context: PlainContext[Rows]) -> Lowered:
    """Lower a softmax over one axis or, before opset 13, over all axes from one on."""
    x, form = context.step.x, context.function
    end = x.ndim if form.coerced else form.axis + 1
    extent = extent_of(x.shape, form.axis, end)
    if context.is_float:
        out = TensorBuffer.plain(context.out)
        if out.stored != "f32":
            raise NotLowered(f"Softmax of {x.dtype}")
        spec = Softmax(strided=extent[2] > 1, logarithm=form.logarithm)
        return Lowered.by(row_op(context.isa, spec, context.request(x), out, extent, element_cycles=2.0))
    return _softmax_of_codes(context, extent)


def _softmax_of_codes(context: PlainContext[Rows], extent: Extent) -> Lowered:
    """Lower a softmax of codes."""
    x, out, logarithm = context.step.x, context.out, context.function.logarithm
    buffer, word = TensorBuffer.plain(out), context.arithmetic.word(out.one_format)
    n, length, strided = x.fraction_bits, extent[1], extent[2] > 1
    shift = 0
    if logarithm:
        finest = max(LOG_BITS, n)
        width, first = log_width(n), (finest - n, finest - LOG_BITS)
        shift = finest - out.fraction_bits
    else:
        up, down = max(out.fraction_bits, 0), max(-out.fraction_bits, 0)
        width, first = max(POWER_BITS + up, POWER_BITS + length.bit_length() + down), (up, down)
    scratch = 4 * LANES * length if strided else 4 * (length + LANES)
    if width > _MAX_BITS or scratch > _MAX_SCRATCH:
        raise NotLowered("a softmax of codes with more than 60 bits, or of very long rows")
    powers = power_table(n, x.one_format.bits)
    source = context.request(x)
    spec = CodeSoftmax(source.stored, buffer.stored, strided, logarithm, word.rounding, word.fitting)
    inputs = {
        "table": constant_buffer(powers.astype(np.int32), "powers"),
        "logs": constant_buffer(log_table(), "logarithms"),
        "numbers": constant_buffer(np.array([*first, *code_end(word, shift)], np.int64), "numbers"),
    }
    op = row_op(
        context.isa,
        spec,
        source,
        buffer,
        extent,
        numbers={"last": len(powers) - 1},
        inputs=inputs,
        element_cycles=6.0,
        scratch=scratch,
    )
    return Lowered.by(op)
