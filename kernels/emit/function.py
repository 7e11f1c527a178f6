"""The code of `kernels.elementwise.Function`."""

from collections.abc import Callable
from math import pi, sqrt

from llvmlite import ir

from ..elementwise import Function
from ..isa import Isa
from .loops import Arguments, counted, each_row
from .mathematics import Mathematics, size_of
from .vector import F32, F64, LANES, Value, first_lanes, load, load_lanes, load_scalar, root

Body = Callable[[Mathematics, Value, Value, Value], Value]
"""Function (mathematics, x, first number, second number) -> y."""


def _between_0_and_1(x: Value) -> Value:
    return x.at_least(0.0).at_most(1.0)


def _elu(m: Mathematics, x: Value, alpha: Value, gamma: Value) -> Value:
    return (m.expm1(x) * alpha).where(x < 0.0, x) * gamma


def _celu(m: Mathematics, x: Value, alpha: Value, inverse: Value) -> Value:
    return x.at_least(0.0) + (m.expm1(x * inverse) * alpha).at_most(0.0)


def _gelu_by_tanh(m: Mathematics, x: Value, _: Value, __: Value) -> Value:
    # (1 + tanh(u)) / 2 is the logistic function of 2 u.
    return x * m.logistic((x * x * x * 0.044715 + x) * (2.0 * sqrt(2.0 / pi)))


def _sign(_: Mathematics, x: Value, __: Value, ___: Value) -> Value:
    one, nothing = x.like(1.0), x.like(0.0)
    return x.where(x.is_nan(), one.where(x > 0.0, (one * -1.0).where(x < 0.0, nothing)))


def _wide(function: Callable[[Mathematics, Value], Value]) -> Body:
    """Return a function that computes in float64, and rounds once."""
    return lambda m, x, *_: function(m, x.doubled()).halved()


def _power(m: Mathematics, x: Value, exponent: Value, *, is_integer: bool, is_odd: bool) -> Value:
    if x.element != F32:
        return m.power(x, exponent, is_integer=is_integer, is_odd=is_odd)
    return m.power(x.doubled(), exponent.doubled(), is_integer=is_integer, is_odd=is_odd).halved()


FUNCTIONS: dict[str, Body] = {
    "leaky": lambda _, x, a, __: (x * a).where(x < 0.0, x),
    "hard sigmoid": lambda m, x, a, b: _between_0_and_1(m.fused(x, a, b)),
    "hard swish": lambda m, x, a, b: x * _between_0_and_1(m.fused(x, a, b)),
    "logistic": lambda m, x, a, _: m.logistic(x * a),
    "swish": lambda m, x, a, _: x * m.logistic(x * a),
    "tanh": lambda m, x, *_: m.tanh(x),
    "gelu": lambda m, x, *_: m.normal(x),
    "gelu by tanh": _gelu_by_tanh,
    "erf": lambda m, x, *_: m.erf(x),
    "exp": lambda m, x, *_: m.exp(x),
    "log": lambda m, x, *_: m.log(x),
    "sqrt": lambda _, x, *__: root(x),
    "root": lambda _, x, *__: x.like(float("inf")).where(size_of(x).equals(float("inf")), root(x)),
    "reciprocal": lambda _, x, *__: x.like(1.0) / x,
    "square": lambda _, x, *__: x * x,
    "cube": lambda _, x, *__: x * x * x,
    "abs": lambda _, x, *__: size_of(x),
    "negative": lambda _, x, *__: x * -1.0,
    "sign": _sign,
    "floor": lambda m, x, *_: m.floor(x),
    "ceil": lambda m, x, *_: m.ceil(x),
    "round": lambda m, x, *_: m.rounded(x),
    "thresholded": lambda _, x, a, __: x.where((x > a), x.like(0.0)),
    "elu": _elu,
    "celu": _celu,
    "softplus": lambda m, x, *_: m.softplus(x),
    "softsign": lambda _, x, *__: x / (size_of(x) + 1.0),
    "mish": lambda m, x, *_: x * m.tanh(m.softplus(x)),
    "power": lambda m, x, a, _: _power(m, x, a, is_integer=False, is_odd=False),
    "even power": lambda m, x, a, _: _power(m, x, a, is_integer=True, is_odd=False),
    "odd power": lambda m, x, a, _: _power(m, x, a, is_integer=True, is_odd=True),
    "Sin": lambda m, x, *_: m.sine(x).halved(),
    "Cos": lambda m, x, *_: m.sine(x, quarter=1).halved(),
    "Tan": lambda m, x, *_: (m.sine(x) / m.sine(x, quarter=1)).halved(),
    "Asin": _wide(Mathematics.arc_sine),
    "Acos": _wide(lambda m, x: m.arc_sine(x) * -1.0 + pi / 2.0),
    "Atan": _wide(Mathematics.arc_tangent),
    "Sinh": _wide(Mathematics.hyperbolic_sine),
    "Cosh": _wide(Mathematics.hyperbolic_cosine),
    "Asinh": _wide(Mathematics.area_sine),
    "Acosh": _wide(Mathematics.area_cosine),
    "Atanh": _wide(Mathematics.area_tangent),
}


def emit(spec: Function, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    element = F32 if spec.element == "f32" else F64
    mathematics = Mathematics(isa)
    first, second = numbers(a, element, 2)
    each_element(a, element, lambda x: FUNCTIONS[spec.name](mathematics, x, first, second))


def numbers(a: Arguments, element: ir.Type, count: int) -> list[Value]:
    """Return the numbers at the address "numbers", each in all lanes."""
    size, lanes = (4, LANES) if element == F32 else (8, LANES // 2)
    return [load_scalar(a.numbers + size * i, element).splat(lanes) for i in range(count)]


def each_element(a: Arguments, element: ir.Type, compute: Callable[[Value], Value]) -> None:
    """Build the loops over rows, and over vectors in each."""
    lanes = LANES if element == F32 else LANES // 2
    with each_row(a, "x", "y") as (x, y):
        with counted(a.vectors) as v:
            compute(load(x + v * 64, element, lanes)).store(y + v * 64)
        with a.b.if_then((a.rest > 0).v):
            mask = first_lanes(a.rest, lanes)
            compute(load_lanes(x + a.vectors * 64, element, mask)).store_masked(y + a.vectors * 64, mask)
