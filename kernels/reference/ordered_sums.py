"""Sums of products of float64 in one order."""

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

_CACHED_ELEMENTS = 1 << 15  # elements that stay in the cache


def add_products(total: Reals, left: Reals, right: Reals) -> None:
    """Add left[k, r] * right[k, c] to total[r, c], for one k after the other, in place.

    Every product and every sum is rounded to float64, so that the bits are the same on every machine.

    Parameters
    ----------
    total
        (..., rows, columns).
    left, right
        (..., count, rows) and (..., count, columns).
    """
    strip = max(1, _CACHED_ELEMENTS // max(1, total[..., :1, :].size))  # rows
    for top in range(0, total.shape[-2], strip):
        rows = total[..., top : top + strip, :]
        for k in range(left.shape[-2]):
            rows += left[..., k, top : top + strip, None] * right[..., k, None, :]
