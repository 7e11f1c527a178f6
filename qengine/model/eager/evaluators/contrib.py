"""Operators of ONNX Runtime's own domain, com.microsoft, that no operators of ONNX express."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import axis_of, check_shape, checked_shape, is_float, widened
from qengine.model.eager.evaluator import evaluator

_DOMAIN = "com.microsoft"


def _check_real(x: NDArray[Any], what: str) -> None:
    if not is_float(x.dtype):
        raise ModelError(f"{what} is {x.dtype}; real numbers are needed")


@evaluator("Inverse", domain=_DOMAIN)
def inverse(x: NDArray[Any]) -> NDArray[Any]:
    """The inverse of each matrix."""
    _check_real(x, "X")
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ModelError(f"X has the shape {list(x.shape)}; matrices with as many rows as columns are needed")
    try:
        return np.asarray(np.linalg.inv(x.astype(np.float64)).astype(x.dtype))
    except np.linalg.LinAlgError:
        raise ModelError("X has a matrix without an inverse") from None


@evaluator("Irfft", domain=_DOMAIN)
def irfft(x: NDArray[Any], *, signal_ndim: int, onesided: int = 1, normalized: int = 0) -> NDArray[Any]:
    """The real signals whose transforms have these first halves, in real and imaginary parts."""
    if (signal_ndim, onesided, normalized) != (1, 1, 0):
        raise UnsupportedError(
            f"has signal_ndim {signal_ndim}, onesided {onesided} and normalized {normalized}; 1, 1 and 0 are supported"
        )
    _check_real(x, "X")
    if x.ndim < 2 or x.shape[-1] != 2 or x.shape[-2] < 2:
        raise ModelError(f"X has the shape {list(x.shape)}; two or more frequencies of two parts each are needed")
    parts = x.astype(np.float64)
    return np.asarray(np.fft.irfft(parts[..., 0] + 1j * parts[..., 1], axis=-1).astype(x.dtype))


@evaluator("CDist", domain=_DOMAIN)
def cdist(a: NDArray[Any], b: NDArray[Any], *, metric: str = "sqeuclidean") -> NDArray[Any]:
    """The distance between each row of A and each row of B, or its square."""
    if metric not in ("sqeuclidean", "euclidean"):
        raise UnsupportedError(f"has the metric '{metric}'; sqeuclidean and euclidean are supported")
    _check_real(a, "A")
    check_shape(a, (None, None), "A")
    check_shape(b, (None, a.shape[1]), "B")
    checked_shape((a.shape[0], b.shape[0]))
    rows, others = a.astype(np.float64), b.astype(np.float64)
    squares = (rows**2).sum(1)[:, None] + (others**2).sum(1) - 2.0 * (rows @ others.T)
    squares = np.maximum(squares, 0.0)
    return np.asarray(np.sqrt(squares) if metric == "euclidean" else squares, a.dtype)


@evaluator("UnfoldTensor", domain=_DOMAIN)
def unfold_tensor(x: NDArray[Any], *, dim: int = -1, size: int, step: int = 1) -> NDArray[Any]:
    """Every slice of a length along an axis, as a new last axis."""
    axis = axis_of(dim, x.ndim)
    if not 1 <= size <= x.shape[axis] or step < 1:
        raise ModelError(f"size {size} and step {step} give no slices of an axis of length {x.shape[axis]}")
    views = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    views = views[(*[slice(None)] * axis, slice(None, None, step))]
    checked_shape(views.shape)
    return np.ascontiguousarray(views)


@evaluator("CropAndResize", domain=_DOMAIN)
def crop_and_resize(
    x: NDArray[Any],
    rois: NDArray[Any],
    batch_indices: NDArray[Any],
    crop_size: NDArray[Any],
    *,
    extrapolation_value: float = 0.0,
    mode: str = "bilinear",
) -> NDArray[Any]:
    """Boxes of images, resized to one size with their corners aligned."""
    if mode not in ("bilinear", "nearest"):
        raise ModelError(f"mode is '{mode}'; bilinear or nearest is needed")
    _check_real(x, "X")
    _check_real(rois, "rois")
    check_shape(x, (None, None, None, None), "X")
    if 0 in x.shape[2:]:
        raise ModelError(f"X has the shape {list(x.shape)}; images with a pixel or more are needed")
    check_shape(rois, (None, 4), "rois")
    check_shape(batch_indices, (rois.shape[0],), "batch_indices")
    check_shape(crop_size, (2,), "crop_size")
    if batch_indices.size and not 0 <= batch_indices.min() <= batch_indices.max() < x.shape[0]:
        raise ModelError(f"batch_indices has an index outside of 0..{x.shape[0] - 1}")
    height, width = (int(n) for n in crop_size)
    if height < 1 or width < 1:
        raise ModelError(f"crop_size is {height}, {width}; positive lengths are needed")
    checked_shape((rois.shape[0], x.shape[1], height, width))
    images, boxes = widened(x), widened(rois)
    rows, inside_rows = _positions(boxes[:, 0], boxes[:, 2], height, x.shape[2])
    columns, inside_columns = _positions(boxes[:, 1], boxes[:, 3], width, x.shape[3])
    inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    chosen = images[batch_indices]
    sample = _nearest if mode == "nearest" else _bilinear
    values = sample(sample(chosen, rows, 2), columns, 3)
    return np.where(inside, values, np.asarray(extrapolation_value, values.dtype)).astype(x.dtype)


def _positions(start: NDArray[Any], end: NDArray[Any], count: int, length: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the coordinates of `count` samples between two edges in 0..1, for each box, and which are in the image."""
    last = start.dtype.type(length - 1)
    if count > 1:
        step = (end * last - start * last) / start.dtype.type(count - 1)
        places = (start * last)[:, None] + np.arange(count, dtype=start.dtype) * step[:, None]
    else:
        places = (start.dtype.type(0.5) * (start + end) * last)[:, None]
    inside = (places >= 0) & (places <= last)
    return np.where(inside, places, 0), inside


def _nearest(images: NDArray[Any], places: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the elements of an axis that are nearest to coordinates, halves rounded up."""
    low = np.floor(places)
    return _taken(images, (low + (places - low >= 0.5)).astype(np.int64), axis)


def _bilinear(images: NDArray[Any], places: NDArray[Any], axis: int) -> NDArray[Any]:
    """Return the elements of an axis at coordinates, interpolated between two neighbours."""
    low, high = np.floor(places), np.ceil(places)
    shape = [places.shape[0], 1, 1, 1]
    shape[axis] = places.shape[1]
    weight = (places - low).reshape(shape).astype(images.dtype)
    first, second = (_taken(images, one.astype(np.int64), axis) for one in (low, high))
    return np.asarray(first + (second - first) * weight)


def _taken(images: NDArray[Any], index: NDArray[np.int64], axis: int) -> NDArray[Any]:
    shape = [index.shape[0], 1, 1, 1]
    shape[axis] = index.shape[1]
    return np.take_along_axis(images, index.reshape(shape), axis)
