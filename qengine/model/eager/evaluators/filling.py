"""Operators that write a pattern: Trilu, EyeLike, OneHot, Hardmax; and cumulative sums and products."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import axis_of, checked_shape, is_float, one_integer, widened, zero
from qengine.model.eager.evaluator import OutputType, evaluator, known_elements, same_type
from qengine.model.ops.conversion import is_integer, to_integers
from qengine.model.schemas import dtype_of
from qengine.model.steps import Tensor


def _trilu_types(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> tuple[OutputType]:  # noqa: ARG001
    if x.ndim < 2:
        raise ModelError(f"x has shape {list(x.shape)}; at least 2 axes are needed")
    if k is not None:
        known_elements(k)
    return ((x.shape, x.dtype),)


@evaluator("Trilu", outputs=_trilu_types)
def trilu(x: NDArray[Any], k: NDArray[Any] | None = None, *, upper: int = 1) -> NDArray[Any]:
    """The triangle of the last two axes above (or below) diagonal k; all else is 0."""
    if x.ndim < 2:
        raise ModelError(f"x has shape {list(x.shape)}; at least 2 axes are needed")
    distance = _distance(*x.shape[-2:])
    diagonal = 0 if k is None else one_integer(k, "k")
    return np.where(distance >= diagonal if upper else distance <= diagonal, x, zero(x.dtype)).astype(x.dtype)


def _eye_types(x: Tensor, *, dtype: int | None = None, k: int = 0) -> tuple[OutputType]:  # noqa: ARG001
    kind = x.dtype if dtype is None else dtype_of(dtype)
    if x.ndim != 2 or kind.kind in "Oc":
        raise ModelError(f"the input has shape {list(x.shape)} and dtype is {kind}; a matrix of numbers is needed")
    return ((x.shape, kind),)


@evaluator("EyeLike", outputs=_eye_types)
def eye_like(x: NDArray[Any], *, dtype: int | None = None, k: int = 0) -> NDArray[Any]:
    """Ones on diagonal k, and zeros, in the shape of x."""
    if x.ndim != 2:
        raise ModelError(f"the input has shape {list(x.shape)}; 2 axes are needed")
    kind = x.dtype if dtype is None else dtype_of(dtype)
    if kind.kind in "Oc":
        raise ModelError(f"dtype is {kind}; numbers or truth values are needed")
    return np.asarray(_distance(*x.shape) == k).astype(kind)


def _distance(rows: int, columns: int) -> NDArray[np.int64]:
    """Return how far each element of a matrix is to the right of the main diagonal."""
    return np.arange(columns, dtype=np.int64) - np.arange(rows, dtype=np.int64)[:, None]


def _one_hot_types(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> tuple[OutputType]:
    place, length = axis_of(axis, indices.ndim + 1), known_elements(depth)
    if length.size != 1 or values.shape != (2,) or not 0 <= float(length.item()) < 2**62:
        raise ModelError(f"depth {length.tolist()} and values {list(values.shape)}; a number and two values are needed")
    return (((*indices.shape[:place], int(length.item()), *indices.shape[place:]), values.dtype),)


@evaluator("OneHot", outputs=_one_hot_types)
def one_hot(indices: NDArray[Any], depth: NDArray[Any], values: NDArray[Any], *, axis: int = -1) -> NDArray[Any]:
    """values[1] where the new axis has the index, and values[0] elsewhere; an index out of range is nowhere."""
    if depth.size != 1 or depth.ndim > 1:
        raise ModelError(f"depth has shape {list(depth.shape)}; a single number is needed")
    if values.shape != (2,):
        raise ModelError(f"values have shape {list(values.shape)}; two are needed, for off and on")
    length = float(depth.item())
    if not 0 <= length < 2**62:
        raise ModelError(f"depth is {depth.item()}; a number of 0 or more is needed")
    n, place = int(depth.item()), axis_of(axis, indices.ndim + 1)
    checked_shape((*indices.shape[:place], n, *indices.shape[place:]))
    whole = to_integers(indices, np.dtype(np.int64)) if is_float(indices.dtype) else indices
    if whole.dtype != np.uint64:
        whole = whole.astype(np.int64)
        whole = np.where(whole < 0, whole + n, whole)
    counted = np.arange(n, dtype=whole.dtype).reshape(n, *(1,) * (indices.ndim - place))
    return np.asarray(values[(np.expand_dims(whole, place) == counted).astype(np.int64)])


@evaluator("Hardmax", outputs=same_type)
def hardmax(x: NDArray[Any], *, axis: int = 1) -> NDArray[Any]:
    """1 at the first largest element of all axes from `axis` on, and 0 elsewhere."""
    first = x.ndim if axis == x.ndim else axis_of(axis, x.ndim)
    rows = x.reshape(prod(x.shape[:first]), prod(x.shape[first:]))
    return _marked(rows).reshape(x.shape)


@evaluator("Hardmax", since=13, outputs=same_type)
def hardmax_13(x: NDArray[Any], *, axis: int = -1) -> NDArray[Any]:
    """1 at the first largest element along one axis, and 0 elsewhere."""
    place = axis_of(axis, x.ndim)
    return np.ascontiguousarray(np.moveaxis(_marked(np.moveaxis(x, place, -1)), -1, place))


def _marked(rows: NDArray[Any]) -> NDArray[Any]:
    """Return 1 at the first largest element along the last axis, and 0 elsewhere."""
    y = np.zeros(rows.shape, rows.dtype)
    if y.size:
        np.put_along_axis(y, np.argmax(widened(rows), axis=-1)[..., None], np.ones((), y.dtype)[()], axis=-1)
    return y


@evaluator("CumSum", outputs=same_type)
def cumulative_sum(x: NDArray[Any], axis: NDArray[Any], *, exclusive: int = 0, reverse: int = 0) -> NDArray[Any]:
    """Sums of all elements up to each along an axis, without itself where `exclusive`, from the end in `reverse`."""
    return _accumulated(np.add, 0, x, axis, exclusive, reverse)


@evaluator("CumProd", outputs=same_type)
def cumulative_product(x: NDArray[Any], axis: NDArray[Any], *, exclusive: int = 0, reverse: int = 0) -> NDArray[Any]:
    """Products of all elements up to each one along an axis; see `cumulative_sum`."""
    return _accumulated(np.multiply, 1, x, axis, exclusive, reverse)


def _accumulated(
    operation: np.ufunc, neutral: int, x: NDArray[Any], axis: NDArray[Any], exclusive: int, reverse: int
) -> NDArray[Any]:
    """Return cumulative results: integers wrap in their own type, real numbers are rounded once, from float64."""
    place = axis_of(one_integer(axis, "axis"), x.ndim)
    kind = x.dtype if is_integer(x.dtype) else np.dtype(np.float64)
    v = np.moveaxis(x.astype(kind), place, -1)
    v = v[..., ::-1] if reverse else v
    if exclusive:
        v = np.concatenate([np.full((*v.shape[:-1], 1), neutral, kind), v[..., :-1]], axis=-1)[..., : v.shape[-1]]
    y = operation.accumulate(v, axis=-1, dtype=kind)
    y = y[..., ::-1] if reverse else y
    return np.ascontiguousarray(np.moveaxis(y, -1, place)).astype(x.dtype)
