"""exp, log, erf, tanh and powers in float64, the same bits on every machine.

NumPy and the C library choose their code by CPU and by version, and may differ in the last bit,
which is enough to change a table's entry at a tie. These use only operations that IEEE 754 defines to the
bit: + - * /, sqrt, and scaling by powers of two. Errors stay below 2.5 units in the last place, for powers
below 0.501; infinities and NaN give what C's functions give, without a warning.
"""

from collections.abc import Callable
from fractions import Fraction
from math import factorial

import numpy as np
from numpy.typing import NDArray

from . import double_double as dd

Reals = NDArray[np.float64]

# ln 2 in two parts; the first has 21 trailing zero bits, so that k * _LN2_HIGH is exact for every exponent k.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SQRT_HALF = 0.70710678118654752440
_TWO_OVER_SQRT_PI = 1.1283791670955126
_TWO_OVER_SQRT_PI_MINUS_1 = 0.12837916709551256
_ONE_OVER_SQRT_PI = 0.5641895835477563
# Taylor coefficients: atanh(s) / s in s^2, and e^r.
_ATANH = [Fraction(1, 2 * n + 1) for n in range(16)]
_EXP = [Fraction(1, factorial(n)) for n in range(21)]
# Powers that are one operation of IEEE 754, which rounds as well and is faster.
_ONE_OPERATION: dict[float, Callable[[Reals], Reals]] = {2.0: np.square, 0.5: np.sqrt, -1.0: lambda x: 1.0 / x}


def _expm1_small(r: Reals) -> Reals:
    """Return exp(r) - 1 for |r| <= 0.35: the Taylor series to the 14th power, innermost first."""
    total = np.full_like(r, 1.0 / 14.0)
    for k in range(13, 1, -1):
        total = (1.0 + r * total) / k
    return r + r * r * total


def _reduced(x: Reals) -> tuple[NDArray[np.int64], Reals]:
    """Return k and e^r - 1, where x = k ln 2 + r."""
    bounded = np.clip(x, -746.0, 710.0)
    k = np.rint(bounded / (_LN2_HIGH + _LN2_LOW))
    return k.astype(np.int64), _expm1_small((bounded - k * _LN2_HIGH) - k * _LN2_LOW)


def exp(x: Reals) -> Reals:
    """Return e^x = 2^k e^r."""
    with np.errstate(all="ignore"):
        k, p = _reduced(x)
        return np.ldexp(1.0 + p, k)


def expm1(x: Reals) -> Reals:
    """Return e^x - 1 = 2^k (e^r - 1) + (2^k - 1), accurate near 0."""
    with np.errstate(all="ignore"):
        k, p = _reduced(x)
        near = np.ldexp(p, k) + (np.ldexp(1.0, k) - 1.0)
        # From 2^64 on the 1 is lost; 2^k itself would overflow before the result does.
        return np.copysign(np.where(k < 64, near, np.ldexp(1.0 + p, k)), x)


def log(x: Reals) -> Reals:
    """Return the natural logarithm of x = 2^k m, from the series of atanh((m-1)/(m+1))."""
    with np.errstate(all="ignore"):
        m, k = np.frexp(x)
        low = m < _SQRT_HALF
        m, k = np.where(low, 2.0 * m, m), np.where(low, k - 1, k)
        f = m - 1.0
        s = f / (2.0 + f)
        s2 = s * s
        series = np.full_like(s, 1.0 / 21.0)
        for odd in range(19, 1, -2):
            series = 1.0 / odd + s2 * series
        # 2 atanh(s) = f - (f^2/2 - s (f^2/2 + 2 s^2 (1/3 + s^2/5 + ...)))
        half = 0.5 * f * f
        small = (half - (s * (half + 2.0 * s2 * series) + k * _LN2_LOW)) - f
        result = k * _LN2_HIGH - small
    result = np.where(x == 0, -np.inf, np.where(x == np.inf, np.inf, result))
    return np.where(x < 0, np.nan, result)


def log1p(x: Reals) -> Reals:
    """Return log(1 + x), corrected to first order for the rounding of 1 + x."""
    with np.errstate(all="ignore"):
        near = 1.0 + x
        correction = np.where((near > 0) & (near < np.inf), (x - (near - 1.0)) / near, 0.0)
        return np.where(np.abs(x) < 1e-17, x, log(near) + correction)


def tanh(x: Reals) -> Reals:
    """Return the hyperbolic tangent: t / (t + 2) with t = e^(2|x|) - 1."""
    magnitude = np.minimum(np.abs(x), 22.0)  # from there on it is 1 to the last bit
    t = expm1(2.0 * magnitude)
    return np.copysign(np.where(magnitude < 1.0, t / (t + 2.0), 1.0 - 2.0 / (t + 2.0)), x)


def erf(x: Reals) -> Reals:
    """Return the error function.

    Below 1.5 the Taylor series (Abramowitz and Stegun 7.1.5), from there on the continued fraction of
    1 - erf (7.1.14).
    """
    magnitude = np.minimum(np.abs(x), 6.5)  # from 6 on it is 1 to the last bit
    z = np.minimum(magnitude, 1.5)
    z2 = z * z
    series = np.zeros_like(z)
    for n in range(30, 0, -1):
        series = z2 * (series + (-1) ** n * _TWO_OVER_SQRT_PI / (factorial(n) * (2 * n + 1)))
    near = z + z * (_TWO_OVER_SQRT_PI_MINUS_1 + series)
    z = np.maximum(magnitude, 1.5)
    fraction = z
    for k in range(100, 0, -1):
        fraction = z + 0.5 * k / fraction
    far = 1.0 - _ONE_OVER_SQRT_PI * exp(-z * z) / fraction
    return np.copysign(np.where(magnitude < 1.5, near, far), x)


def sigmoid(x: Reals) -> Reals:
    """Return 1 / (1 + e^-x), computed from e^-|x|, which cannot overflow."""
    e = exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def power(x: Reals, exponent: float) -> Reals:
    """Return x^exponent, rounded once; exact powers are exact."""
    magnitude = np.abs(x)
    exponent = float(exponent)
    if exponent == 0.0:
        return np.ones_like(x)
    with np.errstate(all="ignore"):
        result = _positive_power(magnitude, exponent)
    at_zero, at_infinity = (0.0, np.inf) if exponent > 0 else (np.inf, 0.0)
    result = np.where(magnitude == 0, at_zero, np.where(magnitude == np.inf, at_infinity, result))
    if not exponent.is_integer():
        return np.where((x < 0) & (magnitude < np.inf), np.nan, result)
    return np.copysign(result, x) if exponent % 2 else result


def _positive_power(x: Reals, exponent: float) -> Reals:
    """Return e^(exponent log(x)) for finite x > 0, to about 65 bits before the one rounding."""
    if exponent in _ONE_OPERATION:
        return _ONE_OPERATION[exponent](x)
    m, k = np.frexp(x)
    low = m < _SQRT_HALF
    m, k = np.where(low, 2.0 * m, m), np.where(low, k - 1, k)
    # log(x) = k ln 2 + 2 atanh(s)
    s = dd.divide(m - 1.0, dd.two_sum(m, 1.0))
    atanh = dd.multiply(s, dd.polynomial(_ATANH, dd.multiply(s, s)))
    logarithm = dd.add((k * _LN2_HIGH, k * _LN2_LOW), (2.0 * atanh[0], 2.0 * atanh[1]))
    # Beyond these bounds every x but 1 overflows, or becomes 0.
    y = dd.multiply(logarithm, (min(max(exponent, -1e30), 1e30), 0.0))
    k = np.rint(np.clip(y[0], -1100.0, 1100.0) / (_LN2_HIGH + _LN2_LOW))
    r = dd.add(y, (-k * _LN2_HIGH, -k * _LN2_LOW))
    high, _ = dd.polynomial(_EXP, r)
    return np.asarray(np.ldexp(np.where(np.abs(r[0]) > 1, 1.0, high), k.astype(np.int64)))
