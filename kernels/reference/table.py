"""A function of one variable as a table with an entry for every input code."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .requantize import Tally, count, quantize, scale
from .rounding import round_real
from .word import Codes, Word

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def make_table(
    function: Function,
    source: Word,
    in_fraction_bits: int,
    fraction_bits: int,
    word: Word,
) -> tuple[Codes, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (entries, saturates, flushes), arrays with an element for each code of `source`, in ascending order.

    An entry is overflow(round(f(code * 2^-in_fraction_bits) * 2^fraction_bits)), f in float64. Where f
    is undefined (NaN) the entry is 0 and counts as saturated.
    """
    x = np.ldexp(np.arange(source.least, source.most + 1, dtype=np.float64), -in_fraction_bits)
    # Poles and overflows of the function give infinities and NaN.
    with np.errstate(all="ignore"):
        y = np.asarray(function(x), dtype=np.float64)
    undefined = np.isnan(y)
    y = np.where(undefined, 0.0, y)
    entries = quantize(y, fraction_bits, word)
    rounded = round_real(scale(y, fraction_bits), word.rounding)
    return entries, undefined | (rounded < word.lowest) | (rounded > word.most), (y != 0) & (rounded == 0)


def look_up(codes: Codes, entries: Codes, least: int) -> Codes:
    """Return the entry of every code; `least` is the code of the first entry."""
    return np.take(entries, codes.astype(np.intp) - least)


def count_table(codes: Codes, out: Codes, least: int, saturates: Any, underflows: Any, tally: Tally) -> None:
    """Add a looked-up tensor to a tally."""
    index = codes.astype(np.intp) - least
    count(tally, out, saturates[index], underflows[index], 0)
