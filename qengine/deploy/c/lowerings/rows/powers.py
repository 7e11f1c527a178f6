"""Tables of powers e^-d for C: every entry, or two short tables of factors and a bit for every entry.

A table for 16-bit codes takes hundreds of kilobytes. But e^-(256 h + l) = e^-256h e^-l, and factors with 32
fraction bits give a product that, cut to 30 fraction bits, is the entry or 1 less. Which of both is one bit an entry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import Parameters
from qengine.kernels.reference import functions as f

_LOWS = 256
_MOST_PLAIN = 1024
_FACTOR_BITS = 32
_DROPPED = 34  # of the bits of a product


def power_words(powers: NDArray[np.int64], fraction_bits: int) -> NDArray[np.uint32]:
    """Return what `net_power_of` reads for the first entries of a `power_table` of codes with some fraction bits."""
    coded = _coded(powers, fraction_bits)
    return powers.astype(np.uint32) if coded is None else coded


def power_numbers(powers: NDArray[np.int64], fraction_bits: int) -> Parameters:
    """Return the fields of `struct net_power`."""
    is_coded = _coded(powers, fraction_bits) is not None
    return {"last": len(powers) - 1, "highs": (len(powers) - 1) // _LOWS + 1 if is_coded else 0}


def _coded(powers: NDArray[np.int64], fraction_bits: int) -> NDArray[np.uint32] | None:
    """Return 256 factors of d & 255, those of d >> 8, and the bits, as words; None for short tables."""
    if len(powers) <= _MOST_PLAIN:
        return None
    d = np.arange(len(powers))
    low = _factors(np.arange(_LOWS), fraction_bits)
    high = _factors(d[::_LOWS], fraction_bits)
    product = (low[d & (_LOWS - 1)] * high[d >> 8]) >> np.uint64(_DROPPED)
    missing = powers - product.astype(np.int64)
    if missing.min() < 0 or missing.max() > 1:
        return None
    bits = np.zeros(-(-len(powers) // 32) * 32, np.uint8)
    bits[: len(missing)] = missing
    words = np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)
    return np.concatenate([low.astype(np.uint32), high.astype(np.uint32), words])


def _factors(distances: NDArray[np.int64], fraction_bits: int) -> NDArray[np.uint64]:
    """Return e^-d of distances d as codes, cut to 32 fraction bits and to 32 bits."""
    exact = np.ldexp(f.exp(np.ldexp(-distances.astype(np.float64), -fraction_bits)), _FACTOR_BITS)
    return np.minimum(np.floor(exact), (1 << _FACTOR_BITS) - 1).astype(np.uint64)
