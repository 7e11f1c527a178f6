"""Element worked out by hand: the numbers that an engineer checks with a pencil."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses import Variant

Array = NDArray[Any]


def element_of(found: Array, recomputed: Array, variant: Variant) -> int:
    """Return the flat index of the differing element that is the easiest to work out: that of the smallest sum."""
    wrong = np.flatnonzero((found != recomputed).reshape(-1))
    exact = variant.exact
    if exact is None or exact.shape != found.shape:
        return int(wrong[0])
    some = wrong[:4096]
    sums = np.abs(exact.at(some).total.astype(np.float64))
    return int(some[np.argmin(np.where(sums == 0, np.inf, sums))])


def worked_out(index: int, found: Array, recomputed: Array, variant: Variant) -> str:
    """Return an element in words: its sum, the shift, the exact value, the expected code, and that of the dump."""
    place = [int(i) for i in np.unravel_index(index, found.shape)]
    codes = f"expected {int(recomputed.reshape(-1)[index])}, got {int(found.reshape(-1)[index])}"
    exact = variant.exact
    if exact is None or exact.shape != found.shape:
        return f"Element {place}: {codes}"
    one = exact.at(np.array([index]))
    total, shift, divisor = int(one.total[0]), int(np.asarray(one.shift).reshape(-1)[0]), int(np.max(one.divisor))
    if not shift and divisor == 1:
        return f"Element {place}: the exact result is {total:,}: {codes}"
    what = "sum" if one.bias is None else f"sum {int(one.sums[0]):,} and bias {int(np.max(one.bias)):,} are"
    start = f"acc {total:,}" if one.bias is None else f"{what} acc {total:,}"
    value = total / divisor / 2.0**shift
    units = [f"2^{shift}"] if shift else []
    units += [f"{divisor}"] if divisor != 1 else []
    return f"Element {place}: {start} = {value:.10g} * {' * '.join(units)}: {codes}"
