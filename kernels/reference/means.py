"""Means as devices compute them that do not divide an exact sum once.

Division is slow, so that devices avoid it, or divide early to keep a short word. `pool.mean_fixed` is the exact
quotient, rounded once. These are the others, each with its own definition, of a sum S of codes over `count` elements:

- *reciprocal*: S * floor(65536 / count), shifted right by 16 bits. floor makes the factor too small, by up to
  count / 65536 of the quotient.
- *shifted count*: where the output has k fraction bits more than the input, S / (count >> k). It is exact only if the
  count is a multiple of 2^k.
- *accumulator*: S / count is cut toward zero at the fraction bits of the register, as the integer division of C does
  it, and then brought to the output.
- *float32*: float32(S) times the float32 reciprocal of the count, rounded. Half up is the floor of the float32 sum of
  that number and 1/2.
- *two passes*: the mean along one axis, as codes of the input's word, then the mean of these along the next axis. The
  first pass of a window writes over the row that it reads; see `first_pass`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pool import mean_fixed
from .register import moved
from .requantize import Tally, count, fit, requantize
from .rounding import divide, integer_dtype, round_real
from .word import Codes, Integers, Word, wrap

RECIPROCAL_BITS = 16

Counts = NDArray[np.int64] | int


def reciprocal_mean(total: Integers, counts: Counts, shift: int, word: Word, tally: Tally | None = None) -> Codes:
    """Return overflow(round(total * floor(65536 / count) * 2^-(16 + shift)))."""
    factor = (1 << RECIPROCAL_BITS) // np.asarray(counts)
    wide = integer_dtype(int(np.max(np.abs(total), initial=0)).bit_length() + RECIPROCAL_BITS + 1)
    return requantize(np.asarray(total.astype(wide) * factor), shift + RECIPROCAL_BITS, word, tally=tally)


def shifted_counts(counts: Counts, shift: int) -> Counts:
    """Return the divisors of sums of codes whose quotient has -shift fraction bits more, if shift is negative."""
    return counts if shift >= 0 else counts >> -shift if isinstance(counts, int) else np.asarray(counts >> -shift)


def accumulator_mean(
    total: Integers, counts: Counts, shift: int, kept: int, word: Word, tally: Tally | None = None
) -> Codes:
    """Return a quotient cut toward zero in a register, then rounded to the output.

    Parameters
    ----------
    total, counts
        Sums in units of the register, and their divisors.
    shift
        Fraction bits of the register less those of the output.
    kept
        Low bits of the sum that the register keeps; 0 for all.
    """
    if kept:
        total = wrap(total, kept, signed=True)
    return requantize(divide(total, counts, "trunc"), shift, word, tally=tally)


def float32_mean(total: Integers, counts: Counts, shift: int, word: Word, tally: Tally | None = None) -> Codes:
    """Return overflow(round(float32(total) * (float32(1) / float32(count)) * 2^-shift)), operations of float32."""
    whole = float32_quotients(total, counts, shift, word.rounding)
    codes = fit(whole, word)
    if tally is not None:
        count(tally, codes, (whole > word.most) | (whole < word.lowest), total != 0, whole)
    return codes


def float32_quotients(total: Integers, counts: Counts, shift: int, rounding: str) -> NDArray[np.int64]:
    """Return the quotients of `float32_mean`, rounded, before they overflow; they grow with the total."""
    factor = np.float32(1) / np.asarray(counts).astype(np.float32)
    real = total.astype(np.float32) * np.ldexp(factor, -shift)
    if rounding == "half_up":
        rounded = np.floor((real.astype(np.float64) + 0.5).astype(np.float32)).astype(np.float64)
    else:
        rounded = round_real(real.astype(np.float64), rounding)
    return np.asarray(rounded, np.int64)


def first_pass(
    x: Codes, axis: int, kernel: int, stride: int, before: int, out: int, word: Word, counts: Counts | None
) -> Codes:
    """Return means along an axis, as a device computes them that writes over the row that it reads.

    Output i is the mean of `kernel` elements of the row from i * stride - before on, as far as they are in it. It is
    written to place i of the same row before output i + 1 is computed. Where the window begins before the row, the
    device begins at place i instead. So results are those of a mean as usual where stride - 1 is at least `before`.

    Parameters
    ----------
    x
        Codes.
    axis, kernel, stride, before, out
        Axis, length and distance of windows, padding before the row, number of outputs.
    word
        Word of x, with the rounding.
    counts
        Divisors, as (outputs,); None for the number of elements that are in the row.
    """
    rows = np.moveaxis(x, axis, -1).astype(np.int64)
    length = rows.shape[-1]
    found = np.zeros((*rows.shape[:-1], max(out, length)), np.int64)
    found[..., :length] = rows
    for i in range(out):
        start = i * stride - before
        end = min(start + kernel, length)
        start = start if start >= 0 else i
        end = max(end, start + 1)
        divisor = end - start if counts is None else int(np.asarray(counts)[i])
        found[..., i] = mean_fixed(found[..., start:end].sum(axis=-1), divisor, 0, word)
    return np.moveaxis(found[..., :out], -1, axis).astype(word.dtype)


def cut_inputs(x: Integers, shift: int, rounding: str) -> Integers:
    """Return codes in units of a register that has `shift` fraction bits less."""
    wide: Any = integer_dtype(20 + max(-shift, 0) + 30)
    return moved(x.astype(wide), shift, rounding)
