"""Lowering of Softmax and LogSoftmax of float32."""

from __future__ import annotations

from qengine.kernels.rows import Softmax
from qengine.model.steps import Island
from qengine.model.steps.row_forms import SoftmaxOver
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.row_op import extent_of, row_op
from qengine.runtime.native.tensor_buffer import TensorBuffer


@lowers_plain(Island, SoftmaxOver)
def lower_softmax(context: PlainContext[Island]) -> Lowered:
    """Lower a softmax over one axis or, before opset 13, over all axes from one on."""
    (x,), form = context.step.inputs, context.function
    out = TensorBuffer.plain(context.out)
    if not context.is_float:
        raise NotLowered("an island in fixed point")
    if out.stored != "f32":
        raise NotLowered(f"Softmax of {x.dtype}")
    end = x.ndim if form.coerced else form.axis + 1
    extent = extent_of(x.shape, form.axis, end)
    spec = Softmax(strided=extent[2] > 1, logarithm=form.logarithm)
    return Lowered.by(row_op(context.isa, spec, context.request(x), out, extent, element_cycles=2.0))
