"""Specifications of sums of products in a register that saturates, or that cuts its products; see `reference.register`.

The order of the terms of a sum counts. But the sums of 16 channels are independent: a lane is a channel, and a step of
the loop adds one product to each. Inputs are copied before, with the zeros of the padding, to 32 bits, so that each tap
is at one distance from the first one.
"""

from dataclasses import dataclass

NUMBERS = ("start", "right", "left", "half", "align")
"""Numbers of each channel: what its sum begins with, the shift of its products to the right and to the left, what is
taken off at the end, and the shift to the left that brings all channels to the same fraction bits."""


@dataclass(frozen=True)
class RegisterDot:
    """Sums of products of the places of an output, each with all its channels.

    A place has a row (x, w, y) in the table at `places`, and a group one (x, w, y, numbers) in that at `groups`: the
    distances that add up, in elements. A group has `vectors` x `tile` vectors of channels, of which `channels` exist,
    `y_step` elements apart. Weights are (vectors x tile, taps, 16), numbers (vectors x tile, 5, 16).

    Attributes
    ----------
    tile : number of vectors of channels whose sums are computed together.
    wide : whether sums and products have 64 bits instead of 32.
    saturates : whether sums stop at `least` and `most`; if not they keep all but the `dropped` high bits.
    casts : whether products stop there too before they are added.
    rounding : rounding of products that are shifted to the right; empty where none is.
    shifts_left : whether products are shifted to the left.
    """

    tile: int
    wide: bool
    saturates: bool
    casts: bool
    rounding: str
    shifts_left: bool

    emitter = "register_dot"
    arguments = (
        *("x", "w", "y", "numbers", "places", "groups", "group_count", "vectors", "taps", "offsets", "first", "end"),
        *("channels", "y_step", "least", "most", "dropped"),
    )


@dataclass(frozen=True)
class Spread:
    """Elements of planes in another order, as int32: y[plane, i] = x[plane, table[i]], 0 where the table has -1.

    Attributes
    ----------
    element : type of the elements of x.
    """

    element: str

    emitter = "spread"
    # Planes `first` to `end` are computed, of `size` elements each in x and `count` in y.
    arguments = ("x", "y", "first", "end", "size", "count", "table")
