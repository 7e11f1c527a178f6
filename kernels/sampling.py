"""Specifications of the kernels that interpolate images at computed coordinates, and that put pixels together."""

from dataclasses import dataclass
from enum import IntEnum

PLACES = 64
"""Coordinates that `GridSample` has taps of at a time."""

SAMPLES = 2048
"""Samples that `RegionPool` has at a time."""


class Interpolation(IntEnum):
    """An interpolation, by the number of its taps along an axis."""

    NEAREST = 1
    LINEAR = 2
    CUBIC = 4


class Padding(IntEnum):
    """Values outside of an image."""

    ZEROS = 0
    BORDER = 1
    REFLECTION = 2


def grid_scratch(taps: int) -> int:
    """Return the bytes of scratch memory of `GridSample`, for a number of taps of a coordinate."""
    return 8 + 16 * PLACES * taps


REGION_SCRATCH = 8 + 72 * SAMPLES
"""The bytes of scratch memory of `RegionPool`."""


@dataclass(frozen=True)
class GridSample:
    """Images at the coordinates of a grid, float32."""

    emitter = "grid_sample"
    # Places first..end of all batches are computed. facts: axes, channels, places of a batch, elements of a plane, an
    # `Interpolation`, a `Padding`, whether corners are aligned, taps of a place; then the length of each axis.
    arguments = ("x", "grid", "y", "first", "end", "facts", "scratch")


@dataclass(frozen=True)
class RegionPool:
    """Averages or maxima of interpolated elements in the parts of regions, float32; see RoiAlign.

    Attributes
    ----------
    index : type of the index of an image: i32 or i64.
    """

    index: str

    emitter = "region_pool"
    # Regions first..end are computed. facts: images, channels, height, width, rows and columns of a result, samples
    # along an axis of a part (0 for as many as it has elements), whether a coordinate is that of a pixel's center,
    # whether the largest is taken. scale: of coordinates, float32. fault: three numbers, for the index of an image that
    # does not exist, for coordinates that are infinite or NaN, and for too many samples.
    arguments = ("x", "regions", "images", "y", "first", "end", "facts", "scale", "fault", "scratch")


@dataclass(frozen=True)
class Overlap:
    """Images of blocks that overlap and are added, float32; see Col2Im."""

    emitter = "overlap"
    # Planes first..end are computed. facts: height and width of an image; rows, columns, steps, distances and padding
    # of a block's elements along both axes; places of a block along both axes.
    arguments = ("x", "y", "first", "end", "facts")


@dataclass(frozen=True)
class Unpool:
    """Zeros, and elements at indices.

    Attributes
    ----------
    size : type of integers of an element's size.
    """

    size: str

    emitter = "unpool"
    arguments = ("x", "indices", "y", "count", "elements", "fault")
