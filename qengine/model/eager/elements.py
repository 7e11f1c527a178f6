"""Element types, axes, indices and sizes, read and checked in the same way by all evaluators."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine import memory
from qengine.errors import ModelError, UnsupportedError

MAX_ELEMENTS = 1 << 30
"""Largest number of elements of a result whose size an attribute or the elements of an input decide."""


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real numbers, those of ONNX's narrow types included, for which NumPy has another kind."""
    return dtype.name.startswith(("float", "bfloat"))


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real numbers with fewer bits than float32."""
    return is_float(dtype) and dtype.itemsize < 4


def widened(x: NDArray[Any]) -> NDArray[Any]:
    """Return float16, bfloat16 and narrower numbers as float32, and any other array unchanged."""
    return x.astype(np.float32) if is_narrow(x.dtype) else x


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


def checked_shape(shape: Sequence[int], itemsize: int = 4) -> tuple[int, ...]:
    """Return the shape of a result that is not too large to be allocated.

    Parameters
    ----------
    shape
        Length of each axis.
    itemsize
        Bytes of an element, with those of intermediate arrays of the same shape.

    Raises
    ------
    ModelError
        If a length is negative.
    UnsupportedError
        If there are more than `MAX_ELEMENTS` elements, or more bytes than the run may use.
    """
    if min(shape, default=0) < 0:
        raise ModelError(f"a result of shape {list(shape)} has a negative length")
    if prod(shape) > MAX_ELEMENTS:
        raise UnsupportedError(f"a result of {' x '.join(map(str, shape))} has more than {MAX_ELEMENTS:,} elements")
    memory.require(prod(shape) * itemsize, f"a result of {' x '.join(map(str, shape))}")
    return tuple(shape)
