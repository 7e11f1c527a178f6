"""Specification of the largest value of windows, on plain buffers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PlainMax:
    """The largest element of each window of images, NaN where there is one.

    Attributes
    ----------
    element : type of the elements.
    stride : columns from one window to the next.
    """

    element: str
    stride: int

    emitter = "plain_max"
    # Rows `first` to `end` of all planes of the output are computed. `empty` is the address of the result of a window
    # without elements. `sizes` is the address of int64: rows and columns of a plane, of the output, of a window, of
    # strides, of dilations and of the padding before.
    arguments = ("x", "y", "first", "end", "empty", "sizes")
