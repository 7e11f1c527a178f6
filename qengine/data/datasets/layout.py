"""Layout: the meaning of the axes of an array of samples, and the conversion of a sample to a feed."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.images import PixelScale
from qengine.errors import FeedError
from qengine.model.graph import Value


class SampleLayout(Enum):
    """Meaning of the axes of an array, compared with the axes of the input that it feeds."""

    ROWS = "the first axis counts samples, as the input's own first axis does"
    GREY = "like ROWS, without the axis of the only channel"
    COLOUR_LAST = "like ROWS, with the channels of pixels last"
    RUNS = "the first axis counts runs, and the other axes are those of the input"
    WHOLE = "no axis counts samples: the same in every run"

    @property
    def is_stacked(self) -> bool:
        """Whether several samples can be in one feed."""
        return self in (SampleLayout.ROWS, SampleLayout.GREY, SampleLayout.COLOUR_LAST)

    def feed(self, row: NDArray[Any], declared: Value, pixel_scale: PixelScale) -> NDArray[Any]:
        """Return a sample, whose first axis has the length 1, as an array that the input takes."""
        if self is SampleLayout.RUNS:
            row = row[0]
        elif self is SampleLayout.GREY:
            row = row[:, None]
        elif self is SampleLayout.COLOUR_LAST:
            row = np.moveaxis(row, -1, 1)
        if row.dtype != np.uint8 or (declared.dtype is not None and declared.dtype.kind != "f"):
            return row
        real = declared.dtype or np.dtype(np.float32)
        if row.ndim == 4:
            return np.stack([pixel_scale.to_numbers(np.moveaxis(image, 0, -1)) for image in row]).astype(real)
        # No image: one scale and one mean for all elements.
        return pixel_scale.to_numbers(row.reshape(-1, 1, 1)).reshape(row.shape).astype(real)


def layout_of(
    label: str, shape: tuple[int, ...], dtype: np.dtype[Any], declared: Value, *, is_single: bool
) -> SampleLayout:
    """Return the layout of an array.

    Parameters
    ----------
    label
        Name of the array in errors.
    shape, dtype
        Shape and dtype of the array.
    declared
        The input that the array feeds.
    is_single
        Whether the input decides shapes. It is then the same in every run, unless the array has one axis more.

    Raises
    ------
    FeedError
        If the number of axes does not fit the input.
    """
    if declared.shape is None:
        return SampleLayout.ROWS if shape and not is_single else SampleLayout.WHOLE
    rank, channels = len(declared.shape), declared.shape[1] if len(declared.shape) == 4 else None
    if len(shape) == rank + 1:
        return SampleLayout.RUNS
    if len(shape) == rank:
        if is_single or not rank:
            return SampleLayout.WHOLE
        if rank == 4 and dtype == np.uint8 and isinstance(channels, int) and shape[1] != channels == shape[3]:
            return SampleLayout.COLOUR_LAST
        return SampleLayout.ROWS
    if len(shape) == rank - 1 and channels == 1:
        return SampleLayout.GREY
    raise FeedError(
        f"{label} has {len(shape)} axes; input '{declared.name}' needs {rank}, the first of which counts samples"
    )
