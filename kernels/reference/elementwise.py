"""Add, Sub, Mul, Div and PRelu of codes in different formats: computed exactly, rounded once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .requantize import LARGEST, SATURATED, Tally, requantize, requantize_quotient
from .rounding import integer_dtype
from .word import Codes, Integers, Word

TermSign = int
"""Sign of an operand of a sum: +1 adds it, -1 subtracts it."""


def bounded(v: NDArray[Any], low: float | None, high: float | None, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return v, of any element type, clipped to low .. high; None for no bound. The bounds are cast to v's type."""
    if low is not None:
        v = np.maximum(v, np.asarray(low, v.dtype), out=out)
    if high is not None:
        v = np.minimum(v, np.asarray(high, v.dtype), out=out)
    return v


def divide_integers(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return integer quotients, truncated toward zero as ONNX divides; the smallest integer by -1 wraps to itself.

    No element of b is 0.
    """
    quotient, rest = np.divmod(a, b)
    return np.asarray(quotient + ((rest != 0) & ((a < 0) != (b < 0))), a.dtype)


def add_fixed(
    operands: Sequence[Codes],
    fraction_bits: Sequence[int],
    signs: Sequence[TermSign],
    out_fraction_bits: int,
    word: Word,
    *,
    low: int | None = None,
    high: int | None = None,
    tally: Tally | None = None,
) -> Codes:
    """Return the sum of signed operands, aligned to the largest number of fraction bits."""
    finest = max(fraction_bits)
    wide = integer_dtype(16 + finest - min(fraction_bits) + len(operands).bit_length())
    acc: Integers = np.zeros((), wide)
    for codes, n, sign in zip(operands, fraction_bits, signs, strict=True):
        acc = np.asarray(acc + codes.astype(wide) * (sign << (finest - n)), wide)
    return requantize(acc, finest - out_fraction_bits, word, low=low, high=high, tally=tally)


def multiply_fixed(
    a: Codes,
    b: Codes,
    shift: int,
    word: Word,
    *,
    low: int | None = None,
    high: int | None = None,
    tally: Tally | None = None,
) -> Codes:
    """Return the exact product, rounded once; shift = n_a + n_b - n_y."""
    acc = np.asarray(a.astype(np.int64) * b.astype(np.int64))
    return requantize(acc, shift, word, low=low, high=high, tally=tally)


def prelu_fixed(
    x: Codes,
    slope: Codes,
    slope_fraction_bits: int,
    shift: int,
    word: Word,
    *,
    low: int | None = None,
    high: int | None = None,
    tally: Tally | None = None,
) -> Codes:
    """Return x where it is 0 or more and the exact product x * slope below, rounded once; shift = n_x - n_y."""
    finest = max(slope_fraction_bits, 0)
    wide = integer_dtype(32 + abs(slope_fraction_bits))
    plain = x.astype(wide)
    product = plain * slope.astype(wide) * (1 << (finest - slope_fraction_bits))
    acc = np.asarray(np.where(x < 0, product, plain * (1 << finest)), wide)
    return requantize(acc, finest + shift, word, low=low, high=high, tally=tally)


def divide_fixed(
    a: Codes,
    b: Codes,
    shift: int,
    word: Word,
    *,
    tally: Tally | None = None,
) -> Codes:
    """Return the exact quotient, rounded once; shift = n_a - n_b - n_y.

    x / 0 saturates by the sign of x in every overflow mode, 0 / 0 is 0; both count as saturated.
    """
    a, b = np.broadcast_arrays(a, b)
    zero = b == 0
    wide = integer_dtype(16 + abs(shift))
    # The sign moves to the numerator; 0 / 1 replaces a division by zero.
    divisor = np.where(zero, 1, b.astype(wide))
    dividend = np.where(zero, 0, a.astype(wide)) * np.where(divisor < 0, -1, 1)
    numerator = np.asarray(dividend * (1 << max(-shift, 0)), wide)
    denominator = np.asarray(np.abs(divisor) * (1 << max(shift, 0)), wide)
    codes = requantize_quotient(numerator, denominator, word, tally=tally)
    if zero.any():
        limit = np.where(a < 0, word.lowest, np.where(a > 0, word.most, 0))
        codes = np.where(zero, limit, codes).astype(word.dtype)
        if tally is not None:
            tally[SATURATED] += np.count_nonzero(zero)
            tally[LARGEST] = max(int(tally[LARGEST]), int(codes.max()), -int(codes.min()))
    return codes
