"""The largest value, the sum or the mean of windows."""

from dataclasses import dataclass
from typing import Literal

from .elementwise import Stored


@dataclass(frozen=True)
class Pool:
    """What the kernel is compiled for.

    Attributes
    ----------
    operation : the largest value, or the mean.
    stored : how elements of the input are stored.
    lanes : channels of a pixel.
    rounding, target, wraps, signed : of the mean of codes; the output of "max" is stored as the input.
    """

    operation: Literal["max", "mean"]
    stored: Stored
    lanes: int
    rounding: str = ""
    target: Stored = "f32"
    wraps: bool = False
    signed: bool = False

    emitter = "pool"
    # Rows are counted from the image's own first, in the input as in the output: `first` is where to begin. A mean
    # is (sum << left) / (count << right); low and high saturate it, or it keeps the low `bits`.
    arguments = (
        "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "first", "rows",
        "width", "height_in", "width_in", "kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w",
        "top", "left_pad", "empty", "counts", "left", "right", "low", "high", "zero_in", "zero_out", "bits",
    )  # fmt: skip
