"""MaxRoiPool and RoiAlign: pools over regions of an image.

Coordinates are computed in float32, or in float64 where X is float64, in the order of ONNX Runtime: their rounding
decides which elements a region has.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference.rounding import round_real
from qengine.model.eager.elements import Reals, check_shape, checked_shape, reals, widened
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.steps import Tensor

_MAX_SAMPLES = 1 << 22
"""Largest number of coordinates along an axis of a region at which RoiAlign interpolates."""


def _scaled(rois: NDArray[Any], spatial_scale: float) -> NDArray[Any]:
    """Return the corners of regions in the coordinates of X."""
    if not np.isfinite(reals(rois)).all():
        raise ModelError("rois has elements that are infinite or NaN")
    return np.asarray(widened(rois) * widened(rois).dtype.type(spatial_scale))


def _check_batch(indices: NDArray[Any], x: NDArray[Any]) -> NDArray[np.int64]:
    wrong = indices[(indices < 0) | (indices >= x.shape[0])]
    if wrong.size:
        raise ModelError(f"a region is of image {int(wrong[-1])}, X has {x.shape[0]} images")
    return indices.astype(np.int64)


def _max_roi_types(x: Tensor, rois: Tensor, *, pooled_shape: tuple[int, ...], **_: Any) -> tuple[OutputType]:
    check_shape(x, (None, None, None, None), "X")
    return (((rois.shape[0], x.shape[1], *pooled_shape), x.dtype),)


@evaluator("MaxRoiPool", outputs=_max_roi_types)
def max_roi_pool(
    x: NDArray[Any], rois: NDArray[Any], *, pooled_shape: tuple[int, ...], spatial_scale: float = 1.0
) -> NDArray[Any]:
    """The largest element of each part of each region, 0 where a part has none."""
    check_shape(x, (None, None, None, None), "X")
    check_shape(rois, (None, 5), "rois")
    if len(pooled_shape) != 2 or min(pooled_shape) < 1:
        raise ModelError(f"pooled_shape is {list(pooled_shape)}, two positive numbers are needed")
    y = np.zeros(checked_shape((rois.shape[0], x.shape[1], *pooled_shape)), x.dtype)
    whole = reals(rois[:, 0])
    if (whole != np.trunc(whole)).any():
        raise ModelError("the first number of a region is the index of an image; an integer is needed")
    batch = _check_batch(whole, x)
    corners = round_real(reals(_scaled(rois[:, 1:], spatial_scale)), "half_away")
    # Beyond 2^30 a corner is far outside of every image, and lengths stay exact.
    corners = corners.clip(-(2.0**30), 2.0**30).astype(np.int64)
    for region, (image, (left, top, right, bottom)) in enumerate(zip(batch, corners, strict=True)):
        rows = _parts(int(top), int(bottom), pooled_shape[0], x.shape[2])
        columns = _parts(int(left), int(right), pooled_shape[1], x.shape[3])
        inside = x[image][:, rows[0].min() : rows[1].max(), columns[0].min() : columns[1].max()]
        if inside.size:
            across = _largest(inside, columns, 2)
            y[region] = _largest(across, rows, 1)
            y[region][:, rows[0] >= rows[1]] = 0
            y[region][:, :, columns[0] >= columns[1]] = 0
    return y


def _parts(first: int, last: int, count: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each of `count` parts of a region begins and ends along an axis, inside of the image."""
    size = np.float32(max(last - first + 1, 1)) / np.float32(count)
    steps = np.arange(count + 1).astype(np.float32) * size
    begins, ends = np.floor(steps[:-1]).astype(np.int64), np.ceil(steps[1:]).astype(np.int64)
    return (begins + first).clip(0, length), (ends + first).clip(0, length)


def _largest(x: NDArray[Any], parts: tuple[NDArray[np.int64], NDArray[np.int64]], axis: int) -> NDArray[Any]:
    """Return the largest element of each part along an axis that has these parts alone; any for an empty part."""
    begins, ends = parts[0] - parts[0].min(), parts[1] - parts[0].min()
    y = np.zeros((*x.shape[:axis], len(begins), *x.shape[axis + 1 :]), x.dtype)
    for i, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if begin < end:
            np.maximum.reduce(
                x[(slice(None),) * axis + (slice(begin, end),)], axis, out=y[(slice(None),) * axis + (i,)]
            )
    return y


@dataclass(frozen=True)
class _Samples:
    """Coordinates along an axis at which parts of a region are interpolated.

    Attributes
    ----------
    low, high : elements before and after each coordinate.
    weights : weights of both, 0 for a coordinate outside of the image.
    parts, each : number of parts, and of coordinates in each.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    weights: tuple[NDArray[Any], NDArray[Any]]
    parts: int
    each: int

    @classmethod
    def of(cls, first: Any, last: Any, parts: int, sampling_ratio: int, length: int, *, half_pixel: bool) -> _Samples:
        """Return the coordinates of a region from `first` to `last`, in the precision of these."""
        real = type(first)
        offset = real(0.5 if half_pixel else 0.0)
        start = first - offset
        extent = (last - offset) - start
        extent = extent if half_pixel else max(extent, real(1))
        size = extent / real(parts)
        each = sampling_ratio if sampling_ratio > 0 else max(int(np.ceil(size)), 0)
        if parts * each > _MAX_SAMPLES:
            raise UnsupportedError(
                f"a region of {extent:.4g} elements in {parts} parts has {parts * each:,} coordinates along an axis, "
                f"at most {_MAX_SAMPLES:,} are supported; set sampling_ratio"
            )
        part, i = np.divmod(np.arange(parts * each), max(each, 1))
        at = start + part.astype(real) * size + (i.astype(real) + real(0.5)) * size / real(each or 1)
        inside = (at >= -1) & (at <= length)
        at = np.where(inside, np.maximum(at, real(0)), real(0))
        low = at.astype(np.int64)
        at = np.where(low >= length - 1, real(length - 1), at)
        low = np.minimum(low, length - 1)
        fraction = at - low.astype(real)
        weights = (np.where(inside, 1 - fraction, 0), np.where(inside, fraction, 0))
        return cls(low, np.minimum(low + 1, length - 1), weights, parts, each)

    def matrix(self, length: int) -> Reals:
        """Return the sum of the weights of each element in each part."""
        matrix = np.zeros((self.parts, length))
        part = np.arange(self.parts * self.each) // max(self.each, 1)
        for places, weights in zip((self.low, self.high), self.weights, strict=True):
            np.add.at(matrix, (part, places), weights)
        return matrix

    def part(self, index: int) -> _Samples:
        """Return the coordinates of a part alone."""
        own = slice(index * self.each, (index + 1) * self.each)
        low, high = self.weights
        return _Samples(self.low[own], self.high[own], (low[own], high[own]), 1, self.each)


def _averages(x: Reals, rows: _Samples, columns: _Samples) -> Reals:
    if not rows.each * columns.each:
        return np.zeros((x.shape[0], rows.parts, columns.parts))
    inside = x[:, rows.low.min() : rows.high.max() + 1, columns.low.min() : columns.high.max() + 1]
    across = inside @ columns.matrix(x.shape[2])[:, columns.low.min() : columns.high.max() + 1].T
    total = rows.matrix(x.shape[1])[:, rows.low.min() : rows.high.max() + 1] @ across
    return np.asarray(total / (rows.each * columns.each))


def _maxima(x: Reals, rows: _Samples, columns: _Samples) -> Reals:
    """Return the largest of the four weighted elements around each coordinate, which are not added."""
    y = np.zeros((x.shape[0], rows.parts, columns.parts))
    if not rows.each * columns.each:
        return y
    checked_shape((x.shape[0], rows.each, columns.low.size))
    for index in range(rows.parts):
        row = rows.part(index)
        corners = product(
            zip((row.low, row.high), row.weights, strict=True),
            zip((columns.low, columns.high), columns.weights, strict=True),
        )
        largest = np.full((x.shape[0], rows.each, columns.low.size), -np.inf)
        for (above, height), (left, width) in corners:
            weights = np.multiply.outer(height, width)
            largest = np.maximum(largest, np.where(weights > 0, weights * x[:, above][:, :, left], 0.0))
        blocks = largest.max(1).reshape(x.shape[0], columns.parts, columns.each)
        y[:, index] = blocks.max(2)
    return y


def _aligned(
    data: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    mode: str,
    shape: tuple[int, int],
    sampling_ratio: int,
    spatial_scale: float,
    *,
    half_pixel: bool,
) -> NDArray[Any]:
    x, rois, batch_indices = data
    check_shape(x, (None, None, None, None), "X")
    check_shape(rois, (None, 4), "rois")
    check_shape(batch_indices, rois.shape[:1], "batch_indices")
    if mode not in ("avg", "max"):
        raise ModelError(f"mode '{mode}' is not avg or max")
    if min(shape) < 1 or sampling_ratio < 0:
        raise ModelError(
            f"output_height {shape[0]}, output_width {shape[1]} must be positive and "
            f"sampling_ratio {sampling_ratio} 0 or more"
        )
    y = np.zeros(checked_shape((len(rois), x.shape[1], *shape)), x.dtype)
    batch, corners = _check_batch(batch_indices, x), _scaled(rois, spatial_scale)
    if not y.size:
        return y
    if not all(x.shape[2:]):
        raise ModelError(f"X {list(x.shape)} has no elements to interpolate")
    pool = _averages if mode == "avg" else _maxima
    images = reals(x)
    for region, (image, (left, top, right, bottom)) in enumerate(zip(batch, corners, strict=True)):
        rows = _Samples.of(top, bottom, shape[0], sampling_ratio, x.shape[2], half_pixel=half_pixel)
        columns = _Samples.of(left, right, shape[1], sampling_ratio, x.shape[3], half_pixel=half_pixel)
        y[region] = pool(images[image], rows, columns)
    return y


def _aligned_types(
    x: Tensor, rois: Tensor, batch_indices: Tensor, *, output_height: int = 1, output_width: int = 1, **_: Any
) -> tuple[OutputType]:
    check_shape(x, (None, None, None, None), "X")
    check_shape(batch_indices, rois.shape[:1], "batch_indices")
    return (((rois.shape[0], x.shape[1], output_height, output_width), x.dtype),)


@evaluator("RoiAlign", since=10, outputs=_aligned_types)
def roi_align_10(
    x: NDArray[Any],
    rois: NDArray[Any],
    batch_indices: NDArray[Any],
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> NDArray[Any]:
    """Pools of interpolated elements; coordinates of pixels are their corners."""
    shape = (output_height, output_width)
    return _aligned((x, rois, batch_indices), mode, shape, sampling_ratio, spatial_scale, half_pixel=False)


@evaluator("RoiAlign", since=16, outputs=_aligned_types)
def roi_align_16(
    x: NDArray[Any],
    rois: NDArray[Any],
    batch_indices: NDArray[Any],
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> NDArray[Any]:
    """Pools of interpolated elements; coordinates of pixels are their centres, unless the attribute says otherwise."""
    if coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
        raise ModelError(
            f"coordinate_transformation_mode '{coordinate_transformation_mode}' is not half_pixel or output_half_pixel"
        )
    half_pixel = coordinate_transformation_mode == "half_pixel"
    shape = (output_height, output_width)
    return _aligned((x, rois, batch_indices), mode, shape, sampling_ratio, spatial_scale, half_pixel=half_pixel)
