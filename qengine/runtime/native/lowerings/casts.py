"""Lowering of conversions between element types, on plain buffers."""

from __future__ import annotations

import numpy as np

from qengine.model.ops.conversion import Converted
from qengine.model.steps import Island
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.broadcast import lower_pairs
from qengine.runtime.native.tensor_buffer import TensorBuffer


@lowers_plain(Island, Converted)
def lower_conversion(context: PlainContext[Island]) -> Lowered:
    """Lower Cast and CastLike; to the same type there is nothing to do.

    A conversion to float16 has float32 elements as its output, see `half`. They are rounded to float16 at once: a
    rounding to float32 before it would make other numbers of float64.
    """
    (x,) = context.step.inputs
    if not context.is_float:
        raise NotLowered("a conversion of codes")
    if x.dtype == context.out.dtype:
        buffer = TensorBuffer.plain(context.out)
        buffer.view_of = context.request(x)
        return Lowered((), (buffer,))
    to_half = context.function.dtype == np.float16
    return lower_pairs(context, "cast to half" if to_half else "cast", [x])
