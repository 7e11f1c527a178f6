"""Layout: the meaning of the axes of an array of samples, and the conversion of a sample to a feed."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.data.channels import CHANNELS, LAYOUTS, channel_axis
from qengine.data.geometry import changed_planes
from qengine.data.preprocessing import Preprocessing
from qengine.errors import FeedError
from qengine.model.graph import Dim, Value


class SampleLayout(Enum):
    """Meaning of the axes of an array, compared with the axes of the input that it feeds."""

    ROWS = "the first axis counts samples, as the input's own first axis does"
    GREY = "like ROWS, without the axis of the only channel"
    COLOUR_LAST = "like ROWS, with the channels of pixels last where the input has them first"
    COLOUR_FIRST = "like ROWS, with the channels of pixels first where the input has them last"
    RUNS = "the first axis counts runs, and the other axes are those of the input"
    WHOLE = "no axis counts samples: the same in every run"

    @property
    def is_stacked(self) -> bool:
        """Whether several samples can be in one feed."""
        return self not in (SampleLayout.RUNS, SampleLayout.WHOLE)

    def feed(self, row: NDArray[Any], declared: Value, preprocessing: Preprocessing) -> NDArray[Any]:
        """Return a sample, whose first axis has the length 1, as an array that the input takes."""
        if self is SampleLayout.RUNS:
            row = row[0]
        elif self is SampleLayout.GREY:
            assert declared.shape is not None
            row = np.expand_dims(row, channel_axis(declared.shape, preprocessing.layout))
        elif self is SampleLayout.COLOUR_LAST:
            row = np.moveaxis(row, -1, 1)
        elif self is SampleLayout.COLOUR_FIRST:
            row = np.moveaxis(row, 1, -1)
        if not are_pixels(row.dtype, declared):
            return row
        real = declared.dtype or np.dtype(np.float32)
        row = _in_size(row, declared, preprocessing)
        if row.ndim == 4 and not preprocessing.is_same_for_channels:
            axis = channel_axis(_lengths(declared, row), preprocessing.layout)
            numbers = [preprocessing.to_numbers(np.moveaxis(image, axis, -1)) for image in row]
            return np.moveaxis(np.stack(numbers), 1, axis).astype(real)
        # One scale and one mean for all elements.
        return preprocessing.to_numbers(row.reshape(-1, 1, 1)).reshape(row.shape).astype(real)


def are_pixels(dtype: np.dtype[Any], declared: Value) -> bool:
    """Whether elements of a dtype are pixels that become the numbers of an input: uint8, where it takes real ones."""
    return dtype == np.uint8 and (declared.dtype is None or declared.dtype.kind == "f")


def _in_size(row: NDArray[np.uint8], declared: Value, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return uint8 pictures resized and cropped, with the pixels that image files of them would give."""
    label = f"a picture for input '{declared.name}'"
    is_changed = bool(preprocessing.resize or preprocessing.crop)
    if row.ndim != 4 or declared.shape is None or len(declared.shape) != 4:
        if is_changed:
            raise FeedError(
                f"{label} is uint8 of shape {list(row.shape)}, and --resize and --crop are for pictures with 4 axes: "
                "leave them out"
            )
        return row
    if not is_changed and "size" not in preprocessing.convert:
        return row
    axis = channel_axis(_lengths(declared, row), preprocessing.layout)
    height, width = declared.shape[1:3] if axis == -1 else declared.shape[2:]
    planes = changed_planes(np.moveaxis(row, axis, 1), preprocessing, (height, width), label)
    return np.moveaxis(planes, 1, axis)


def _lengths(declared: Value, row: NDArray[Any]) -> tuple[Dim, ...]:
    """Return the lengths that tell the axis of the channels: those of the input, or of its pictures."""
    shape = declared.shape
    if shape is not None and len(shape) == row.ndim and {shape[1], shape[-1]} & set(CHANNELS):
        return shape
    return row.shape


def layout_of(
    label: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    declared: Value,
    *,
    is_single: bool,
    layout: str | None = None,
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
    layout
        See `Preprocessing`.

    Raises
    ------
    FeedError
        If the number of axes does not fit the input, or the channel of a grey picture may be first or last.
    """
    if declared.shape is None:
        return SampleLayout.ROWS if shape and not is_single else SampleLayout.WHOLE
    rank = len(declared.shape)
    if len(shape) == rank + 1:
        return SampleLayout.RUNS
    if len(shape) == rank:
        if is_single or not rank:
            return SampleLayout.WHOLE
        if rank == 4 and dtype == np.uint8:
            return _of_pixels(shape, declared.shape, layout)
        return SampleLayout.ROWS
    if len(shape) == rank - 1 == 3 and declared.shape[channel_axis(declared.shape, layout)] == 1:
        return SampleLayout.GREY
    raise FeedError(
        f"{label} has {len(shape)} axes; input '{declared.name}' needs {rank}, the first of which counts samples"
    )


def _of_pixels(shape: tuple[int, ...], wanted: tuple[Dim, ...], layout: str | None) -> SampleLayout:
    """Return the layout of uint8 pictures that have as many axes as the input."""
    (_, first, _, last), (_, wanted_first, _, wanted_last) = shape, wanted
    is_last = layout == LAYOUTS[1] or (layout is None and wanted_last in CHANNELS and wanted_first not in CHANNELS)
    if is_last:
        return SampleLayout.COLOUR_FIRST if last != wanted_last == first else SampleLayout.ROWS
    is_known = isinstance(wanted_first, int)
    return SampleLayout.COLOUR_LAST if is_known and first != wanted_first == last else SampleLayout.ROWS
