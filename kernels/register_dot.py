"""Specifications of sums of products in a register that saturates, or that cuts its products; see `reference.register`.

The order of the terms of a sum counts. But the sums of 16 channels are independent: a lane is a channel, and a step of
the loop adds one product to each. Inputs are copied before, with the zeros of the padding, to 32 bits, so that each tap
is at one distance from the first one.

A register that saturates is seldom full. Where |start| + sum(|x * w|) lies within its rails no part of the sum leaves
them, in any order. So sums of factors of 16 bits are first computed without order, two products by an instruction,
with the sum of their magnitudes next to them. Only where a magnitude is too large they are computed again in order.
"""

from dataclasses import dataclass

NUMBERS = ("start", "right", "left", "half", "align", "room")
"""Numbers of each channel: what its sum begins with, the shift of its products to the right and to the left, what is
taken off at the end, the shift to the left that brings all channels to the same fraction bits, and the largest sum of
magnitudes of products that stays within the rails."""


@dataclass(frozen=True)
class RegisterDot:
    """Sums of products of the places of an output, each with all its channels.

    A place has a row (x, w, y) in the table at `places`, and a group one (x, w, y, numbers) in that at `groups`: the
    distances that add up, in elements. A group has `vectors` x `tile` vectors of channels, of which `channels` exist,
    `y_step` elements apart. Weights are (vectors x tile, taps, 16), numbers (vectors x tile, 6, 16).

    Attributes
    ----------
    tile, places : number of vectors of channels, and of places, whose sums are computed together.
    wide : whether sums and products have 64 bits instead of 32.
    saturates : whether sums stop at `least` and `most`; if not they keep all but the `dropped` high bits.
    casts : whether products stop there too before they are added.
    rounding : rounding of products that are shifted to the right; empty where none is.
    shifts_left : whether products are shifted to the left.
    pairs : whether two taps, an even number in all, are one lane of weights, of 16 bits each, and sums are computed in
        order only where sum(|x * w|) is above the room of the channel.
    """

    tile: int
    places: int
    wide: bool
    saturates: bool
    casts: bool
    rounding: str
    shifts_left: bool
    pairs: bool

    emitter = "register_dot"
    arguments = (
        *("x", "w", "y", "numbers", "at_places", "groups", "group_count", "vectors", "taps", "offsets", "first", "end"),
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
