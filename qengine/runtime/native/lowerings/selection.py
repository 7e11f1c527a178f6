"""Lowering of operators that pick elements by their order."""

from __future__ import annotations

from math import prod

from qengine.kernels.top_k import TopK
from qengine.model.eager.elements import axis_of
from qengine.model.steps import Evaluated
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.plain_op import Part, PlainOp
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer

_KINDS = "fiu"


@lowers_plain(Evaluated, "TopK")
def lower_top_k(context: PlainContext[Evaluated]) -> Lowered:
    """Lower TopK: each row by itself."""
    node, (tensor, *_) = context.step.evaluation.node, context.step.operands
    values, places = (TensorBuffer.plain(t) for t in context.outputs)
    x = context.request(tensor)
    if x.stored[0] not in _KINDS or x.stored == "f16":
        raise NotLowered(f"TopK of {tensor.dtype}")
    axis = axis_of(node.number("axis", -1), tensor.ndim)
    length, inner, k = tensor.shape[axis], prod(tensor.shape[axis + 1 :]), context.out.shape[axis]
    if length >= 1 << 31:
        raise NotLowered(f"TopK of {length:,} elements")
    rows = prod(tensor.shape) // length

    def arguments(part: Part) -> dict[str, Address]:
        (source,), (y, indices) = part.inputs, part.outputs
        numbers = {"first": part.first, "end": part.end, "length": length, "inner": inner, "k": k}
        return {"x": source, "y": y, "places": indices, **numbers, "scratch": part.scratch}

    spec = TopK(x.stored, bool(node.number("largest", 1)))
    op = PlainOp(
        context.isa, (x,), values, spec, arguments, rows, 4.0 * prod(tensor.shape), (places,), scratch=8 * max(k, 1)
    )
    return Lowered((op,), (values, places))
