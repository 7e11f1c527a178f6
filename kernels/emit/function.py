"""The code of `kernels.elementwise.Function`."""

from collections.abc import Callable
from math import factorial, log, pi, sqrt
from typing import Any

from llvmlite import ir

from ..elementwise import Function
from ..isa import Isa
from .memory import unpacker
from .vector import F32, I32, Vec, i64, load, load_scalar, splat, whole_and_part

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # k times the first is exact
_WHOLE = 1.5 * 2.0**23  # what is added to it is rounded to whole numbers
# Abramowitz and Stegun 7.1.26: erf(z) to 1.5e-7, innermost first.
_ERF_P, _ERF = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_TANH = (62 / 2835, -17 / 315, 2 / 15, -1 / 3, 1.0)


def _polynomial(x: Vec, coefficients: tuple[float, ...]) -> Vec:
    """Return the polynomial by Horner's rule, the highest power first."""
    total = x.like(coefficients[0])
    for one in coefficients[1:]:
        total = total * x + one
    return total


def _exp(x: Vec) -> Vec:
    """e^x = 2^k e^r to about two units in the last place; infinite from 88.4 on, NaN stays."""
    bounded = x.at_least(x.like(-87.3)).at_most(x.like(88.8))
    shifted = bounded * (1.0 / log(2.0)) + _WHOLE
    k = shifted - _WHOLE
    r = bounded - k * _LN2_HIGH - k * _LN2_LOW
    power = _polynomial(r, tuple(1.0 / factorial(n) for n in range(7, -1, -1)))
    # The low bits of `shifted` are k; of a float32, the exponent begins at bit 23 and is 127 for 1.
    scale = (((shifted.bits(I32) & 0x1FF) + 127) << 23) & 0x7F800000
    return power * scale.bits(F32)


def _logistic(x: Vec) -> Vec:
    return x.like(1.0) / (_exp(x * -1.0) + 1.0)


def _tanh(x: Vec) -> Vec:
    square = x * x
    near = x * _polynomial(square, _TANH)
    far = _logistic(x * 2.0) * 2.0 - 1.0
    return near.where(square.is_("<", x.like(0.0625)), far)


def _normal(x: Vec) -> Vec:
    """Return x Phi(x) = x (1 + erf(x / sqrt(2))) / 2."""
    negative = x.is_("<", x.like(0.0))
    z = (x * -1.0).where(negative, x) * sqrt(0.5)
    t = x.like(1.0) / (z * _ERF_P + 1.0)
    tail = t * _polynomial(t, _ERF) * _exp(z * z * -1.0) * 0.5
    return x * tail.where(negative, x.like(1.0) - tail)


def _gelu_by_tanh(x: Vec) -> Vec:
    # (1 + tanh(u)) / 2 is the logistic function of 2 u.
    return x * _logistic((x * x * x * 0.044715 + x) * (2.0 * sqrt(2.0 / pi)))


def _between_0_and_1(x: Vec) -> Vec:
    return x.at_least(x.like(0.0)).at_most(x.like(1.0))


_FUNCTIONS: dict[str, Callable[[Vec, Vec, Vec], Vec]] = {
    "leaky": lambda x, a, _: (x * a).where(x.is_("<", x.like(0.0)), x),
    "hard sigmoid": lambda x, a, b: _between_0_and_1(x * a + b),
    "hard swish": lambda x, a, b: x * _between_0_and_1(x * a + b),
    "logistic": lambda x, a, _: _logistic(x * a),
    "swish": lambda x, a, _: x * _logistic(x * a),
    "tanh": lambda x, *_: _tanh(x),
    "gelu": lambda x, *_: _normal(x),
    "gelu by tanh": lambda x, *_: _gelu_by_tanh(x),
}


def make(spec: Function, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    compute = _FUNCTIONS[spec.name]

    def build(b: ir.IRBuilder, *values: ir.Value) -> tuple[Vec, ir.Value, ir.Value]:
        x, y, rest, numbers = values
        first, second = (splat(b, load_scalar(b, b.add(numbers, i64(4 * i)), F32)) for i in range(2))
        result = compute(load(b, x, F32), first, second)
        return result, y, rest

    # A row's rest reads a whole vector, and writes what belongs to it.
    (whole, part), unpack = whole_and_part(build), unpacker(len(spec.arguments))

    def function(arguments):
        (
            numbers, x, x_batch, x_block, x_row, y, y_batch, y_block, y_row, batch, blocks, rows, vectors, rest,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for k in range(blocks):
                for r in range(rows):
                    of = x + n * x_batch + k * x_block + r * x_row
                    to = y + n * y_batch + k * y_block + r * y_row
                    for v in range(vectors):
                        whole((of + v * 64, to + v * 64, rest, numbers))
                    if rest > 0:
                        part((of + vectors * 64, to + vectors * 64, rest, numbers))

    return function
