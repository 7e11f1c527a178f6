"""Specification of pooling: the largest value or the mean of windows."""

from dataclasses import dataclass
from typing import Literal

from .elementwise import Stored
from .epilogue import FLAG_ARGUMENTS
from .reference.word import Fitting

# `x` and `y` are row 0 of the image; the kernel computes `rows` rows from row `first` on. `empty` is the address of
# the output pixel of a window without cells. A mean is (sum << left) / (count << right); it is brought into a
# word of `bits` and low .. high.
_ARGUMENTS = (
    "x", "x_batch", "x_block", "x_row", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "first", "rows",
    "width", "height_in", "width_in", "kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w",
    "top", "left_pad", "empty", "counts", "left", "right", "low", "high", "zero_in", "zero_out", "bits",
)  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """Specification of the pooling kernel.

    Attributes
    ----------
    operation : "max" for the largest value, "mean" for the mean.
    stored : stored form of the input's elements, and of the output's for "max".
    lanes : number of channels of a pixel.
    rounding : rounding of the mean of codes.
    target : stored form of the output's elements for "mean".
    fitting, signed : `Word.fitting` and `Word.keeps_sign` of the output's codes.
    counts : whether flags are stored with the codes of a mean.
    """

    operation: Literal["max", "mean"]
    stored: Stored
    lanes: int
    rounding: str = ""
    target: Stored = "f32"
    fitting: Fitting = "saturate"
    signed: bool = False
    counts: bool = False

    emitter = "pool"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_ARGUMENTS, *(FLAG_ARGUMENTS if self.counts else ()))
