"""Counts of float32 numbers: bins of equal width up to a power of two, and octaves of what lies in the first bin.

The range of a tensor is not known before it is counted. Numbers beyond the range are only noticed, and not counted; the
caller then widens the range, and counts those alone that lie beyond the old one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOG_BINS = 11
BINS = 1 << LOG_BINS
"""Number of bins of equal width on each side of 0."""

FIELDS = 256
"""Number of values of float32's exponent field."""

SIDE = BINS + FIELDS
"""Number of counters on each side of 0: the bins, and the octaves of the first bin by exponent field."""

NOTHING = -1000
"""Exponent of a range that holds 0 alone."""

LARGEST_BITS = 0x7F7FFFFF
"""Bits of the largest float32, from which on a magnitude counts as infinite."""

INFINITE_BITS = 0x7F800000


@dataclass(frozen=True)
class Counted:
    """Counts of some values.

    Attributes
    ----------
    counts : (2, SIDE) number of values, by sign, in each bin but the first, and in each octave of the first bin.
    least, most : smallest and largest finite value; infinite where there are none.
    zeros, infinite, nan : number of values that are 0, infinite or NaN.
    beyond : number of finite values that were not counted as the range ends before them.
    """

    counts: NDArray[np.int64]
    least: float
    most: float
    zeros: int
    infinite: int
    nan: int
    beyond: int


def count(values: NDArray[np.float32], exponent: int, old: int | None = None) -> Counted:
    """Count values of a magnitude below 2^exponent, and not below 2^old if it is given.

    Parameters
    ----------
    values
        float32 numbers of any shape.
    exponent
        The range; `NOTHING` for one that holds 0 alone.
    old
        The range up to which values were counted before; None for none.
    """
    flat = values.reshape(-1)
    bits = flat.view(np.uint32) & np.uint32(0x7FFFFFFF)
    finite = bits < LARGEST_BITS
    kept = flat[finite]
    nan = int(np.count_nonzero(bits > INFINITE_BITS))
    magnitudes = np.abs(kept.astype(np.float64))
    within = (magnitudes < np.ldexp(1.0, exponent)) & (magnitudes > 0)
    if old is not None:
        within &= magnitudes >= np.ldexp(1.0, old)
    index = (magnitudes[within] * np.ldexp(1.0, LOG_BINS - exponent)).astype(np.int64)
    index = np.where(index > 0, index, BINS + (bits[finite][within] >> np.uint32(23)))
    index += SIDE * (kept[within] < 0)
    return Counted(
        np.bincount(index, minlength=2 * SIDE).reshape(2, SIDE),
        float(kept.min(initial=np.inf)),
        float(kept.max(initial=-np.inf)),
        int(np.count_nonzero(bits == 0)),
        int(np.count_nonzero(~finite)) - nan,
        nan,
        int(np.count_nonzero(magnitudes >= np.ldexp(1.0, exponent))),
    )
