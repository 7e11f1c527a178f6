"""Copies between plain order and blocks of channels, for elements whose bits stay the same.

In plain order channels are either planes of their own (N, C, H, W) or side by side (N, H, W, C). The latter is nearly
what a block is: runs of 16 channels are copied. The former is a transposition of channels and pixels, in tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from qengine.kernels.program import Call
from qengine.kernels.strided_copy import STRIP, CopyElements, CopyRuns, CopyTransposed
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, View


@dataclass(frozen=True)
class PlainStrides:
    """Distances in bytes in plain order, from an image, a channel, a row or a pixel to the next."""

    image: int
    channel: int
    row: int
    pixel: int

    @classmethod
    def channels_last(cls, shape: tuple[int, int, int, int], itemsize: int) -> PlainStrides:
        """Return the distances of an array (N, H, W, C), from the shape (N, C, H, W)."""
        _, channels, height, width = shape
        pixel = channels * itemsize
        return cls(height * width * pixel, itemsize, width * pixel, pixel)


def is_raw(element: str, buffer: TensorBuffer) -> bool:
    """Whether elements of a type have the same bits in blocks."""
    return buffer.zero == 0 and ITEMSIZE[element] == ITEMSIZE[buffer.stored]


def block_copies(
    op: Op, plain: Address, strides: PlainStrides, blocks: View, buffer: TensorBuffer, rows: Rows, *, packs: bool
) -> list[Call]:
    """Return the calls that copy some rows between plain order and blocks.

    Parameters
    ----------
    op
        Op that the calls are for; it keeps their tables.
    plain, strides
        Address of the first of the rows in plain order, and distances there.
    blocks, buffer
        View and layout of the blocks.
    rows
        Rows that are copied.
    packs
        Whether elements go from plain order to blocks.
    """
    batch, channels, _, width = buffer.shape
    size, count, pixels = ITEMSIZE[buffer.stored], rows.count, width
    if strides.row == width * strides.pixel and blocks.row == width * blocks.pixel:
        count, pixels = 1, width * count
    calls = []
    whole, rest = divmod(channels, buffer.block)
    for first, number, lanes in ((0, whole, buffer.block), (whole, 1, rest)):
        if not (number and lanes):
            continue
        outer = [
            (number, strides.channel * buffer.block, blocks.plane),
            (count, strides.row, blocks.row),
            (batch, strides.image, blocks.image),
        ]
        here, there = plain + first * buffer.block * strides.channel, blocks.at(rows.first) + first * blocks.plane
        calls.append(_call(op, here, there, strides, blocks.pixel, outer, pixels, lanes, size, packs))
    return calls


def _call(
    op: Op,
    plain: Address,
    block: Address,
    strides: PlainStrides,
    pixel: int,
    outer: Sequence[tuple[int, int, int]],
    pixels: int,
    lanes: int,
    size: int,
    packs: bool,
) -> Call:
    """Return the call for a number of blocks with some channels each."""
    axes = [(n, a, b) if packs else (n, b, a) for n, a, b in outer if n > 1]
    places = prod(n for n, _, _ in axes)
    numbers: dict[str, Address] = {"x": plain, "y": block} if packs else {"x": block, "y": plain}
    numbers |= {"axes": op.address_of(np.array(axes or [(1, 0, 0)], np.int64)), "outer": len(axes), "first": 0}
    near, far = (strides.pixel, pixel) if packs else (pixel, strides.pixel)
    if strides.channel == size or lanes == 1:
        if lanes == 1 and strides.pixel == pixel == size:
            numbers |= {"end": places, "mid": 1, "x_mid": 0, "y_mid": 0, "inner": pixels * size}
        else:
            numbers |= {"end": places * pixels, "mid": pixels, "x_mid": near, "y_mid": far, "inner": lanes * size}
        return Call(CopyRuns(), numbers)
    if strides.pixel != size:
        inner = {"mid": pixels, "x_mid": near, "y_mid": far, "inner": lanes, "x_inner": strides.channel}
        return Call(CopyElements(size, False), {**numbers, "end": places * pixels, **inner})
    if packs:
        numbers |= {"mid": pixels, "y_mid": pixel, "inner": lanes, "x_inner": strides.channel}
        return Call(CopyTransposed(size), {**numbers, "end": places * -(-pixels // STRIP)})
    numbers |= {"mid": lanes, "y_mid": strides.channel, "inner": pixels, "x_inner": pixel}
    return Call(CopyTransposed(size), {**numbers, "end": places * -(-lanes // STRIP)})


@dataclass(eq=False)
class ChannelsLastOp(Op):
    """Copy between plain order with channels last and blocks.

    Attributes
    ----------
    packs : whether elements go from plain order to blocks.
    """

    packs: bool

    def __post_init__(self) -> None:
        self.kernel = "pack" if self.packs else "unpack"

    @property
    def _blocks(self) -> TensorBuffer:
        return self.out if self.packs else self.inputs[0]

    @property
    def part_count(self) -> int:
        """The number of rows."""
        return self._blocks.shape[2]

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return 0.2 * prod(self._blocks.shape)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that copy some rows."""
        (x,), buffer = views, self._blocks
        plain, blocks = (x, out) if self.packs else (out, x)
        strides = PlainStrides.channels_last(buffer.shape, ITEMSIZE[buffer.stored])
        address = plain.origin + rows.first * strides.row
        return block_copies(self, address, strides, blocks, buffer, rows, packs=self.packs)
