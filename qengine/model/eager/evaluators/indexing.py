"""Operators that read or write elements at indices; an index out of range is an error everywhere."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import axis_of, checked_shape, indices_in, widened
from qengine.model.eager.evaluator import evaluator
from qengine.model.graph import Node

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


@evaluator("GatherElements")
def gather_elements(data: NDArray[Any], indices: NDArray[Any], *, axis: int = 0) -> NDArray[Any]:
    """The element of data at each place of indices, with the index along one axis."""
    place = _check_places(data, indices, axis)
    return data[_places(data, indices, place)]


@evaluator("Scatter", "ScatterElements")
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
    place = _check_places(data, indices, axis)
    if updates.shape != indices.shape:
        raise ModelError(f"updates {list(updates.shape)} and indices {list(indices.shape)} differ in shape")
    return _written(data, _places(data, indices, place), updates, reduction, node)


def _check_places(data: NDArray[Any], indices: NDArray[Any], axis: int) -> int:
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


@evaluator("GatherND")
def gather_nd(data: NDArray[Any], indices: NDArray[Any], *, batch_dims: int = 0) -> NDArray[Any]:
    """The slices of data at the index tuples that are the rows of indices."""
    if not 0 <= batch_dims < min(data.ndim, indices.ndim):
        raise ModelError(f"batch_dims {batch_dims} is not below the axes of data ({data.ndim}) and indices")
    if data.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise ModelError(f"data {list(data.shape)} and indices {list(indices.shape)} differ in their batch axes")
    flat, rest = _flat_places(indices, data.shape, batch_dims)
    shape = checked_shape((*indices.shape[:-1], *data.shape[batch_dims + indices.shape[-1] :]))
    batches = prod(data.shape[:batch_dims])
    slices = data.reshape(batches, -1 if data.size else flat.size, *rest) if data.size else None
    if slices is None:  # without elements there is nothing to pick, and all indices were checked
        return np.zeros(shape, data.dtype)
    rows = flat.reshape(batches, -1)
    return slices[np.arange(batches)[:, None], rows].reshape(shape)


@evaluator("ScatterND")
def scatter_nd(
    data: NDArray[Any], indices: NDArray[Any], updates: NDArray[Any], *, reduction: str = "none", node: Node
) -> NDArray[Any]:
    """A copy of data with updates in the slices at the index tuples that are the rows of indices."""
    if not indices.ndim or not data.ndim:
        raise ModelError(f"indices {list(indices.shape)} and data {list(data.shape)} need at least one axis")
    flat, rest = _flat_places(indices, data.shape, 0)
    if updates.shape != (*indices.shape[:-1], *rest):
        raise ModelError(f"updates {list(updates.shape)} do not fit; {[*indices.shape[:-1], *rest]} are needed")
    rows = data.reshape(prod(data.shape[: indices.shape[-1]]), *rest)
    return _written(rows, flat.ravel(), updates.reshape(flat.size, *rest), reduction, node).reshape(data.shape)


def _flat_places(
    indices: NDArray[Any], shape: tuple[int, ...], batch_dims: int
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Return index tuples as one index each into the axes that they name, and the lengths of the axes after those."""
    count = indices.shape[-1]
    named, rest = shape[batch_dims : batch_dims + count], shape[batch_dims + count :]
    if not 1 <= count <= len(shape) - batch_dims:
        raise ModelError(f"indices {list(indices.shape)} name {count} axes of a tensor of shape {list(shape)}")
    flat = np.zeros(indices.shape[:-1], np.int64)
    for i, length in enumerate(named):
        flat = flat * length + indices_in(indices[..., i], length)
    return flat, rest


def _written(data: NDArray[Any], places: Any, updates: NDArray[Any], reduction: str, node: Node) -> NDArray[Any]:
    """Return data with updates at places, in the order of the updates where places occur twice."""
    # ONNX has "max" and "min" from opset 18 on; torch writes them at 16, and ONNX Runtime computes them there.
    allowed = ["none", *(_REDUCTIONS if node.operator != "Scatter" and node.version >= 16 else ())]
    if reduction not in allowed:
        raise ModelError(f"reduction '{reduction}' is not one of {', '.join(allowed)} at opset {node.version}")
    if reduction == "none":
        y = data.copy()
        y[places] = updates
        return y
    if reduction not in {"O": ["add"], "c": ["add", "mul"]}.get(data.dtype.kind, allowed):
        raise UnsupportedError(f"reduction '{reduction}' of {data.dtype} is not supported; real numbers are needed")
    y = np.array(widened(data))
    _REDUCTIONS[reduction].at(y, places, widened(updates))  # type: ignore[attr-defined]
    return y.astype(data.dtype)
