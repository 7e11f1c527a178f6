"""Functions of one variable on vectors of floats, from additions and multiplications.

A CPU has no instruction for e^x. The idea is the same for nearly all of them: bring the argument into a short interval
by an identity (e^x = 2^k e^r, log x = k log 2 + log m, sin x = sin(x - k pi / 2)), and there take a polynomial. Its
coefficients are those of the Chebyshev series, which is near the best polynomial of its degree; `chebyshev` finds them
while a kernel is built. Results are within a few units in the last place. Trigonometric functions and powers are
computed in float64 and rounded to float32 by the caller.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import cos, erf, erfc, expm1, factorial, log, log1p, pi, sqrt

from ..isa import Isa
from .vector import F32, I32, I64, Value, fused, root

_ADDEND, _ADDEND_64 = 1.5 * 2.0**23, 1.5 * 2.0**52  # adding a number to it rounds the number to an integer
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # k times the first is exact in float32
_LN2_HIGH_64, _LN2_LOW_64 = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SQRT_HALF = sqrt(0.5)
_ERF_FAR = 9.3  # from there on 1 - erf is 0 in float32
# Quotients of polynomials in x^2 for tanh(x) / x up to 9, and for erf(x) / x up to 4: least squares, weighted again
# until the relative error is the same everywhere, some 10^-8; highest power first.
_TANH_END, _ERF_END = 9.0, 4.0
_TANH_ABOVE = (1.33529638e-08, 2.06079014e-05, 3.49551953e-03, 1.33809694e-01, 9.99999980e-01)
_TANH_BELOW = (7.77587463e-07, 3.28552012e-04, 2.58767257e-02, 4.67142851e-01, 1.0)
_ERF_ABOVE = (1.98663710e-06, 2.84522537e-04, 3.88242401e-03, 5.30988633e-02, 1.93526920e-01, 1.12837914e00)
_ERF_BELOW = (3.74163679e-05, 1.18530482e-03, 1.52054378e-02, 1.15342063e-01, 5.04841329e-01, 1.0)
_TWO_OVER_PI_BITS = int("a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e0", 16)
"""The first 320 bits of 2 / pi after the binary point."""


@cache
def chebyshev(function: Callable[[float], float], low: float, high: float, degree: int) -> tuple[float, ...]:
    """Return the coefficients, highest power first, of a polynomial that is near a function between two numbers."""
    count = 2 * degree + 2
    nodes = [cos(pi * (i + 0.5) / count) for i in range(count)]
    values = [function(low + (high - low) * (node + 1.0) / 2.0) for node in nodes]
    series = [
        2.0 / count * sum(v * cos(pi * n * (i + 0.5) / count) for i, v in enumerate(values)) for n in range(degree + 1)
    ]
    series[0] /= 2.0
    # T_0 = 1, T_1 = t, T_(n+1) = 2 t T_n - T_(n-1), with t = scale x + offset; lowest power first.
    scale, offset = 2.0 / (high - low), -(high + low) / (high - low)
    before, now = [1.0], [offset, scale]
    total = [0.0] * (degree + 1)
    for coefficient in series:
        for power, number in enumerate(before):
            total[power] += coefficient * number
        product = [2.0 * offset * n for n in now] + [0.0]
        for power, number in enumerate(now):
            product[power + 1] += 2.0 * scale * number
        padded = before + [0.0] * (len(product) - len(before))
        before, now = now, [a - b for a, b in zip(product, padded, strict=True)]
    return tuple(reversed(total))


def _exp_rest(r: float) -> float:
    """Return (e^r - 1 - r) / r^2."""
    if abs(r) < 0.1:
        return sum(r**n / factorial(n + 2) for n in range(12))
    return (expm1(r) - r) / (r * r)


def _log_rest(f: float) -> float:
    """Return (log(1 + f) - f + f^2 / 2) / f^3."""
    if abs(f) < 0.1:
        return sum((-f) ** n / (n + 3) for n in range(18))
    return (log1p(f) - f + f * f / 2.0) / f**3


def _erf_near(square: float) -> float:
    """Return erf(x) / x of x^2."""
    x = sqrt(square)
    return erf(x) / x if x > 1e-8 else 2.0 / sqrt(pi)


def _erf_far(x: float) -> float:
    """Return -log(1 - erf(x))."""
    return -log(erfc(x))


class Mathematics:
    """Functions as one instruction set computes them.

    Attributes
    ----------
    isa : instruction set.
    """

    def __init__(self, isa: Isa) -> None:
        self.isa = isa

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """Return the polynomial by Horner's rule, the highest power first."""
        total = x.like(coefficients[0])
        for one in coefficients[1:]:
            total = self.fused(total, x, one)
        return total

    def fused(self, x: Value, y: Value, added: Value | float) -> Value:
        """Return x y + added."""
        total = added if isinstance(added, Value) else x.like(added)
        return fused(total, x, y, is_fused=self.isa.has_fma)

    def exp(self, x: Value) -> Value:
        """Return e^x = 2^k e^r; 0 and infinity where it is beyond float32, NaN stays."""
        if x.element != F32:
            return self._exp_64(x)
        k, power = self._exp_parts(x.at_least(-104.5).at_most(89.0))
        half = k >> 1  # 2^k alone may be beyond the numbers of full precision
        return power * _power_of_two(half) * _power_of_two(k - half)

    def exp_below_0(self, x: Value) -> Value:
        """Return e^x of x that is 0 or less; 0 where it is below the numbers of full precision."""
        k, power = self._exp_parts(x.at_least(-87.3))
        return x.like(0.0).where(x < -87.3, power * _power_of_two(k))

    def _exp_parts(self, bounded: Value) -> tuple[Value, Value]:
        """Return k and e^r."""
        shifted = self.fused(bounded, bounded.like(1.0 / log(2.0)), _ADDEND)
        k = shifted - _ADDEND
        r = self.fused(k, k.like(-_LN2_LOW), self.fused(k, k.like(-_LN2_HIGH), bounded))
        rest = self.polynomial(r, chebyshev(_exp_rest, -0.35, 0.35, 4))
        # The low bits of `shifted` are k; those above are of the addend.
        return (shifted.bits(I32) << 10) >> 10, self.fused(rest * r, r, r) + 1.0

    def _exp_64(self, x: Value) -> Value:
        bounded = x.at_least(-746.0).at_most(710.0)
        shifted = self.fused(bounded, bounded.like(1.0 / log(2.0)), _ADDEND_64)
        k = shifted - _ADDEND_64
        r = self.fused(k, k.like(-_LN2_LOW_64), self.fused(k, k.like(-_LN2_HIGH_64), bounded))
        rest = self.polynomial(r, tuple(1.0 / factorial(n) for n in range(14, 1, -1)))
        integer = (shifted.bits(I64) << 20) >> 20
        half = integer >> 1
        power = self.fused(rest * r, r, r) + 1.0
        scales = [((n + 1023) << 52).bits(power.element) for n in (half, integer - half)]
        return power * scales[0] * scales[1]

    def expm1(self, x: Value) -> Value:
        """Return e^x - 1, accurate near 0."""
        rest = self.polynomial(x, chebyshev(_exp_rest, -0.35, 0.35, 5))
        return self.fused(rest * x, x, x).where(size_of(x) < 0.35, self.exp(x) - 1.0)

    def log(self, x: Value) -> Value:
        """Return the natural logarithm: -infinity of 0, NaN of what is below."""
        if x.element != F32:
            return self._log_64(x)
        is_small = x < 1.17549435e-38
        whole = (x * 2.0**23).where(is_small, x)
        shifted = whole.bits(I32) - 0x3F3504F3  # the bits of sqrt(1/2)
        k = shifted >> 23
        f = (whole.bits(I32) - (k << 23)).bits(F32) - 1.0
        exponent = (k - k.like(23).where(is_small, k.like(0))).as_floats(F32)
        cubic = self.polynomial(f, chebyshev(_log_rest, _SQRT_HALF - 1.0, sqrt(2.0) - 1.0, 8)) * f
        square = f * f
        rest = self.fused(exponent, exponent.like(_LN2_LOW), self.fused(cubic, square, square * -0.5))
        return self._log_ends(x, self.fused(exponent, exponent.like(_LN2_HIGH), f + rest))

    def _log_64(self, x: Value) -> Value:
        is_small = x < 2.2250738585072014e-308
        whole = (x * 2.0**54).where(is_small, x)
        k = (whole.bits(I64) - 0x3FE6A09E667F3BCD) >> 52
        m = (whole.bits(I64) - (k << 52)).bits(x.element)
        exponent = (k - k.like(54).where(is_small, k.like(0))).as_floats(x.element)
        f = m - 1.0
        s = f / (f + 2.0)
        series = self.polynomial(s * s, tuple(2.0 / n for n in range(23, 1, -2)))
        rest = self.fused(exponent, exponent.like(_LN2_LOW_64), s * s * s * series)
        return self._log_ends(x, self.fused(exponent, exponent.like(_LN2_HIGH_64), s * 2.0 + rest))

    def _log_ends(self, x: Value, result: Value) -> Value:
        infinity, nan = x.like(float("inf")), x.like(float("nan"))
        result = (infinity * -1.0).where(x.equals(0.0), x.where(x.equals(infinity), result))
        return nan.where(x < 0.0, x.where(x.is_nan(), result))

    def log1p(self, x: Value) -> Value:
        """Return log(1 + x) of x above -1, corrected for the rounding of 1 + x."""
        near = x + 1.0
        is_plain = near.differs(float("inf")) & near.differs(0.0)
        correction = (x - (near - 1.0)) / near
        return self.log(near) + correction.where(is_plain, x.like(0.0))

    def logistic(self, x: Value) -> Value:
        """Return 1 / (1 + e^-x)."""
        return x.like(1.0) / (self.exp(x * -1.0) + 1.0)

    def softplus(self, x: Value) -> Value:
        """Return log(1 + e^x)."""
        return x.at_least(0.0) + self.log1p(self.exp(size_of(x) * -1.0))

    def tanh(self, x: Value) -> Value:
        """Return the hyperbolic tangent of float32 as a quotient of polynomials."""
        z = x.at_least(-_TANH_END).at_most(_TANH_END)
        square = z * z
        return z * self.polynomial(square, _TANH_ABOVE) / self.polynomial(square, _TANH_BELOW)

    def logistic_by_tanh(self, x: Value) -> Value:
        """Return 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2, to some 10^-7 of 1, in fewer instructions than `logistic`."""
        return self.fused(self.tanh(x * 0.5), x.like(0.5), 0.5)

    def erf(self, x: Value) -> Value:
        """Return the error function."""
        magnitude = size_of(x)
        near = x * self.polynomial(x * x, chebyshev(_erf_near, 0.0, 1.0, 7))
        return near.where(magnitude < 1.0, with_sign(x, x.like(1.0) - self._erf_rest(magnitude)))

    def _erf_rest(self, magnitude: Value) -> Value:
        """Return 1 - erf(z) of z that is 1 or more."""
        logarithm = self.polynomial(magnitude.at_least(1.0).at_most(_ERF_FAR) - 4.0, _shifted_far())
        return magnitude.like(0.0).where(magnitude >= _ERF_FAR, self.exp(logarithm * -1.0))

    def normal(self, x: Value) -> Value:
        """Return x Phi(x) = x (1 + erf(x / sqrt(2))) / 2, with erf as a quotient of polynomials."""
        z = (x * _SQRT_HALF).at_least(-_ERF_END).at_most(_ERF_END)
        square = z * z
        ratio = z * self.polynomial(square, _ERF_ABOVE) / self.polynomial(square, _ERF_BELOW)
        half = x * 0.5
        return self.fused(half, with_sign(z, z.like(1.0)).where(size_of(z) >= _ERF_END, ratio), half)

    def power(self, x: Value, exponent: Value, *, is_integer: bool, is_odd: bool) -> Value:
        """Return x^exponent of float64, with a constant exponent other than 0."""
        magnitude = size_of(x)
        result = self.exp(self.log(magnitude) * exponent)
        if not is_integer:
            finite_below = (x < 0.0) & magnitude.differs(float("inf"))
            return x.like(float("nan")).where(finite_below, result)
        return with_sign(x, result) if is_odd else result

    def sine(self, x: Value, quarter: int = 0) -> Value:
        """Return sin(x + quarter pi / 2) of float32 numbers, as float64."""
        turns, angle = self._quarters(x)
        turns = turns + quarter
        square = angle * angle
        odd = angle * self.polynomial(square, tuple((-1.0) ** n / factorial(2 * n + 1) for n in range(7, -1, -1)))
        even = self.polynomial(square, tuple((-1.0) ** n / factorial(2 * n) for n in range(8, -1, -1)))
        result = even.where((turns & 1).differs(0), odd)
        return (result * -1.0).where((turns & 2).differs(0), result)

    def _quarters(self, x: Value) -> tuple[Value, Value]:
        """Return the number of quarters of a turn, modulo 4, and what is left of the angle, at most pi / 4."""
        wide = x.doubled()
        k = wide * (2.0 / pi) + _ADDEND_64
        turns = (k.bits(I64) << 20) >> 20
        k = k - _ADDEND_64
        # pi / 2 in parts of 33 bits: with k below 2^20 products are exact.
        near = wide - k * 1.57079632673412561417e00 - k * 6.07710050630396597660e-11 - k * 2.02226624879595063154e-21
        # A number from 2^20 on is m 2^e with an integer m, and all that counts of 2^e 2 / pi are its bits modulo 4.
        bits = x.bits(I32)
        exponent = ((bits.shift_right_logical(23) & 0xFF) - 150).widened(I64)
        m = ((bits & 0x7FFFFF) | 0x800000).widened(I64)
        product = m * _window((exponent - 2).at_least(-64))  # in units of 2^-62 quarters; what is beyond 4 is lost
        rounded = (product + (1 << 61)) >> 62
        rest = (product - (rounded << 62)).as_floats(wide.element) * (pi / 2.0 * 2.0**-62)
        is_negative = x < 0.0
        rounded = (rounded * -1).where(is_negative, rounded)
        rest = (rest * -1.0).where(is_negative, rest)
        is_near = size_of(wide) < 2.0**20
        angle = near.where(is_near, rest)
        nan = angle.like(float("nan"))
        return turns.where(is_near, rounded), angle.where(size_of(wide) < float("inf"), nan)

    def arc_tangent(self, x: Value) -> Value:
        """Return the arc tangent of float64, to about 10^-10."""
        z = size_of(x)
        is_large = z > 1.0
        z = (z.like(1.0) / z).where(is_large, z)
        is_middle = z > sqrt(2.0) - 1.0
        t = ((z - 1.0) / (z + 1.0)).where(is_middle, z)
        series = self.polynomial(t * t, chebyshev(_atan_near, 0.0, (sqrt(2.0) - 1.0) ** 2, 8)) * t
        angle = (series + pi / 4.0).where(is_middle, series)
        angle = (angle * -1.0 + pi / 2.0).where(is_large, angle)
        return with_sign(x, angle)

    def arc_sine(self, x: Value) -> Value:
        """Return the arc sine of float64; NaN beyond 1."""
        rest = root((x.like(1.0) - x) * (x + 1.0))
        right = with_sign(x, x.like(pi / 2.0))
        return right.where(rest.equals(0.0), self.arc_tangent(x / rest))

    def hyperbolic_sine(self, x: Value) -> Value:
        """Return the hyperbolic sine of float64."""
        z = size_of(x)
        square = x * x
        series = self.polynomial(square, tuple(1.0 / factorial(2 * n + 1) for n in range(8, -1, -1))) * x
        power = self.exp(z)
        return series.where(z < 1.0, with_sign(x, (power - power.like(1.0) / power) * 0.5))

    def hyperbolic_cosine(self, x: Value) -> Value:
        """Return the hyperbolic cosine of float64."""
        power = self.exp(size_of(x))
        return (power + power.like(1.0) / power) * 0.5

    def area_sine(self, x: Value) -> Value:
        """Return the inverse of the hyperbolic sine of float64."""
        z = size_of(x)
        near = self.log1p(z + z * z / (root(z * z + 1.0) + 1.0))
        return with_sign(x, (self.log(z) + log(2.0)).where(z > 2.0**28, near))

    def area_cosine(self, x: Value) -> Value:
        """Return the inverse of the hyperbolic cosine of float64; NaN below 1."""
        t = x - 1.0
        near = self.log1p(t + root(t * 2.0 + t * t))
        return x.like(float("nan")).where(x < 1.0, (self.log(x) + log(2.0)).where(x > 2.0**28, near))

    def area_tangent(self, x: Value) -> Value:
        """Return the inverse of the hyperbolic tangent of float64; infinite at 1, NaN beyond."""
        z = size_of(x)
        result = self.log1p(z * 2.0 / (z * -1.0 + 1.0)) * 0.5
        result = x.like(float("inf")).where(z.equals(1.0), result)
        return with_sign(x, x.like(float("nan")).where(z > 1.0, result))

    def rounded(self, x: Value) -> Value:
        """Return the nearest integer, ties to even."""
        limit = 2.0**23 if x.element == F32 else 2.0**52  # from there on all numbers are integers
        magnitude = size_of(x)
        return with_sign(x, ((magnitude + limit) - limit).where(magnitude < limit, magnitude))

    def floor(self, x: Value) -> Value:
        """Return the largest integer that is not above x."""
        whole = self.rounded(x)
        return with_sign(x, (whole - 1.0).where(whole > x, whole))

    def ceil(self, x: Value) -> Value:
        """Return the smallest integer that is not below x."""
        whole = self.rounded(x)
        return with_sign(x, (whole + 1.0).where(whole < x, whole))


@cache
def _shifted_far() -> tuple[float, ...]:
    """Return the polynomial of `_erf_far` in z - 4, whose terms do not cancel."""
    return chebyshev(lambda t: _erf_far(t + 4.0), 1.0 - 4.0, _ERF_FAR - 4.0, 11)


def _atan_near(square: float) -> float:
    """Return the arc tangent of x over x, of x^2."""
    return sum((-square) ** n / (2 * n + 1) for n in range(60))


def _power_of_two(k: Value) -> Value:
    """Return 2^k as float32."""
    return ((k + 127) << 23).bits(F32)


def size_of(x: Value) -> Value:
    """Return |x|."""
    bits = I32 if x.element == F32 else I64
    return (x.bits(bits) & (0x7FFFFFFF if x.element == F32 else 0x7FFFFFFFFFFFFFFF)).bits(x.element)


def with_sign(sign: Value, x: Value) -> Value:
    """Return |x| with the sign of another number."""
    bits = I32 if x.element == F32 else I64
    lowest = -(1 << 31) if x.element == F32 else -(1 << 63)
    return ((sign.bits(bits) & lowest) | size_of(x).bits(bits)).bits(x.element)


def _window(place: Value) -> Value:
    """Return 64 bits of 2 / pi, from the bit `place` on: bit 0 is the first after the point, those before it are 0."""
    words = [0, *((_TWO_OVER_PI_BITS >> (256 - 64 * i)) & ((1 << 64) - 1) for i in range(4))]
    signed = [w - (1 << 64) if w >> 63 else w for w in words]
    start = place + 64
    number, shift = start >> 6, start & 63

    def word(index: Value) -> Value:
        result = index.like(signed[-1])
        for i, one in enumerate(signed[:-1]):
            result = index.like(one).where(index.equals(i), result)
        return result

    high, low = word(number), word(number + 1)
    rest = low.shift_right_logical(1).shift_right_logical(shift ^ 63)  # a shift by 64 is not allowed
    return (high << shift) | rest
