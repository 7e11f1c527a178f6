"""Attention on codes: exact scores, rounded once to 12 fraction bits, and one rounded quotient.

1. A score is the exact sum of the products of a query and a key, times a factor c 2^-e of 22 bits that stands for the
   scale, rounded half up to `SCORE_BITS` fraction bits. A mask is added to it.
2. With the largest score of a query, d = largest - score is a whole number from 0 on, and E[d] = e^(-d 2^-12) 2^30 a
   table, as for Softmax. A key that is masked out has E = 0.
3. The result is the rational number sum(E v) / sum(E), rounded once to a code; 0 where all keys are masked out.
"""

from dataclasses import dataclass
from math import frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .requantize import Tally, requantize_quotient
from .rounding import integer_dtype, shift_left, shift_right
from .softmax_fixed import POWER_BITS, power_table
from .word import Codes, Integers, Word

SCORE_BITS = 12
"""Fraction bits of a score."""
FACTOR_BITS = 22
"""Bits of the factor."""
MAX_SCORE_BITS = 60
"""Bits of a sum of products times the factor."""

_DISTANCE_BITS = 17  # beyond these powers are 0
_EXACT_BITS = 53  # of integers in float64


@dataclass(frozen=True)
class ScoreNumbers:
    """Numbers of the scores.

    Attributes
    ----------
    factor : the factor c, below 2^22.
    shift : bits that a score drops, 1 or more.
    """

    factor: int
    shift: int


def score_numbers(scale: float, fraction_bits: int) -> ScoreNumbers | None:
    """Return the numbers of products with some fraction bits; None where there are too few for a shift to the right."""
    mantissa, exponent = frexp(scale)
    factor = round(mantissa * (1 << FACTOR_BITS))
    shift = fraction_bits + FACTOR_BITS - exponent - SCORE_BITS
    if not factor:
        return ScoreNumbers(0, 1)
    return ScoreNumbers(factor, shift) if shift >= 1 else None


def mask_of_codes(codes: Codes, fraction_bits: int) -> Integers:
    """Return codes of a mask with the fraction bits of scores."""
    wide, shift = codes.astype(np.int64), fraction_bits - SCORE_BITS
    return shift_right(wide, shift, "half_up") if shift > 0 else shift_left(wide, -shift)


def attention_fixed(
    q: Codes,
    k: Codes,
    v: Codes,
    numbers: ScoreNumbers,
    masks: tuple[Integers | None, NDArray[np.bool_] | None],
    fraction_bits: int,
    word: Word,
    *,
    tally: Tally | None = None,
) -> Codes:
    """Return attention of queries (..., queries, size) to keys and values (..., keys, size), which broadcast.

    Parameters
    ----------
    q, k, v
        Codes.
    numbers
        Numbers of the scores.
    masks
        Addends of the scores, None for none; and whether each key takes part, None for all.
    fraction_bits, word
        Fraction bits of the results beyond those of the values, and the word of the results.
    """
    added, taken = masks
    sums = (q.astype(np.float64) @ np.swapaxes(k, -1, -2).astype(np.float64)).astype(np.int64)  # below 2^53: exact
    scores = shift_right(sums * numbers.factor, numbers.shift, "half_up")
    scores = scores if added is None else scores + added
    if taken is None:
        taken = np.ones((1,) * scores.ndim, bool)
    shown = np.where(taken, scores, np.iinfo(np.int64).min >> 1)
    powers = power_table(SCORE_BITS, _DISTANCE_BITS)
    distances = np.minimum(shown.max(axis=-1, keepdims=True) - shown, len(powers) - 1)
    e = np.where(taken, powers[distances], 0)
    up, down = max(fraction_bits, 0), max(-fraction_bits, 0)
    bits = POWER_BITS + 8 * v.dtype.itemsize + (e.shape[-1]).bit_length()
    total: Any = e.sum(axis=-1, keepdims=True).astype(integer_dtype(bits + down))
    kind: Any = np.dtype(np.float64) if bits <= _EXACT_BITS else integer_dtype(bits)
    products = e.astype(kind) @ v.astype(kind)
    whole = products.astype(np.int64) if kind == np.float64 else products
    sums = whole.astype(integer_dtype(bits + up))
    return requantize_quotient(sums << up, np.maximum(total, 1) << down, word, tally=tally)
