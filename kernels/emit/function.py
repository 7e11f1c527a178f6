"""The code of `kernels.elementwise.Function`."""

from collections.abc import Callable
from math import factorial, log, pi, sqrt

from ..elementwise import Function
from ..isa import Isa
from .loops import Arguments, each_row, each_vector
from .vector import F32, I32, Value, load, load_scalar

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # k times the first is exact
_ROUNDING_ADDEND = 1.5 * 2.0**23  # adding a number to it rounds the number to an integer
# Abramowitz and Stegun 7.1.26: erf(z) to 1.5e-7, innermost first.
_ERF_P, _ERF = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_TANH = (62 / 2835, -17 / 315, 2 / 15, -1 / 3, 1.0)


def _polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """Return the polynomial by Horner's rule, the highest power first."""
    total = x.like(coefficients[0])
    for one in coefficients[1:]:
        total = total * x + one
    return total


def exp(x: Value) -> Value:
    """Return e^x = 2^k e^r to about two units in the last place; infinite from 88.4 on, NaN stays."""
    bounded = x.at_least(-87.3).at_most(88.8)
    shifted = bounded * (1.0 / log(2.0)) + _ROUNDING_ADDEND
    k = shifted - _ROUNDING_ADDEND
    r = bounded - k * _LN2_HIGH - k * _LN2_LOW
    power = _polynomial(r, tuple(1.0 / factorial(n) for n in range(7, -1, -1)))
    # The low bits of `shifted` are k. The exponent of a float32 begins at bit 23 and is 127 for 1.
    scale = (((shifted.bits(I32) & 0x1FF) + 127) << 23) & 0x7F800000
    return power * scale.bits(F32)


def _logistic(x: Value) -> Value:
    return x.like(1.0) / (exp(x * -1.0) + 1.0)


def _tanh(x: Value) -> Value:
    square = x * x
    near = x * _polynomial(square, _TANH)
    far = _logistic(x * 2.0) * 2.0 - 1.0
    return near.where(square < 0.0625, far)


def _normal(x: Value) -> Value:
    """Return x Phi(x) = x (1 + erf(x / sqrt(2))) / 2."""
    negative = x < 0.0
    z = (x * -1.0).where(negative, x) * sqrt(0.5)
    t = x.like(1.0) / (z * _ERF_P + 1.0)
    tail = t * _polynomial(t, _ERF) * exp(z * z * -1.0) * 0.5
    return x * tail.where(negative, x.like(1.0) - tail)


def _gelu_by_tanh(x: Value) -> Value:
    # (1 + tanh(u)) / 2 is the logistic function of 2 u.
    return x * _logistic((x * x * x * 0.044715 + x) * (2.0 * sqrt(2.0 / pi)))


def _between_0_and_1(x: Value) -> Value:
    return x.at_least(0.0).at_most(1.0)


_FUNCTIONS: dict[str, Callable[[Value, Value, Value], Value]] = {
    "leaky": lambda x, a, _: (x * a).where(x < 0.0, x),
    "hard sigmoid": lambda x, a, b: _between_0_and_1(x * a + b),
    "hard swish": lambda x, a, b: x * _between_0_and_1(x * a + b),
    "logistic": lambda x, a, _: _logistic(x * a),
    "swish": lambda x, a, _: x * _logistic(x * a),
    "tanh": lambda x, *_: _tanh(x),
    "gelu": lambda x, *_: _normal(x),
    "gelu by tanh": lambda x, *_: _gelu_by_tanh(x),
}


def emit(spec: Function, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    compute = _FUNCTIONS[spec.name]
    first, second = (load_scalar(a.numbers + 4 * i, F32).splat() for i in range(2))
    with each_row(a, "x", "y") as (x, y):
        each_vector(a.vectors, a.rest, lambda v: compute(load(x + v * 64, F32), first, second), lambda v: y + v * 64)
