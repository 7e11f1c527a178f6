"""Requantization: exact integers, and real numbers, become codes of the output's format.

Every fixed-point kernel first computes an exact integer, a sum or a product in units of 2^-m. Its output has another
format, with n fraction bits and a word of few bits. Requantization is the only place where anything is lost, once per
output: code = overflow(round(exact * 2^-shift)), where shift = m - n is the number of bits to drop. The roundings are
in `rounding`. Overflow saturates (the nearest code of the word; "symmetric": of those from -most to most), wraps (the
low bits are kept), or gives "zero" for what does not fit. The bounds of a fused activation are codes too and are
applied last.

The only difficulty is size: a shift to the left can leave 64 bits. But overflow depends on few properties of a number
far outside the word, so such a number may be replaced by a small one first (`_narrowed`).

A *tally* is an int64 array of counters: codes that saturated (or would have, in other overflows), values other than 0
that got the code 0 (underflows), the largest |code|, the number of codes, and sums that overflowed a simulated
accumulator. A kernel adds to the tally that it is given, if any. A tally never changes a result.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rounding import divide, integer_dtype, round_real, shift_left, shift_right
from .word import Codes, Integers, Word, wrap

Tally = NDArray[np.int64]
"""Counters (5,) with the indices SATURATED, UNDERFLOWED, LARGEST, TOTAL and ACCUMULATOR_OVERFLOWS."""

SATURATED, UNDERFLOWED, LARGEST, TOTAL, ACCUMULATOR_OVERFLOWS = range(5)

_OUT_OF_RANGE = 1 << 17  # outside every word of up to 16 bits, and still outside after any left shift
_SMALLEST_FLOAT64 = 5e-324
_MAX_EXACT_SHIFT = 512  # by which float32 numbers stay normal in float64
_MAX_SHORT_SHIFT = 100  # by which codes of 16 bits stay normal in float32


def new_tally() -> Tally:
    """Return a tally with all counters 0."""
    return np.zeros(5, np.int64)


def add_tally(total: Tally, tally: Tally) -> None:
    """Add a tally to the sum of several."""
    largest = max(int(total[LARGEST]), int(tally[LARGEST]))
    total += tally
    total[LARGEST] = largest


def requantize(
    acc: Integers,
    shift: int | NDArray[np.int64],
    word: Word,
    *,
    low: int | None = None,
    high: int | None = None,
    tally: Tally | None = None,
) -> Codes:
    """Return overflow(round(acc * 2^-shift)) as codes of the word.

    Parameters
    ----------
    acc
        Exact integers, any shape: up to 2^60 in magnitude, or Python integers (object).
    shift
        Bits to drop; negative multiplies exactly. An array gives one shift per channel and broadcasts.
    low, high
        Bounds of a fused activation as codes, which may lie outside the word; applied last.
    """
    if acc.dtype != object:
        acc = acc.astype(np.int64, copy=False)
    wraps = word.overflow == "wrap"
    rounded = _rounded(acc, shift, word.rounding, wraps)
    # The low bits that wrapping keeps do not show which codes would have saturated.
    exact = _rounded(acc, shift, word.rounding, False) if wraps and tally is not None else rounded
    return fit(rounded, word, low=low, high=high, exact=exact, source=acc, tally=tally)


def requantize_each(
    acc: Integers,
    shift: int | NDArray[np.int64],
    word: Word,
    *,
    low: int | None = None,
    high: int | None = None,
) -> tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the codes of `requantize`, and which of them a tally counts as saturated and as underflows."""
    if acc.dtype != object:
        acc = acc.astype(np.int64, copy=False)
    exact = _rounded(acc, shift, word.rounding, False)
    rounded = _rounded(acc, shift, word.rounding, True) if word.overflow == "wrap" else exact
    codes = fit(rounded, word, low=low, high=high)
    return codes, _outside(exact, word, low, high), np.asarray((acc != 0) & (exact == 0), bool)


def _outside(exact: Integers, word: Word, low: int | None, high: int | None) -> NDArray[np.bool_]:
    """Return which integers leave a word; a saturation that the bounds would have made anyway does not count."""
    saturates = word.fitting == "saturate"
    cut_above = saturates and high is not None and high <= word.most
    cut_below = saturates and low is not None and low >= word.lowest
    return np.asarray(((exact > word.most) & (not cut_above)) | ((exact < word.lowest) & (not cut_below)))


def _rounded(acc: Integers, shift: int | NDArray[np.int64], rounding: str, wraps: bool) -> Integers:
    """Return round(acc * 2^-shift), or after a left shift an integer that overflows to the same code."""
    right = np.asarray(shift) > 0
    if right.all():
        return shift_right(acc, shift, rounding)
    left = shift_left(_narrowed(acc, wraps), np.maximum(-shift, 0))
    if not right.any():
        return left
    return np.where(right, shift_right(acc, np.maximum(shift, 1), rounding), left)


def _narrowed(v: NDArray[Any], wraps: bool) -> NDArray[Any]:
    """Return numbers of a few bits, of v's dtype, that overflow to the same codes, also after a left shift.

    Wrapping keeps at most 16 bits, and those of a finite number that scaling made infinite are 0. The others need to
    know whether and on which side a number lies outside of every word.
    """
    if not wraps:
        return np.asarray(np.clip(v, -_OUT_OF_RANGE, _OUT_OF_RANGE), v.dtype)
    if v.dtype.kind == "f":
        return np.fmod(np.where(np.isinf(v), 0.0, v), _OUT_OF_RANGE)
    return np.asarray(v & (_OUT_OF_RANGE - 1), v.dtype)


def requantize_quotient(
    numerator: Integers,
    denominator: Any,
    word: Word,
    *,
    tally: Tally | None = None,
) -> Codes:
    """Return overflow(round(numerator / denominator)) as codes; denominator > 0, the quotient exact."""
    return fit(divide(numerator, denominator, word.rounding), word, source=numerator, tally=tally)


def fit(
    rounded: Integers,
    word: Word,
    *,
    low: int | None = None,
    high: int | None = None,
    exact: Integers | None = None,
    source: Integers | None = None,
    tally: Tally | None = None,
) -> Codes:
    """Return integers as codes of a word: saturated, their low bits, or 0; then within the bounds.

    `exact` and `source`, the integers before overflow and before rounding, serve the tally alone.

    Raises
    ------
    ValueError
        If no overflow has the name of the word's.
    """
    least, most = word.least, word.most
    if word.fitting == "saturate":
        fitted = np.clip(rounded, word.lowest, most)
    elif word.fitting == "wrap":
        fitted = wrap(rounded, word.bits, word.signed)
    else:
        fitted = np.where((rounded < least) | (rounded > most), 0, rounded)
    if low is not None:
        fitted = np.maximum(fitted, min(max(low, least), most))
    if high is not None:
        fitted = np.minimum(fitted, min(max(high, least), most))
    codes = np.asarray(fitted).astype(word.dtype)
    if tally is not None:
        exact = rounded if exact is None else exact
        source = exact if source is None else source
        count(tally, codes, _outside(exact, word, low, high), source != 0, exact)
    return codes


def count(tally: Tally, codes: Codes, saturated: Any, nonzero: Any, rounded: Any) -> None:
    """Add one tensor's codes to a tally; values that are `nonzero` and `rounded` to 0 count as underflows."""
    tally[SATURATED] += np.count_nonzero(saturated)
    tally[UNDERFLOWED] += np.count_nonzero(nonzero & (rounded == 0))
    if codes.size:
        tally[LARGEST] = max(int(tally[LARGEST]), int(codes.max()), -int(codes.min()))
    tally[TOTAL] += codes.size


def scale(x: NDArray[Any], fraction_bits: int | NDArray[np.int64]) -> NDArray[np.float64]:
    """Return x * 2^fraction_bits in float64, exact for float16 and float32.

    Numbers too large for float64 become infinite, too small ones tiny but never 0: they round as exact ones do.
    """
    wide = x.astype(np.float64)
    if x.dtype in (np.float16, np.float32) and np.max(np.abs(fraction_bits), initial=0) <= _MAX_EXACT_SHIFT:
        return np.asarray(wide * np.ldexp(1.0, fraction_bits))  # nothing leaves the range of float64
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(wide, fraction_bits)
    return np.where((scaled == 0) & (wide != 0), np.copysign(_SMALLEST_FLOAT64, wide), scaled)


def quantize(
    x: NDArray[Any],
    fraction_bits: int | NDArray[np.int64],
    word: Word,
    *,
    tally: Tally | None = None,
) -> Codes:
    """Return overflow(round(x * 2^fraction_bits)) as codes, computed exactly.

    Parameters
    ----------
    x
        float16, float32 or float64 without NaN, integers, or booleans. Infinities saturate in every
        overflow mode.
    fraction_bits
        Number n of fraction bits, or an array that broadcasts against `x`.
    """
    if x.dtype.kind != "f":
        wide = integer_dtype(8 * x.dtype.itemsize)
        return requantize(x.astype(wide), -fraction_bits, word.unshifted, tally=tally)
    scaled = scale(x, fraction_bits)
    rounded = round_real(scaled, word.rounding)
    codes = fit(_narrowed(rounded, word.overflow == "wrap").astype(np.int64), word)
    infinite = np.isinf(x)
    if word.fitting != "saturate" and infinite.any():
        codes = np.where(infinite, np.where(x > 0, word.most, word.least), codes).astype(word.dtype)
    if tally is not None:
        count(tally, codes, (rounded > word.most) | (rounded < word.lowest), scaled != 0, rounded)
    return codes


def dequantize(codes: Codes, fraction_bits: int | NDArray[np.int64]) -> NDArray[np.float32]:
    """Return float32(code * 2^-fraction_bits)."""
    if codes.dtype.itemsize <= 2 and np.max(np.abs(fraction_bits), initial=0) <= _MAX_SHORT_SHIFT:
        real = np.array(codes, np.float32)
        real *= np.ldexp(np.float32(1), np.negative(fraction_bits))
        return real
    if np.max(np.abs(fraction_bits), initial=0) <= _MAX_EXACT_SHIFT:  # a product is faster than `ldexp`
        return np.asarray(codes.astype(np.float64) * np.ldexp(1.0, np.negative(fraction_bits))).astype(np.float32)
    return np.asarray(np.ldexp(codes.astype(np.float64), np.negative(fraction_bits))).astype(np.float32)
