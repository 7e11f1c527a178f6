"""Element types, numbers, axes, indices and sizes, read and checked in the same way by all evaluators."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import ModelError
from qengine.model.schemas import DTYPES
from qengine.model.steps import Tensor

Reals = NDArray[np.float64]

REALS = ("float16", "float32", "float64", "bfloat16")
"""Names of the types of real numbers that most operators take."""


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real numbers, those of ONNX's narrow types included, for which NumPy has another kind."""
    return dtype.name.startswith(("float", "bfloat"))


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real numbers with fewer bits than float32."""
    return is_float(dtype) and dtype.itemsize < 4


def widened(x: NDArray[Any]) -> NDArray[Any]:
    """Return float16, bfloat16 and narrower numbers as float32, and any other array unchanged."""
    return x.astype(np.float32) if is_narrow(x.dtype) else x


def reals(x: NDArray[Any]) -> Reals:
    """Return real numbers of any type in float64."""
    return np.asarray(x, np.float64)


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
    dtype = DTYPES.get(code)
    if dtype is None or dtype.name not in allowed:
        raise ModelError(f"{what} {code} is not a type that the operator allows, which are {', '.join(allowed)}")
    return dtype


def zero(dtype: np.dtype[Any]) -> Any:
    """Return the element that fills a tensor of a type by default: 0, false or the empty text."""
    return "" if dtype.kind == "O" else np.zeros((), dtype)[()]


def axis_of(axis: int, ndim: int) -> int:
    """Return an axis counted from the front; raise ModelError where there is no such axis."""
    if not -ndim <= axis < ndim:
        raise ModelError(f"axis {axis} is out of range for a tensor with {ndim} axes")
    return axis % ndim


def axes_of(axes: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return axes counted from the front; raise ModelError where one is out of range or occurs twice."""
    front = tuple(axis_of(axis, ndim) for axis in axes)
    if len(set(front)) < len(front):
        raise ModelError(f"axes {list(axes)} occur twice")
    return front


def scalar(x: NDArray[Any] | None, what: str) -> Any:
    """Return the only element of an input, of any number of axes, as a Python number; None for None.

    Raises
    ------
    ModelError
        If there are more or fewer elements; `what` names the input.
    """
    if x is None:
        return None
    if x.size != 1:
        raise ModelError(f"{what} of shape {list(x.shape)} must be a single number")
    return x.item()


def one_integer(x: NDArray[Any], what: str) -> int:
    """Return the single integer of an input, which has no axes or one of length 1.

    Raises
    ------
    ModelError
        If there is another number of elements or another type; `what` names the input.
    """
    if x.size != 1 or x.ndim > 1 or x.dtype.kind not in "iu":
        raise ModelError(f"{what} of shape {list(x.shape)} is {x.dtype}; a single integer is needed")
    return int(x.item())


def indices_in(indices: NDArray[Any], length: int, what: str = "an index") -> NDArray[np.int64]:
    """Return indices into an axis as integers from 0 on; negative ones count from the back.

    Raises
    ------
    ModelError
        If one is outside of -length..length-1.
    """
    if indices.dtype.kind not in "iu":
        raise ModelError(f"indices are {indices.dtype}; int32 or int64 is needed")
    if indices.size and not (-length <= int(indices.min()) and int(indices.max()) < length):
        worst = int(indices.max()) if int(indices.max()) >= length else int(indices.min())
        raise ModelError(f"{what} is {worst}, outside of {-length}..{length - 1}")
    found = indices.astype(np.int64)
    return np.where(found < 0, found + length, found)


def check_shape(x: NDArray[Any] | Tensor, shape: Sequence[int | None], what: str) -> None:
    """Raise ModelError if an array has another shape; None stands for any length, and `what` names the array."""
    if x.ndim != len(shape) or any(n is not None and m != n for m, n in zip(x.shape, shape, strict=True)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ModelError(f"{what} has the shape {list(x.shape)}, [{wanted}] is needed")


def broadcast(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return views of arrays in the shape that they broadcast to; see `checked_shape` for the errors."""
    shape = checked_shape(np.broadcast_shapes(*(x.shape for x in arrays)), max(x.itemsize for x in arrays))
    return tuple(np.broadcast_to(x, shape) for x in arrays)


def checked_shape(shape: Sequence[int], itemsize: int = 4, what: str = "a result") -> tuple[int, ...]:
    """Return the shape of a result that is not too large to be allocated.

    Parameters
    ----------
    shape
        Length of each axis.
    itemsize
        Bytes of an element, with those of intermediate arrays of the same shape.
    what
        Noun for the messages.

    Raises
    ------
    ModelError
        If a length is negative.
    UnsupportedError
        If there are more elements than a tensor may have, or more bytes than the run may use.
    """
    if min(shape, default=0) < 0:
        raise ModelError(f"{what} of shape {list(shape)} has a negative length")
    memory.check_elements(shape, what)
    memory.require(prod(shape) * itemsize, f"{what} of {' x '.join(map(str, shape))}")
    return tuple(shape)
