"""Trigonometric functions, functions on bits, predicates and others that treat every element by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import broadcast, checked_shape, is_float, widened
from qengine.model.eager.evaluator import OutputType, evaluator, same_type
from qengine.model.graph import Node
from qengine.model.ops.conversion import bits_per_element, to_integers
from qengine.model.schemas import dtype_of
from qengine.model.steps import Tensor

_FUNCTIONS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "Acos": np.arccos,
    "Acosh": np.arccosh,
    "Asin": np.arcsin,
    "Asinh": np.arcsinh,
    "Atan": np.arctan,
    "Atanh": np.arctanh,
    "Cos": np.cos,
    "Cosh": np.cosh,
    "Sin": np.sin,
    "Sinh": np.sinh,
    "Tan": np.tan,
}


def _declare(name: str, function: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    def compute(x: NDArray[Any]) -> NDArray[Any]:
        # In float64 for every type, and rounded once: the last bit is the same on almost every machine.
        return function(x.astype(np.float64)).astype(x.dtype)

    evaluator(name, outputs=same_type)(compute)


for _name, _function in _FUNCTIONS.items():
    _declare(_name, _function)


def _broadcast_types(a: Tensor, b: Tensor) -> tuple[OutputType]:
    return ((np.broadcast_shapes(a.shape, b.shape), a.dtype),)


_BITWISE: dict[str, Callable[..., NDArray[Any]]] = {
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}


def _declare_bitwise(name: str, function: Callable[..., NDArray[Any]]) -> None:
    def compute(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        return function(*broadcast(a, b))

    evaluator(name, outputs=_broadcast_types)(compute)


for _name, _pairwise in _BITWISE.items():
    _declare_bitwise(_name, _pairwise)


@evaluator("BitwiseNot", outputs=same_type)
def bitwise_not(x: NDArray[Any]) -> NDArray[Any]:
    """All bits of x inverted."""
    return np.asarray(np.bitwise_not(x))


def _shift_types(x: Tensor, y: Tensor, *, direction: str) -> tuple[OutputType]:
    if direction not in ("LEFT", "RIGHT"):
        raise ModelError(f"direction '{direction}' is not LEFT or RIGHT")
    return _broadcast_types(x, y)


@evaluator("BitShift", outputs=_shift_types)
def bit_shift(x: NDArray[Any], y: NDArray[Any], *, direction: str) -> NDArray[Any]:
    """Bits of x moved by y; an amount that is negative or at least the number of bits leaves only the sign's fill."""
    if direction not in ("LEFT", "RIGHT"):
        raise ModelError(f"direction '{direction}' is not LEFT or RIGHT")
    x, y = broadcast(x, y)
    bits = x.dtype.itemsize * 8
    is_far = (y < 0) | (y >= bits)
    amount = np.where(is_far, 0, y).astype(x.dtype)
    if direction == "LEFT":
        return np.where(is_far, 0, np.left_shift(x, amount)).astype(x.dtype)
    return np.where(is_far, -(x < 0).astype(np.int64), np.right_shift(x, amount)).astype(x.dtype)


@evaluator("BitCast")
def bit_cast(x: NDArray[Any], *, to: int) -> NDArray[Any]:
    """The bits of x, read as another element type of the same number of bits."""
    dtype = dtype_of(to)
    if "O" in (x.dtype.kind, dtype.kind) or bits_per_element(x.dtype) != bits_per_element(dtype):
        raise ModelError(f"{x.dtype} cannot be read as {dtype}: elements of the same number of bits are needed")
    return x.view(np.uint8) != 0 if dtype.kind == "b" else np.array(x, order="C").view(dtype)


def _is_inf_types(
    x: Tensor,
    *,
    detect_negative: int = 1,  # noqa: ARG001
    detect_positive: int = 1,  # noqa: ARG001
) -> tuple[OutputType]:
    return _truth_types(x)


def _truth_types(x: Tensor) -> tuple[OutputType]:
    return ((x.shape, np.dtype(bool)),)


@evaluator("IsInf", outputs=_is_inf_types)
def is_inf(x: NDArray[Any], *, detect_negative: int = 1, detect_positive: int = 1) -> NDArray[Any]:
    """Whether an element is infinite, of the signs that the attributes ask for."""
    v = widened(x)
    return np.asarray((bool(detect_positive) & (v == np.inf)) | (bool(detect_negative) & (v == -np.inf)))


@evaluator("IsNaN", outputs=_truth_types)
def is_nan(x: NDArray[Any]) -> NDArray[Any]:
    """Whether an element is NaN."""
    return np.asarray(np.isnan(widened(x)))


def _mean_types(*data: Tensor, node: Node) -> tuple[OutputType]:
    if not data or (node.version < 8 and len({x.shape for x in data}) > 1):
        raise ModelError(f"Mean of tensors {[list(x.shape) for x in data]}; opset {node.version} does not allow it")
    return ((np.broadcast_shapes(*(x.shape for x in data)), data[0].dtype),)


@evaluator("Mean", outputs=_mean_types)
def mean(*data: NDArray[Any], node: Node) -> NDArray[Any]:
    """The mean of one or more tensors, which broadcast from opset 8 on."""
    if not data:
        raise ModelError("Mean of no tensors; at least one is needed")
    if node.version < 8 and len({x.shape for x in data}) > 1:
        raise ModelError(f"shapes {[list(x.shape) for x in data]} differ, which opset {node.version} does not allow")
    checked_shape(np.broadcast_shapes(*(x.shape for x in data)), 8)
    total = reduce(np.add, (x.astype(np.float64) for x in data))
    return np.asarray(total / len(data)).astype(data[0].dtype)


@evaluator("Shrink", outputs=same_type)
def shrink(x: NDArray[Any], *, bias: float = 0.0, lambd: float = 0.5) -> NDArray[Any]:
    """x + bias below -lambd, x - bias above lambd, and 0 between; integers are truncated toward zero."""
    v = x.astype(np.float64)
    if not is_float(x.dtype) and not bias:  # float64 does not hold all integers of 64 bits
        return np.where((v < -lambd) | (v > lambd), x, 0).astype(x.dtype)
    y = np.where(v < -lambd, v + bias, np.where(v > lambd, v - bias, 0.0))
    return y.astype(x.dtype) if is_float(x.dtype) else to_integers(y, x.dtype)
