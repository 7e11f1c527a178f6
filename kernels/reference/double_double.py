"""Numbers of about 100 bits as unevaluated sums (high, low) of two float64, elementwise on arrays.

For results that are rounded to float64 once, at the end. From + - * alone, without fused operations (Dekker,
Numerische Mathematik 18, 1971). Overflow and underflow are the caller's to avoid.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64] | float
Pair = tuple[Any, Any]
"""(high, low): |low| is at most half a unit in the last place of high."""


def pair(exact: Fraction) -> Pair:
    """Return the nearest pair."""
    high = float(exact)
    return high, float(exact - Fraction(high))


def two_sum(a: Real, b: Real) -> Pair:
    """Return a + b exactly."""
    high = a + b
    from_b = high - a
    return high, (a - (high - from_b)) + (b - from_b)


def two_product(a: Real, b: Real) -> Pair:
    """Return a * b exactly; magnitudes below 2^996."""
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    high = a * b
    return high, ((a_high * b_high - high) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Real) -> Pair:
    shifted = 134217729.0 * a  # 2^27 + 1
    high = shifted - (shifted - a)
    return high, a - high


def add(a: Pair, b: Pair) -> Pair:
    """Return a + b to about 100 bits, fewer where they nearly cancel."""
    high, low = two_sum(a[0], b[0])
    return two_sum(high, low + (a[1] + b[1]))


def multiply(a: Pair, b: Pair) -> Pair:
    """Return a * b to about 100 bits."""
    high, low = two_product(a[0], b[0])
    return two_sum(high, low + (a[0] * b[1] + a[1] * b[0]))


def divide(a: Real, b: Pair) -> Pair:
    """Return a / b to about 100 bits."""
    high = a / b[0]
    product, error = two_product(high, b[0])
    return two_sum(high, (((a - product) - error) - high * b[1]) / b[0])


def polynomial(coefficients: Sequence[Fraction], x: Pair) -> Pair:
    """Return c0 + c1 x + c2 x^2 + ..., innermost first."""
    total = pair(coefficients[-1])
    for c in coefficients[-2::-1]:
        total = add(pair(c), multiply(x, total))
    return total
