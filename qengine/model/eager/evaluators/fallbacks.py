"""Operators with a handler, for the types and inputs that the handler does not take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference import functions as f
from qengine.model.eager.elements import broadcast, is_float
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.ops.conversion import to_integers
from qengine.model.ops.functions import integer_power
from qengine.model.steps import Tensor


@evaluator("Equal")
def equal(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Whether two elements are equal, texts and bfloat16 too."""
    a, b = broadcast(a, b)
    return np.asarray(a == b).astype(bool)


def _power_types(x: Tensor, exponent: Tensor) -> tuple[OutputType]:
    return ((np.broadcast_shapes(x.shape, exponent.shape), x.dtype),)


@evaluator("Pow", outputs=_power_types)
def power(x: NDArray[Any], exponent: NDArray[Any]) -> NDArray[Any]:
    """x to powers that broadcast with it, in the type of x."""
    x, exponent = broadcast(x, exponent)
    if is_float(x.dtype):
        return np.asarray(np.power(x.astype(np.float64), exponent.astype(np.float64))).astype(x.dtype)
    return integer_power(x, exponent)


@evaluator("Erf")
def erf(x: NDArray[Any]) -> NDArray[Any]:
    """The error function; that of integers is truncated toward zero."""
    y = f.erf(x.astype(np.float64))
    return y.astype(x.dtype) if is_float(x.dtype) else to_integers(y, x.dtype)


@evaluator("Dropout")
def dropout_1(data: NDArray[Any], *, ratio: float = 0.5) -> tuple[NDArray[Any], NDArray[Any]]:  # noqa: ARG001
    """The input itself and a mask of ones, which before opset 10 has the type of the input."""
    return data.copy(), np.ones_like(data)


@evaluator("Dropout", since=12)
def dropout(
    data: NDArray[Any],
    ratio: NDArray[Any] | None = None,
    training_mode: NDArray[Any] | None = None,
    *,
    seed: int | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The input itself and a mask that is true everywhere; in training a mask of the numbers that a seed gives."""
    share = 0.5 if ratio is None else float(ratio.item()) if ratio.size == 1 else np.nan
    if training_mode is None or not training_mode.any() or share == 0:
        return data.copy(), np.ones(data.shape, bool)
    if not 0 <= share < 1:
        raise ModelError(f"ratio is {share}, outside of 0..1")
    if seed is None:
        raise UnsupportedError("training_mode is on, and drops elements at random; export the model in eval mode")
    # ONNX names no generator. Its test suite has the numbers of this one.
    mask = np.random.RandomState(seed % (1 << 32)).uniform(0, 1, data.shape) >= share
    return (mask * data.astype(np.float64) / (1 - share)).astype(data.dtype), mask
