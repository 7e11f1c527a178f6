"""Conversions: codes with and without a zero point, integers as codes, and codes in another format."""

from __future__ import annotations

from typing import Any

import numpy as np

from qengine.deploy.c.epilogue import epilogue
from qengine.deploy.c.ir import Argument, Call, CTensor, Operation, Parameters, Scratch
from qengine.deploy.c.lowering import Context, NotExportable, accumulator, lowers
from qengine.deploy.c.lowerings.calls import element_type
from qengine.deploy.c.lowerings.elements.operands import elements_of, magnitude
from qengine.deploy.c.lowerings.nests import Nest
from qengine.model.steps import FromCodes, FromIntegers, Rounded, ToCodes

_INT32 = 1 << 31


def enough(shift: int, bound: int) -> int:
    """Return a shift that rounds all integers up to a bound as another does, and is little longer than they."""
    return min(shift, max(bound, 1).bit_length() + 2)


def convert_call(
    x: Argument,
    y: CTensor | Scratch,
    nest: Nest,
    numbers: Parameters,
    v: np.dtype[Any],
    zeros: tuple[int, int] = (0, 0),
    offset: int = 0,
) -> Call:
    """Return the call that requantizes elements.

    Parameters
    ----------
    x, y
        Pointers.
    nest
        Loops with the steps of x and of y.
    numbers
        The epilogue.
    v
        Type that holds an element while it is rounded.
    zeros
        Zero points of x and of y.
    offset
        Elements of y before the first one.
    """
    types = {"x": element_type(x), "y": element_type(y), "v": v}
    fields = {**nest.numbers("x", "y"), "zero_x": zeros[0], "zero_y": zeros[1], "epilogue": numbers}
    return Call("convert", types, (x, y), fields, (0, offset) if offset else ())


@lowers(ToCodes)
def lower_to_codes(context: Context) -> Operation:
    """Return the operation of QuantizeLinear."""
    step: ToCodes = context.step
    if step.x.format is None:
        raise NotExportable(_FEEDS_REAL)
    word, info = step.format.word(), np.iinfo(step.dtype)
    if word.least + step.zero_point < info.min or word.most + step.zero_point > info.max:
        raise NotExportable(f"its zero point {step.zero_point} moves codes of {step.format} out of {step.dtype}")
    shift = step.x.fraction_bits - step.format.fraction_bits
    ends = context.tensors[step.x.name].ends
    shift = enough(shift, magnitude(ends))
    return _converted(context, epilogue(word, shift), accumulator(magnitude(ends), shift), (0, step.zero_point))


@lowers(FromCodes)
def lower_from_codes(context: Context) -> Operation:
    """Return the operation of DequantizeLinear."""
    step: FromCodes = context.step
    least, most = context.tensors[step.x.name].ends
    if not -_INT32 <= step.zero_point < _INT32:
        raise NotExportable(f"its zero point {step.zero_point} is beyond 32 bits")
    bound = max(magnitude((least - step.zero_point, most - step.zero_point)), magnitude((least, most)))
    shift = enough(step.format.fraction_bits - context.out.fraction_bits, bound)
    return _converted(context, context.epilogue(shift), accumulator(bound, shift), (step.zero_point, 0))


@lowers(FromIntegers)
def lower_from_integers(context: Context) -> Operation:
    """Return the operation of a Cast of integers or truth values."""
    step: FromIntegers = context.step
    word = context.arithmetic.word(context.out.one_format).unshifted
    ends = context.tensors[step.x.name].ends
    if ends[1] >= 1 << 63:
        raise NotExportable(f"it reads {step.x.dtype}, and C rounds numbers of 64 bits with a sign: cast it to int64")
    bound = magnitude(ends)
    shift = enough(-context.out.fraction_bits, bound)
    is_left = shift <= 0  # is brought near the word before it is shifted
    v = accumulator(min(bound, (1 << 63) - 1) if is_left else bound, shift)
    return _converted(context, epilogue(word, shift), v, (0, 0))


def _converted(context: Context, numbers: Parameters, v: np.dtype[Any], zeros: tuple[int, int]) -> Operation:
    if not context.y.size:
        return context.operation()
    elements = elements_of(context, [context.step.x])
    call = convert_call(elements.arguments[0], context.y, elements.nest, numbers, v, zeros)
    return context.operation(*elements.before, call, overlap=elements.overlaps)


_FEEDS_REAL = "it feeds real numbers into a part that computes codes, and C has no real numbers: feed the codes"


@lowers(Rounded)
def lower_rounded(context: Context) -> Operation:
    """Refuse the rounding of real numbers."""
    del context
    raise NotExportable(_FEEDS_REAL)
