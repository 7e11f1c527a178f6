"""Operators that read or write elements at indices; an index out of range is an error everywhere."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import axis_of, checked_shape, indices_in, widened
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.graph import Node
from qengine.model.steps import Tensor

Argument = NDArray[Any] | Tensor

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _gather_elements_types(data: Tensor, indices: Tensor, *, axis: int = 0) -> tuple[OutputType]:
    _check_places(data, indices, axis)
    return ((indices.shape, data.dtype),)


@evaluator("GatherElements", outputs=_gather_elements_types)
def gather_elements(data: NDArray[Any], indices: NDArray[Any], *, axis: int = 0) -> NDArray[Any]:
    """The element of data at each place of indices, with the index along one axis."""
    place = _check_places(data, indices, axis)
    return data[_places(data, indices, place)]


def _scatter_elements_types(
    data: Tensor, indices: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none", node: Node
) -> tuple[OutputType]:
    _check_updates(data, indices, updates, axis)
    _check_reduction(data.dtype, reduction, node)
    return ((data.shape, data.dtype),)


@evaluator("Scatter", "ScatterElements", outputs=_scatter_elements_types)
def scatter_elements(
    data: NDArray[Any],
    indices: NDArray[Any],
    updates: NDArray[Any],
    *,
    axis: int = 0,
    reduction: str = "none",
    node: Node,
) -> NDArray[Any]:
    """A copy of data with updates at the places of indices, with the index along one axis."""
    place = _check_updates(data, indices, updates, axis)
    return _written(data, _places(data, indices, place), updates, reduction, node)


def _check_updates(data: Argument, indices: Argument, updates: Argument, axis: int) -> int:
    """Return the axis from the front; raise ModelError for shapes that do not fit."""
    place = _check_places(data, indices, axis)
    if updates.shape != indices.shape:
        raise ModelError(f"updates {list(updates.shape)} and indices {list(indices.shape)} differ in shape")
    return place


def _check_places(data: Argument, indices: Argument, axis: int) -> int:
    """Return the axis from the front; raise ModelError for indices that do not fit the shape of data."""
    place = axis_of(axis, data.ndim)
    if indices.ndim != data.ndim or any(
        n > m for i, (n, m) in enumerate(zip(indices.shape, data.shape, strict=True)) if i != place
    ):
        raise ModelError(
            f"indices {list(indices.shape)} do not fit data {list(data.shape)}: as many axes are needed, and none "
            f"that is longer, other than axis {place}"
        )
    return place


def _places(data: NDArray[Any], indices: NDArray[Any], place: int) -> tuple[NDArray[np.int64], ...]:
    """Return an index for each axis of data, for every element of indices."""
    places = list(np.ix_(*(np.arange(n) for n in indices.shape)))
    places[place] = indices_in(indices, data.shape[place])
    return tuple(places)


def _gather_nd_types(data: Tensor, indices: Tensor, *, batch_dims: int = 0) -> tuple[OutputType]:
    _check_batch(data, indices, batch_dims)
    _, rest = _named_axes(indices.shape, data.shape, batch_dims)
    return (((*indices.shape[:-1], *rest), data.dtype),)


@evaluator("GatherND", outputs=_gather_nd_types)
def gather_nd(data: NDArray[Any], indices: NDArray[Any], *, batch_dims: int = 0) -> NDArray[Any]:
    """The slices of data at the index tuples that are the rows of indices."""
    _check_batch(data, indices, batch_dims)
    flat, rest = _flat_places(indices, data.shape, batch_dims)
    shape = checked_shape((*indices.shape[:-1], *data.shape[batch_dims + indices.shape[-1] :]))
    batches = prod(data.shape[:batch_dims])
    slices = data.reshape(batches, -1 if data.size else flat.size, *rest) if data.size else None
    if slices is None:  # without elements there is nothing to pick, and all indices were checked
        return np.zeros(shape, data.dtype)
    rows = flat.reshape(batches, -1)
    return slices[np.arange(batches)[:, None], rows].reshape(shape)


def _check_batch(data: Argument, indices: Argument, batch_dims: int) -> None:
    if not 0 <= batch_dims < min(data.ndim, indices.ndim):
        raise ModelError(f"batch_dims {batch_dims} is not below the axes of data ({data.ndim}) and indices")
    if data.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise ModelError(f"data {list(data.shape)} and indices {list(indices.shape)} differ in their batch axes")


def _scatter_nd_types(
    data: Tensor, indices: Tensor, updates: Tensor, *, reduction: str = "none", node: Node
) -> tuple[OutputType]:
    _check_slices(data, indices, updates)
    _check_reduction(data.dtype, reduction, node)
    return ((data.shape, data.dtype),)


@evaluator("ScatterND", outputs=_scatter_nd_types)
def scatter_nd(
    data: NDArray[Any], indices: NDArray[Any], updates: NDArray[Any], *, reduction: str = "none", node: Node
) -> NDArray[Any]:
    """A copy of data with updates in the slices at the index tuples that are the rows of indices."""
    _check_slices(data, indices, updates)
    flat, rest = _flat_places(indices, data.shape, 0)
    rows = data.reshape(prod(data.shape[: indices.shape[-1]]), *rest)
    return _written(rows, flat.ravel(), updates.reshape(flat.size, *rest), reduction, node).reshape(data.shape)


def _check_slices(data: Argument, indices: Argument, updates: Argument) -> None:
    if not indices.ndim or not data.ndim:
        raise ModelError(f"indices {list(indices.shape)} and data {list(data.shape)} need at least one axis")
    _, rest = _named_axes(indices.shape, data.shape, 0)
    if updates.shape != (*indices.shape[:-1], *rest):
        raise ModelError(f"updates {list(updates.shape)} do not fit; {[*indices.shape[:-1], *rest]} are needed")


def _named_axes(
    indices: tuple[int, ...], shape: tuple[int, ...], batch_dims: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the lengths of the axes that index tuples name, and of those after them."""
    count = indices[-1]
    if not 1 <= count <= len(shape) - batch_dims:
        raise ModelError(f"indices {list(indices)} name {count} axes of a tensor of shape {list(shape)}")
    return shape[batch_dims : batch_dims + count], shape[batch_dims + count :]


def _flat_places(
    indices: NDArray[Any], shape: tuple[int, ...], batch_dims: int
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Return index tuples as one index each into the axes that they name, and the lengths of the axes after those."""
    named, rest = _named_axes(indices.shape, shape, batch_dims)
    flat = np.zeros(indices.shape[:-1], np.int64)
    for i, length in enumerate(named):
        flat = flat * length + indices_in(indices[..., i], length)
    return flat, rest


def _written(data: NDArray[Any], places: Any, updates: NDArray[Any], reduction: str, node: Node) -> NDArray[Any]:
    """Return data with updates at places, in the order of the updates where places occur twice."""
    _check_reduction(data.dtype, reduction, node)
    if reduction == "none":
        y = data.copy()
        y[places] = updates
        return y
    y = np.array(widened(data))
    _REDUCTIONS[reduction].at(y, places, widened(updates))  # type: ignore[attr-defined]
    return y.astype(data.dtype)


def _check_reduction(dtype: np.dtype[Any], reduction: str, node: Node) -> None:
    # ONNX has "max" and "min" from opset 18 on; torch writes them at 16, and ONNX Runtime computes them there.
    allowed = ["none", *(_REDUCTIONS if node.operator != "Scatter" and node.version >= 16 else ())]
    if reduction not in allowed:
        raise ModelError(f"reduction '{reduction}' is not one of {', '.join(allowed)} at opset {node.version}")
    if reduction != "none" and reduction not in {"O": ["add"], "c": ["add", "mul"]}.get(dtype.kind, allowed):
        raise UnsupportedError(f"reduction '{reduction}' of {dtype} is not supported; real numbers are needed")
