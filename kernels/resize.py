"""Resize: sums over the taps along rows, then over the taps down columns; and picking the nearest."""

from dataclasses import dataclass

from .elementwise import Stored
from .epilogue import Epilogue


@dataclass(frozen=True)
class ResizeColumns:
    """Sums over taps along rows: int32 of codes, or float32.

    Attributes
    ----------
    stored : how elements of the input are stored.
    lanes : channels of a pixel, rounded up to a power of two.
    taps : of every output pixel.
    """

    stored: Stored
    lanes: int
    taps: int

    emitter = "resize_columns"
    # Offsets are in bytes, of pixels in a row of the input; weights are int32 or float32.
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "width",
        "block", "offsets", "weights", "zero",
    )  # fmt: skip


@dataclass(frozen=True)
class ResizeRows:
    """Sums over taps down columns, of what `ResizeColumns` made.

    Attributes
    ----------
    taps : of every output row.
    epilogue : None for float32.
    """

    taps: int
    epilogue: Epilogue | None

    emitter = "resize_rows"
    # `indices` and `weights` are those of the first of the rows; indices count rows of the input from its own first.
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "items",
        "indices", "weights", "numbers", "scalars",
    )  # fmt: skip


@dataclass(frozen=True)
class ResizeNearest:
    """What the kernel is compiled for: the bytes of a pixel."""

    pixel: int

    emitter = "resize_nearest"
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "width",
        "offsets", "indices",
    )  # fmt: skip
