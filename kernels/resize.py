"""Specifications of Resize: weighted sums along rows, weighted sums down columns, and picking the nearest.

A resize is separable: `ResizeColumns` computes the output's columns, keeping exact 32-bit sums, and `ResizeRows`
computes its rows from those sums and ends in the epilogue. So a code is rounded once.
"""

from dataclasses import dataclass

from .elementwise import Stored
from .epilogue import Epilogue, flag_arguments


@dataclass(frozen=True)
class ResizeColumns:
    """Specification of the weighted sums over taps along rows: int32 for codes, or float32.

    Attributes
    ----------
    stored : stored form of the input's elements.
    lanes : number of channels of a pixel, rounded up to a power of two.
    taps : number of taps of every output pixel.
    """

    stored: Stored
    lanes: int
    taps: int

    emitter = "resize_columns"
    # `offsets` is the address of (width, taps) int64: distances in bytes from the first pixel of the row. `weights` is
    # the address of (width, taps) int32 or float32.
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "width",
        "block", "offsets", "weights", "zero",
    )  # fmt: skip


# `indices` is the address of (rows, taps) int64: rows of the input, counted from row 0, which lies at `x`.
# `weights` is the address of (rows, taps) int32 or float32.
_ROWS_ARGUMENTS = (
    "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "items",
    "indices", "weights", "numbers", "scalars",
)  # fmt: skip


@dataclass(frozen=True)
class ResizeRows:
    """Specification of the weighted sums over taps down columns, from the output of `ResizeColumns`.

    Attributes
    ----------
    taps : number of taps of every output row.
    epilogue : epilogue of the sums; None for float32.
    """

    taps: int
    epilogue: Epilogue | None

    emitter = "resize_rows"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_ROWS_ARGUMENTS, *flag_arguments(self.epilogue))


@dataclass(frozen=True)
class ResizeNearest:
    """Specification of the choice of one input pixel for each output pixel.

    Attributes
    ----------
    pixel : number of bytes of a pixel.
    """

    pixel: int

    emitter = "resize_nearest"
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "width",
        "offsets", "indices",
    )  # fmt: skip
