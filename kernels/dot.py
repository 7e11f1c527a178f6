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
from .isa import Isa

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


def is_split(kind: Kind, isa: Isa) -> bool:
    """Whether weights of bytes are kept as pairs of 16 bits, the even ones and the odd ones apart."""
    return kind == "s8" and not isa.has_vnni


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

    def cycles(self, taps: int, weight_loads: int, chunks: int, registers: int) -> float:
        """Return about how long a tile takes: two products or two loads at a time, each product waiting for the last.

        After each chunk of taps, sums move on to others, which are in registers if there is room.
        """
        products = self.rows * self.pixels * self.vectors
        loads = self.rows * self.pixels + self.vectors * weight_loads
        widening = chunks * products * (1.0 if 2 * products <= registers else 2.1) if chunks > 1 else 0.0
        return taps * max(products / 2, loads / 2, 4.5) + widening + 4 * products + 20


_BLOCK = 700_000  # bytes of weights that the second cache keeps beside those that are called for

# Few shapes, as each is compiled: wide images, two rows of narrow ones, many channels, single pixels, and the rest.
_SHAPES = (
    Tile(1, 14, 2), Tile(2, 7, 2), Tile(1, 14, 1), Tile(2, 7, 1), Tile(1, 7, 4), Tile(1, 4, 4), Tile(2, 4, 2),
    Tile(1, 7, 2), Tile(1, 4, 1), Tile(1, 1, 4), Tile(1, 1, 1), Tile(1, 5, 1), Tile(1, 2, 1),
)  # fmt: skip


def best_tile(kind: Kind, isa: Isa, rows: int, width: int, vectors: int, taps: int, chunks: int) -> Tile:
    """Return the shape of tiles that covers rows x width pixels x vectors of channels the fastest.

    Its vectors divide the given number.
    """
    weight_loads = 2 if is_split(kind, isa) else 1
    products = 2 if is_split(kind, isa) else 1
    best: tuple[float, Tile] | None = None
    for tile in _SHAPES:
        fits = tile.rows <= rows and tile.pixels <= width and vectors % tile.vectors == 0
        registers = tile.rows * tile.pixels * tile.vectors
        if not fits or (registers > isa.registers and registers > 1):
            continue
        tiles = ceil(rows / tile.rows) * ceil(width / tile.pixels) * (vectors // tile.vectors)
        cost = tiles * tile.cycles(taps * products, weight_loads, chunks, isa.registers)
        if taps * weight_bytes(kind, isa) * tile.vectors > _BLOCK:
            cost *= 1.1  # it leaves the cache before the next row of tiles wants it
        if best is None or cost < best[0]:
            best = cost, tile
    assert best is not None  # one pixel of one vector always fits
    return best[1]
