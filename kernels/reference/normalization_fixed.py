"""Normalization of codes by integers: exact sums, and a reciprocal root of a stated width.

A row has N codes x. With S1 = sum x and S2 = sum x^2, N^2 times the variance is the whole number N S2 - S1^2, and the
normalized element is

    z = (N x - S1) / sqrt(N S2 - S1^2 + E),    E = epsilon N^2 2^(2n), rounded half to even

which does not depend on the fraction bits n but for E. The steps, each in 64 bits:

1. m = floor(S1 / N), r = S1 - N m: the codes about their mean, x - m, have the sum r and the sum of squares
   T = S2 - m (S1 + r).
2. A = N (T >> k) - (r^2 >> k) + (E >> k), with the least even k >= 0 for which N (T >> k) and E >> k stay below 2^61.
   Usually k is 0.
3. A is shifted left by an even s, at most 60, until it has 61 or 62 bits; q = floor(sqrt(A 2^s)) has 31 bits.
4. R = floor(2^(w + 30) / q) is the reciprocal, at most 2^w; w is 30 where products fit 64 bits (`reciprocal_bits`).
5. Z = (N x - S1) R 2^-(w + 6 + (k - s) / 2), rounded half up, is z with 24 fraction bits; the shift is at most 62.
6. The result is Z g + B, rounded once, with the code g of the gain and an offset B of 24 + n_g fraction bits.

Where A is 0 (all codes are equal, and epsilon is 0), Z is 0. Without a mean (RMS) S1 counts as 0; a norm (L2) has N = 1
in place of the number of elements.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .requantize import Tally, requantize
from .rounding import shift_left, shift_right
from .word import Codes, Integers, Word

Z_BITS = 24
"""Fraction bits of a normalized element."""
ROOT_BITS = 30
"""A root has one bit more."""
MAX_OFFSET = 1 << 60
"""The largest magnitude of an offset in units of the product."""

_LIMIT_BITS = 61  # of each part of the sum under the root
_MAX_RECIPROCAL = 30
_MAX_SHIFT = 62
_MIN_RECIPROCAL = 25  # as many as leave a shift to the right of 1 or more


@dataclass(frozen=True)
class RowScale:
    """Numbers with which all rows of a tensor are normalized.

    Attributes
    ----------
    count : the number N of elements of a row, or 1 for a norm.
    centred : whether the mean is subtracted.
    epsilon, exponent : E = epsilon 2^exponent, the exponent even and 0 or more, epsilon below 2^61.
    reciprocal : the number w.
    """

    count: int
    centred: bool
    epsilon: int
    exponent: int
    reciprocal: int


def reciprocal_bits(bits: int, count: int) -> int | None:
    """Return the number w for words of `bits` and a count of N; None where 64 bits do not hold the products."""
    w = min(_MAX_RECIPROCAL, 62 - bits - (count - 1).bit_length())
    return w if w >= _MIN_RECIPROCAL else None


def split_epsilon(epsilon: int) -> tuple[int, int]:
    """Return E as a number below 2^61 and an even exponent; bits below are cut off."""
    exponent = max(epsilon.bit_length() - _LIMIT_BITS, 0)
    exponent += exponent & 1
    return epsilon >> exponent, exponent


def standardize_fixed(rows: Codes, scale: RowScale) -> Integers:
    """Return z of the last axis of codes, with Z_BITS fraction bits."""
    x = rows.astype(np.int64)
    n = scale.count
    s1 = x.sum(axis=-1, keepdims=True) if scale.centred else np.zeros((*x.shape[:-1], 1), np.int64)
    s2 = (x * x).sum(axis=-1, keepdims=True)
    m = s1 // n
    r = s1 - n * m
    t = s2 - m * (s1 + r)
    k = np.maximum(bit_lengths(t) + n.bit_length() - _LIMIT_BITS, scale.exponent)
    k += k & 1
    a = n * (t >> k) - ((r * r) >> k) + (scale.epsilon >> np.minimum(k - scale.exponent, 62))
    s = np.minimum((62 - bit_lengths(a)) & ~1, 60)
    q = np.maximum(whole_roots(a << s), 1)
    reciprocal = np.where(a > 0, (1 << (scale.reciprocal + ROOT_BITS)) // q, 0)
    shift = scale.reciprocal + ROOT_BITS - Z_BITS + (k - s) // 2
    return shift_right((n * x - s1) * reciprocal, np.minimum(shift, _MAX_SHIFT), "half_up")


def scaled_fixed(
    z: Integers,
    gain: Integers,
    offset: Integers,
    shift: int,
    word: Word,
    *,
    tally: Tally | None = None,
) -> Codes:
    """Return z times gains plus offsets, rounded once.

    Parameters
    ----------
    z
        Elements with Z_BITS fraction bits.
    gain, offset
        Codes of gains, and offsets with the fraction bits of the products; they broadcast.
    shift
        Bits to drop.
    """
    return requantize(np.asarray(z * gain + offset), shift, word, tally=tally)


def offset_of_reals(values: NDArray[np.float64], fraction_bits: int) -> NDArray[np.int64]:
    """Return constant offsets as whole numbers with some fraction bits: half_even, saturated."""
    scaled = np.rint(np.ldexp(values, fraction_bits))
    return np.clip(scaled, -MAX_OFFSET, MAX_OFFSET).astype(np.int64)


def offset_of_codes(codes: Codes, shift: int) -> NDArray[np.int64]:
    """Return computed offsets with `shift` fraction bits fewer than their codes: half_even, saturated."""
    wide = codes.astype(np.int64)
    moved = shift_right(wide, shift, "half_even") if shift > 0 else shift_left(wide, -shift)
    return np.clip(moved, -MAX_OFFSET, MAX_OFFSET)


def bit_lengths(a: Integers) -> Integers:
    """Return the number of bits of integers from 0 to below 2^62."""
    _, length = np.frexp(a.astype(np.float64))
    length = length.astype(np.int64)
    return np.asarray(length - ((a >> np.maximum(length - 1, 0)) == 0) * (a > 0))


def whole_roots(a: Integers) -> Integers:
    """Return floor(sqrt(a)) of integers from 0 to below 2^62."""
    q = np.sqrt(a.astype(np.float64)).astype(np.int64)
    q -= q * q > a
    return np.asarray(q + ((q + 1) * (q + 1) <= a))
