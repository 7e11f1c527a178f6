"""Double-double arithmetic: numbers of about 100 bits as unevaluated sums (high, low) of two float64.

The problem: a power or a logarithm must come out as the float64 nearest to the exact result, on every machine, but a
chain of float64 operations loses a bit or two, and wider types depend on the CPU. The idea: the rounding error of a
float64 addition or multiplication is itself a float64 and can be computed (`two_sum`, `two_product`). Carried along as
`low`, it doubles the precision. The result is rounded to float64 once, at the end: that is `high`.

All functions work elementwise on arrays and use + - * / alone, which IEEE 754 defines to the bit, without fused
operations (T. J. Dekker, A floating-point technique for extending the available precision, Numerische Mathematik 18,
1971). Callers must avoid overflow and underflow.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64] | float
Pair = tuple[Any, Any]
"""Pair (high, low); |low| is at most half a unit in the last place of high."""


def pair(exact: Fraction) -> Pair:
    """Return the pair nearest to an exact number."""
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
    """Return a as the sum of two numbers of 26 bits, whose products are exact."""
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
