"""Search of elements in a list of keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def positions_in(
    values: NDArray[Any], keys: Sequence[Any] | NDArray[Any], *, prefers_first: bool = False
) -> NDArray[np.intp]:
    """Return the position of each value in a list of keys, -1 where it is none of them.

    Parameters
    ----------
    values
        A vector. NaN equals NaN.
    keys
        The keys, of the same kind.
    prefers_first
        Whether the first of equal keys counts, or the last.
    """
    if values.dtype == object:
        pairs = list(enumerate(keys))
        table = {key: i for i, key in (reversed(pairs) if prefers_first else pairs)}
        return np.fromiter((table.get(value, -1) for value in values), np.intp, len(values))
    array = np.asarray(keys)
    if not len(array):
        return np.full(len(values), -1, np.intp)
    order = np.argsort(array, kind="stable")  # NaN comes last
    ordered = array[order]
    if prefers_first:
        at = np.minimum(np.searchsorted(ordered, values, side="left"), len(ordered) - 1)
    else:
        at = np.searchsorted(ordered, values, side="right") - 1
    found = ordered[at]
    equal = (at >= 0) & (found == values)
    if array.dtype.kind == "f" and values.dtype.kind == "f":
        equal |= np.isnan(found) & np.isnan(values)
    return np.where(equal, order[at], -1)
