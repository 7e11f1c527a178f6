"""Sliding windows over the spatial axes of an (N, C, spatial...) array."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Pads = tuple[tuple[int, int], ...]
"""Cells before and after, per spatial axis; negative crops."""


def pad_spatial(x: NDArray[Any], pads: Pads, value: Any) -> NDArray[Any]:
    """Return x with `value` around its spatial axes (the last len(pads)); no copy where nothing is added.

    Padding comes before cropping: (-3, 4) on two cells leaves the last three of the four that are added.
    """
    whole = x.ndim - len(pads)
    grown = [(0, 0)] * whole + [(max(a, 0), max(b, 0)) for a, b in pads]
    if any(a or b for a, b in grown):
        x = np.pad(x, grown, constant_values=value)
    parts: list[Any] = [slice(None)] * whole
    for (a, b), size in zip(pads, x.shape[whole:], strict=True):
        parts.append(slice(max(-a, 0), max(size + min(b, 0), 0)))
    return np.asarray(x[tuple(parts)])


def windows(
    x: NDArray[Any], kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> NDArray[Any]:
    """Return a read-only view of shape (N, C, out..., kernel...) of an already padded x."""
    whole = x.ndim - len(kernel)
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    view = sliding_window_view(x, extent, axis=tuple(range(whole, x.ndim)))
    every = [slice(None, None, step) for step in (*strides, *dilations)]
    return np.asarray(view[(slice(None),) * whole + tuple(every)])
