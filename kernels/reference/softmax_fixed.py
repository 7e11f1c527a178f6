"""Softmax and its logarithm on codes: a table of powers, an exact sum, and one rounding.

A row has codes x with n fraction bits, of which m is the largest. Softmax depends on the distances d = m - x alone,
which are whole numbers from 0 on. So powers are a table, made when a plan is made:

    E[d] = e^(-d 2^-n) 2^30, rounded half to even

It ends where it becomes 0, after 21.5 units of x. The sum S of the powers of a row is exact, and at least 2^30. A
result of Softmax is the rational number E[d] / S, rounded once; one of LogSoftmax is -d 2^-n - ln(S 2^-30), with a
logarithm of `LOG_BITS` fraction bits that is computed by integers too:

    S = M 2^p, 1 <= M < 2; M is cut to 30 fraction bits, and its first 8 choose one of 256 intervals
    ln S = p ln 2 + ln(begin of the interval) + ln(1 + t), t = M / begin - 1 < 2^-8
    ln(1 + t) = t - t^2 / 2 + t^3 / 3
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import functions as f
from .requantize import Tally, requantize, requantize_quotient
from .rounding import integer_dtype
from .word import Codes, Integers, Word

POWER_BITS = 30
"""Fraction bits of a power."""
LOG_BITS = 36
"""Fraction bits of a logarithm."""
LOG_INTERVALS = 256
"""Number of intervals between 1 and 2 whose begins have their logarithm in a table."""

_MAX_BITS = 60


@cache
def power_table(fraction_bits: int, bits: int) -> NDArray[np.int64]:
    """Return the powers of the distances of codes; the last is that of all larger distances.

    Parameters
    ----------
    fraction_bits
        Number n of fraction bits of the codes.
    bits
        Word length of the codes: a distance is below 2^bits.
    """
    with np.errstate(over="ignore"):
        x = np.ldexp(-np.arange(1 << bits, dtype=np.float64), -fraction_bits)
    powers = np.rint(np.ldexp(f.exp(x), POWER_BITS)).astype(np.int64)
    count = int(np.count_nonzero(powers))
    table = powers[: count + 1]
    table.flags.writeable = False
    return table


@cache
def log_table() -> NDArray[np.int64]:
    """Return ln 2 and then the logarithms of the begins of the intervals, with LOG_BITS fraction bits."""
    begins = 1.0 + np.arange(LOG_INTERVALS, dtype=np.float64) / LOG_INTERVALS
    table = np.rint(np.ldexp(f.log(np.concatenate([[2.0], begins])), LOG_BITS)).astype(np.int64)
    table.flags.writeable = False
    return table


def softmax_fixed(
    rows: Codes, powers: NDArray[np.int64], fraction_bits: int, word: Word, *, tally: Tally | None = None
) -> Codes:
    """Return the softmax of the last axis of codes.

    Parameters
    ----------
    rows
        Codes, with one element or more along the last axis.
    powers
        The `power_table` of the codes.
    fraction_bits, word
        Fraction bits of the results, and their word.
    """
    _, e, total = _powers(rows, powers)
    up, down = max(fraction_bits, 0), max(-fraction_bits, 0)
    wide = integer_dtype(max(POWER_BITS + up, int(total.max(initial=1)).bit_length() + down))
    return requantize_quotient(e.astype(wide) << up, total.astype(wide) << down, word, tally=tally)


def log_softmax_fixed(
    rows: Codes,
    powers: NDArray[np.int64],
    in_fraction_bits: int,
    fraction_bits: int,
    word: Word,
    *,
    tally: Tally | None = None,
) -> Codes:
    """Return the logarithm of the softmax of the last axis of codes; see `softmax_fixed`."""
    d, _, total = _powers(rows, powers)
    finest = max(LOG_BITS, in_fraction_bits)
    wide: Any = integer_dtype(log_width(in_fraction_bits))
    sums = -(d.astype(wide) << (finest - in_fraction_bits)) - (log_of_sum(total).astype(wide) << (finest - LOG_BITS))
    return requantize(sums, finest - fraction_bits, word, tally=tally)


def log_width(in_fraction_bits: int) -> int:
    """Return the bits that the exact results of LogSoftmax take before they are rounded."""
    finest = max(LOG_BITS, in_fraction_bits)
    return max(17 + finest - in_fraction_bits, finest + 7)


def log_of_sum(total: Integers) -> Integers:
    """Return ln(total 2^-30) of sums of 2^30 or more, with LOG_BITS fraction bits."""
    table = log_table()
    _, exponents = np.frexp(total.astype(np.float64))
    # The rounding to float64 may reach the next power of two.
    p = exponents.astype(np.int64) - 1
    p -= (total >> np.minimum(p, 62)) == 0
    m = np.where(p > POWER_BITS, total >> np.maximum(p - POWER_BITS, 0), total)
    interval = (m >> (POWER_BITS - 8)) - LOG_INTERVALS
    begin = (interval + LOG_INTERVALS) << (POWER_BITS - 8)
    t = ((m - begin) << LOG_BITS) // begin
    square = (t * t) >> LOG_BITS
    cube = (square * t) >> LOG_BITS
    return np.asarray((p - POWER_BITS) * table[0] + table[1 + interval] + (6 * t - 3 * square + 2 * cube) // 6)


def _powers(rows: Codes, powers: NDArray[np.int64]) -> tuple[Integers, Integers, Integers]:
    """Return the distances from the largest code of each row, their powers, and the sums of these."""
    wide = rows.astype(np.int64)
    d = wide.max(axis=-1, keepdims=True) - wide
    e = powers[np.minimum(d, len(powers) - 1)]
    return d, e, e.sum(axis=-1, keepdims=True)
