"""The kernel of convolutions and matrix products: a dot over a table of taps, 16 output channels in a vector.

A tap is 4 bytes of the input at one address offset from an output pixel's place, whatever the kernel size, dilation,
group or layout: 4 codes of 8 bits, 2 of 16 bits, or one float32. A tile of output pixels x output channels stays
in registers over all taps. See docs/kernels.md.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .epilogue import LANES, Epilogue
from .isa import AVX2, Isa

Kind = Literal["s8", "s16", "f32"]
"""What is multiplied: bytes (unsigned by signed), signed pairs of bytes, or float32."""

ITEMSIZE: dict[Kind, int] = {"s8": 1, "s16": 2, "f32": 4}
LANE_BYTES = 4

PARTIAL_TAPS = 256
"""After as many float32 products a sum goes into another one: rounding errors grow with the number of additions."""


@dataclass(frozen=True)
class Dot:
    """What the kernel is compiled for.

    Attributes
    ----------
    kind : what is multiplied.
    rows, pixels, vectors : the tile: output pixels down and along, and 16s of output channels.
    step : bytes from one output pixel's input to the next's; 0 where it is not known before the call.
    epilogue : None for float32.
    masked : the last 16 channels are not all there.
    fetches : weights are far away, and those of the next channels are called for while these are used.
    partial : float32 sums are taken in parts.
    """

    kind: Kind
    rows: int
    pixels: int
    vectors: int
    step: int
    epilogue: Epilogue | None
    masked: bool = False
    fetches: bool = False
    partial: bool = False

    emitter = "dot"
    arguments = (
        "x", "x_batch", "x_row", "x_step", "offsets", "taps", "chunks", "chunk_count", "w", "w_vector", "numbers",
        "scalars", "y", "y_batch", "y_vector", "y_row", "y_pixel", "batch", "rows", "width", "vectors", "last", "outer",
    )  # fmt: skip


def is_paired(kind: Kind, isa: Isa) -> bool:
    """Whether two products of bytes are first added up in 16 bits, which saturate: weights must not get there."""
    return kind == "s8" and isa == AVX2


def is_split(kind: Kind, isa: Isa) -> bool:
    """Whether weights of bytes are kept as pairs of 16 bits, the even ones and the odd ones apart."""
    return kind == "s8" and not isa.has_vnni and not is_paired(kind, isa)


def sums_in_registers(kind: Kind, isa: Isa) -> int:
    """Return how many vectors of sums a tile may keep: without an instruction of its own a product takes registers."""
    return isa.registers if kind == "f32" or isa.has_vnni else max(2, isa.registers * 2 // 3)


def weight_bytes(kind: Kind, isa: Isa) -> int:
    """Return the bytes of one tap's weights for 16 channels."""
    return LANES * LANE_BYTES * (2 if is_split(kind, isa) else 1)


def packed_weights(lanes: NDArray[Any], kind: Kind, isa: Isa) -> NDArray[np.uint8]:
    """Return weights as the kernel reads them: vectors of 16 channels x taps x channels x 4 bytes.

    Parameters
    ----------
    lanes
        (channels, taps, items): the items of a tap, 4 int8, 2 int16 or 1 float32. Channels are a multiple of 16.
    """
    channels, taps, items = lanes.shape
    block = lanes.reshape(channels // LANES, LANES, taps, items).transpose(0, 2, 1, 3)
    if is_split(kind, isa):
        wide = block.astype(np.int16)
        block = np.stack([wide[..., 0::2], wide[..., 1::2]], axis=2)
    return np.ascontiguousarray(block).view(np.uint8).ravel()


@dataclass(frozen=True)
class Tile:
    """A shape of tiles, and what one costs."""

    rows: int
    pixels: int
    vectors: int

    @property
    def sums(self) -> int:
        """Vectors of sums."""
        return self.rows * self.pixels * self.vectors

    def cycles(self, kind: Kind, isa: Isa, taps: int, chunks: int) -> float:
        """Return about how long a tile takes: two products or two loads at a time, each product waiting for the last.

        The second cache gives one load at a time. After each chunk of taps, sums move on to others, which are in
        registers if there is room.
        """
        halves = 2 if kind == "s8" and not isa.has_vnni else 1
        products = self.sums * isa.parts
        weights = self.vectors * isa.parts * (2 if is_split(kind, isa) else 1)
        loads = (self.rows * self.pixels + weights) / 2
        if taps * weight_bytes(kind, isa) * self.vectors > _NEAR:
            loads = max(loads, weights)
        together = 2 * self.sums <= sums_in_registers(kind, isa)
        widening = chunks * products * (1.0 if together else 2.1) if chunks > 1 else 0.0
        return taps * max(halves * products / 2, loads, 4.5) + widening + 4 * products + 20


_NEAR = 24_000  # bytes of weights that the first cache keeps beside the input
_BLOCK = 700_000  # that the second cache keeps beside those that are called for

# Few shapes, as each is compiled: wide images, two rows of narrow ones, many channels, single pixels, and the rest.
_SHAPES = (
    Tile(1, 14, 2), Tile(2, 7, 2), Tile(1, 14, 1), Tile(2, 7, 1), Tile(1, 7, 4), Tile(1, 4, 4), Tile(2, 4, 2),
    Tile(1, 7, 2), Tile(1, 4, 1), Tile(1, 1, 4), Tile(1, 1, 1), Tile(1, 5, 1), Tile(1, 2, 1),
)  # fmt: skip


def best_tile(kind: Kind, isa: Isa, rows: int, width: int, vectors: int, taps: int, chunks: int) -> Tile:
    """Return the shape of tiles that covers rows x width pixels x vectors of channels the fastest.

    Its vectors divide the given number.
    """
    best: tuple[float, Tile] | None = None
    for tile in _SHAPES:
        fits = tile.rows <= rows and tile.pixels <= width and vectors % tile.vectors == 0
        if not fits or tile.sums > max(sums_in_registers(kind, isa), 1):
            continue
        tiles = ceil(rows / tile.rows) * ceil(width / tile.pixels) * (vectors // tile.vectors)
        cost = tiles * tile.cycles(kind, isa, taps, chunks)
        if taps * weight_bytes(kind, isa) * tile.vectors > _BLOCK:
            cost *= 1.1  # it leaves the cache before the next row of tiles wants it
        if best is None or cost < best[0]:
            best = cost, tile
    assert best is not None  # one pixel of one vector always fits
    return best[1]
