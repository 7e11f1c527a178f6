"""How the samples of an array become what an input takes."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.images import PixelScale
from qengine.errors import FeedError
from qengine.model.graph import Value


class Layout(Enum):
    """What the axes of an array are, beside those of the input that it is for."""

    ROWS = "the first axis counts samples, as the input's own first axis does"
    GREY = "as ROWS, without the axis of the one channel"
    COLOUR_LAST = "as ROWS, pixels with their channels last"
    RUNS = "the first axis counts runs, each of which is fed the rest"
    WHOLE = "no axis counts samples: the same in every run"

    @property
    def is_stacked(self) -> bool:
        """Whether several samples can be one feed."""
        return self in (Layout.ROWS, Layout.GREY, Layout.COLOUR_LAST)

    def feed(self, row: NDArray[Any], declared: Value, pixel_scale: PixelScale) -> NDArray[Any]:
        """Return a sample, whose first axis has the length 1, as the input takes it."""
        if self is Layout.RUNS:
            row = row[0]
        elif self is Layout.GREY:
            row = row[:, None]
        elif self is Layout.COLOUR_LAST:
            row = np.moveaxis(row, -1, 1)
        if row.dtype != np.uint8 or (declared.dtype is not None and declared.dtype.kind != "f"):
            return row
        real = declared.dtype or np.dtype(np.float32)
        if row.ndim == 4:
            return np.stack([pixel_scale.to_numbers(np.moveaxis(one, 0, -1)) for one in row]).astype(real)
        # Not a picture: one number serves all.
        return pixel_scale.to_numbers(row.reshape(-1, 1, 1)).reshape(row.shape).astype(real)


def layout_of(label: str, shape: tuple[int, ...], dtype: np.dtype[Any], declared: Value, *, is_single: bool) -> Layout:
    """Return how an array is to be read.

    Parameters
    ----------
    label
        What errors call it.
    shape, dtype
        Of the array.
    declared
        The input.
    is_single
        Whether the input is one that decides shapes, and is the same in every run unless there is an axis more.

    Raises
    ------
    FeedError
        If the number of axes fits in no way.
    """
    if declared.shape is None:
        return Layout.ROWS if shape and not is_single else Layout.WHOLE
    rank, channels = len(declared.shape), declared.shape[1] if len(declared.shape) == 4 else None
    if len(shape) == rank + 1:
        return Layout.RUNS
    if len(shape) == rank:
        if is_single or not rank:
            return Layout.WHOLE
        if rank == 4 and dtype == np.uint8 and isinstance(channels, int) and shape[1] != channels == shape[3]:
            return Layout.COLOUR_LAST
        return Layout.ROWS
    if len(shape) == rank - 1 and channels == 1:
        return Layout.GREY
    raise FeedError(
        f"{label} has {len(shape)} axes; input '{declared.name}' needs {rank}, the first of which counts samples"
    )
