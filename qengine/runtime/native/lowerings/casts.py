"""Lowering of conversions between element types, on plain buffers."""

from __future__ import annotations

from math import prod

import numpy as np

from qengine.model.ops.conversion import Converted
from qengine.model.steps import FromIntegers, Island
from qengine.runtime.native.broadcast_op import ExactNumbers, broadcast_op
from qengine.runtime.native.lowering_table import Lowered, NotLowered, PlainContext, lowers_plain
from qengine.runtime.native.lowerings.broadcast import exact_op, lower_pairs
from qengine.runtime.native.tensor_buffer import TensorBuffer

_EXACT = 1 << 24
"""Magnitude up to which float32 holds all integers."""


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


@lowers_plain(FromIntegers)
def lower_from_integers(context: PlainContext[FromIntegers]) -> Lowered:
    """Lower a conversion of integers or booleans to real numbers or codes.

    Integers beyond those that float32 holds exactly are cut to these bounds first, where none of them fits.
    """
    x, out = context.step.x, context.out
    if out.format is None:
        return lower_pairs(context, "cast", [x])  # float32 holds all integers that float16 does
    word, n = context.arithmetic.word(out.one_format).unshifted, out.fraction_bits
    beyond = word.most + (1 if word.fitting == "saturate" else 2)  # so that its negative does not fit either
    if word.fitting == "wrap" or beyond << max(-n, 0) > _EXACT or x.dtype == np.uint64:
        raise NotLowered("a conversion of large integers to codes")
    bounds = np.array([-_EXACT, _EXACT], np.int64)
    whole = TensorBuffer(f"{x.name} (integers)", (1, 1, 1, prod(x.shape)), "i64", 1)
    given = [(context.request(x), x.shape)]
    cast = broadcast_op(context.isa, "cast", given, whole, x.shape, bounds=bounds)
    numbers = ExactNumbers(word, max(-n, 0), (max(n, 0),))
    return Lowered.by(cast, exact_op(context, "add", [(whole, x)], out, numbers, _EXACT << max(n, 0)))
