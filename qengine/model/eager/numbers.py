"""Element types and sizes of arrays that evaluators compute."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.ops.shape import ELEMENTS

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
REALS = ("float16", "float32", "float64", "bfloat16")

_TYPES = {**ELEMENTS, 16: "bfloat16"}
_MAX_BYTES = 1 << 31
"""Largest array that an evaluator makes."""


def check_size(shape: Sequence[int], itemsize: int, what: str) -> None:
    """Raise UnsupportedError if an array would be too large; call it before the array is made.

    Parameters
    ----------
    shape
        Lengths of its axes.
    itemsize
        Bytes of an element.
    what
        Noun for the message.
    """
    if prod(map(int, shape)) * itemsize > _MAX_BYTES:
        raise UnsupportedError(
            f"{what} of {' x '.join(map(str, shape))} elements would take more than {_MAX_BYTES >> 30} GiB; "
            "make the inputs or attributes smaller"
        )


def working_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that arithmetic on real numbers is done in: float64 if one of them is float64, else float32."""
    return np.dtype(np.float64 if np.dtype(np.float64) in dtypes else np.float32)


def element_dtype(code: int, allowed: Collection[str], what: str) -> np.dtype[Any]:
    """Return the type that ONNX numbers so (TensorProto.DataType).

    Parameters
    ----------
    code
        ONNX's number.
    allowed
        Names of the types that the operator allows.
    what
        Name of the attribute that holds the number.

    Raises
    ------
    ModelError
        If the operator does not allow the type.
    """
    name = _TYPES.get(code)
    if name is None or name not in allowed:
        raise ModelError(f"{what} {code} is not a type that the operator allows, which are {', '.join(allowed)}")
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def scalar(array: NDArray[Any] | None, what: str) -> Any:
    """Return the only element of an array as a Python number; None for None.

    Raises
    ------
    ModelError
        If it has more or fewer elements.
    """
    if array is None:
        return None
    if array.size != 1:
        raise ModelError(f"{what} of shape {list(array.shape)} must be a single number")
    return array.item()


def axis_index(axis: int, ndim: int, what: str = "axis") -> int:
    """Return an axis counted from the front.

    Raises
    ------
    ModelError
        If it is out of range.
    """
    if not -ndim <= axis < ndim:
        raise ModelError(f"{what} {axis} is out of range for {ndim} axes")
    return axis % ndim
