"""Operators on two or more tensors that broadcast."""

import numpy as np

from qengine.errors import ModelError
from qengine.model.ops.operator import ANY, LOGICAL, NUMBER, Selector, Sign, operator
from qengine.model.steps import Combine, Island, Join, Tensor
from qengine.model.steps.pairs import Chosen, Extreme, Predicate, Remainder


@operator("Add", elements=NUMBER, sign=Sign.KEPT)
def add(a: Tensor, b: Tensor) -> Combine:
    """a + b."""
    return Combine("add", (a, b))


@operator("Sub", elements=NUMBER)
def subtract(a: Tensor, b: Tensor) -> Combine:
    """a - b."""
    return Combine("subtract", (a, b))


@operator("Mul", elements=NUMBER, sign=Sign.KEPT)
def multiply(a: Tensor, b: Tensor) -> Combine:
    """a * b."""
    return Combine("multiply", (a, b))


@operator("Div", elements=NUMBER, sign=Sign.KEPT)
def divide(a: Tensor, b: Tensor) -> Combine:
    """a / b; integers divide toward zero."""
    return Combine("divide", (a, b))


@operator("Sum", sign=Sign.KEPT)
def add_all(*terms: Tensor) -> Combine:
    """The sum of one or more tensors."""
    return Combine("add", terms)


def _extreme(inputs: tuple[Tensor, ...], *, largest: bool) -> Join:
    return Join(inputs, Extreme(largest), np.broadcast_shapes(*(t.shape for t in inputs)))


@operator("Max", elements=NUMBER, sign=Sign.KEPT)
def maximum(*inputs: Tensor) -> Join:
    """The largest of one or more tensors."""
    return _extreme(inputs, largest=True)


@operator("Min", elements=NUMBER, sign=Sign.KEPT)
def minimum(*inputs: Tensor) -> Join:
    """The smallest of one or more tensors."""
    return _extreme(inputs, largest=False)


@operator("Where", since=9, elements=ANY, sign=Sign.KEPT)
def where(condition: Selector, x: Tensor, y: Tensor) -> Join:
    """x if the condition holds, else y."""
    if condition.dtype != bool:
        raise ModelError(f"condition '{condition.name}' is {condition.dtype}; boolean elements are needed")
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    return Join((x, y), Chosen(), shape, lead=(condition,))


def _declare_predicate(name: str, since: int, elements: str, function: np.ufunc) -> None:
    def compare(a: Tensor, b: Tensor) -> Island:
        return Island((a, b), Predicate(function.__name__), np.broadcast_shapes(a.shape, b.shape), np.dtype(bool))

    compare.__doc__ = f"{function.__name__} of each pair of elements."
    operator(name, since=since, elements=elements)(compare)


_declare_predicate("Equal", 1, ANY, np.equal)
_declare_predicate("Less", 1, NUMBER, np.less)
_declare_predicate("LessOrEqual", 12, NUMBER, np.less_equal)
_declare_predicate("Greater", 1, NUMBER, np.greater)
_declare_predicate("GreaterOrEqual", 12, NUMBER, np.greater_equal)
_declare_predicate("And", 1, LOGICAL, np.logical_and)
_declare_predicate("Or", 1, LOGICAL, np.logical_or)
_declare_predicate("Xor", 1, LOGICAL, np.logical_xor)


@operator("Not", elements=LOGICAL)
def negate(x: Tensor) -> Island:
    """Logical not."""
    return Island((x,), Predicate("logical_not"), x.shape, x.dtype)


@operator("Mod", since=28, elements=NUMBER)
def modulo(a: Tensor, b: Tensor, *, fmod: int = 0) -> Island:
    """The remainder, with the sign of the divisor, or of the dividend with `fmod`."""
    return Island((a, b), Remainder(bool(fmod)), np.broadcast_shapes(a.shape, b.shape), a.dtype)


@operator("Mod", since=10, elements=NUMBER)
def modulo_10(a: Tensor, b: Tensor, *, fmod: int = 0) -> Island:
    """The remainder; before opset 28 that of real numbers has the sign of the dividend."""
    if a.is_float and not fmod:
        raise ModelError(f"'{a.name}' is {a.dtype}, for which fmod must be 1")
    return modulo(a, b, fmod=fmod)
