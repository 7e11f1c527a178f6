"""GridSample: coordinates of the input from a grid, taps around them, and weighted sums over the taps."""

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CUBIC_A = -0.75
_MAX_COORDINATE = 1e6
"""Limit of the magnitude of coordinates: beyond it lies only padding."""


def grid_sample(
    x: NDArray[Any], grid: NDArray[Any], *, mode: str, padding: str, align_corners: bool
) -> NDArray[np.float64]:
    """Return x at the coordinates of a grid, in float64.

    Parameters
    ----------
    x : (N, C, spatial...)
    grid : (N, out..., axes), coordinates with the last axis of x first; -1 and 1 are the ends of an axis.
    mode : "nearest", "linear" or "cubic".
    padding : values outside of x: "zeros", "border" or "reflection".
    align_corners : whether the ends are the centres of the outermost cells instead of their outer edges.
    """
    count, channels, *sizes = x.shape
    taps = []
    for size, at in zip(sizes, np.moveaxis(grid, -1, 0)[::-1].astype(np.float64), strict=True):
        place = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        place = np.clip(np.nan_to_num(place, nan=-_MAX_COORDINATE), -_MAX_COORDINATE, _MAX_COORDINATE)
        taps.append(_taps(place.reshape(count, -1), size, mode, padding, align_corners))
    cells = x.reshape(count, channels, prod(sizes)).astype(np.float64)
    total = np.zeros((count, channels, prod(grid.shape[1:-1])))
    for chosen in product(*(range(len(index)) for index, _ in taps)):
        flat: Any = 0
        weight: Any = 1.0
        for (index, weights), tap, size in zip(taps, chosen, sizes, strict=True):
            flat = flat * size + index[tap]
            weight = weight * weights[tap]
        total += np.take_along_axis(cells, flat[:, None], axis=2) * weight[:, None]
    return total.reshape(count, channels, *grid.shape[1:-1])


def _taps(
    place: NDArray[np.float64], size: int, mode: str, padding: str, align_corners: bool
) -> tuple[list[NDArray[np.intp]], list[NDArray[np.float64]]]:
    """Return the input indices of each tap, and their weights."""
    if mode != "cubic":  # of a cubic interpolation the taps are moved inside, as in torch
        place = _inside(place, size, padding, align_corners)
    if mode == "nearest":
        places, weights = [np.rint(place)], [np.ones_like(place)]
    else:
        first = np.floor(place)
        rest = place - first
        if mode == "linear":
            places, weights = [first, first + 1], [1 - rest, rest]
        else:
            places = [first + k for k in (-1, 0, 1, 2)]
            weights = [_cubic(rest - k) for k in (-1, 0, 1, 2)]
            places = [_inside(one, size, padding, align_corners) for one in places]
    index = [np.clip(one, 0, size - 1).astype(np.intp) for one in places]
    return index, [w * ((p >= 0) & (p <= size - 1)) for w, p in zip(weights, places, strict=True)]


def _inside(place: NDArray[np.float64], size: int, padding: str, align_corners: bool) -> NDArray[np.float64]:
    """Return coordinates moved into the input by the padding; with "zeros" they stay."""
    if padding == "zeros":
        return place
    if padding == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if span == 0:
            return np.zeros_like(place)
        away = np.abs(place - low)
        rest = np.fmod(away, span)
        place = np.where(np.floor(away / span) % 2 == 0, rest, span - rest) + low
    return np.clip(place, 0, size - 1)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    d, a = np.abs(distance), _CUBIC_A
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, far)
