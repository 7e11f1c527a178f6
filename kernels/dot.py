"""The kernel of convolutions and matrix products: a dot over a table of taps, 16 output channels in a vector.

The problem: kernel sizes, dilations, groups and layouts differ, but the inner loop must be the same few instructions.
The idea: an output is a sum over *taps*. A tap is 4 bytes of the input (4 codes of 8 bits, 2 of 16 bits, or one
float32) at a distance in bytes from the output pixel's input; that distance is the same for all pixels, so a table of
distances describes any window. The instruction multiplies the 4 bytes of a tap by 4 bytes of weights and adds the
products to a 32-bit sum, in each of 16 lanes: a lane is one output channel, so nothing is added up across lanes.

A *tile* is rows x pixels of the output times vectors of 16 output channels. Its sums stay in registers over the loop
over taps: each tap loads a vector of weights for every vector of channels, and broadcasts 4 bytes of input for every
pixel. Larger tiles use what they load more often, until the registers run out; `best_tile` estimates which of a few
shapes is the fastest. Sums that could leave 32 bits are widened after every *chunk* of taps (see `emit.sums`).

`Dot` says what a kernel is compiled for; `emit.dot` has its code, docs/development/kernels.md the measurements.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .epilogue import LANES, Epilogue, Sums, flag_arguments
from .isa import AVX2, Isa

FactorType = Literal["s8", "s16", "f32"]
"""Products of a kernel: unsigned bytes by signed bytes, signed 16 bits by signed 16 bits, or float32."""

ITEMSIZE: dict[FactorType, int] = {"s8": 1, "s16": 2, "f32": 4}
"""Bytes of a factor."""

LANE_BYTES = 4
"""Bytes of a lane, and of a tap."""

PARTIAL_TAPS = 256
"""Number of taps after which a float32 sum is added to another one: rounding errors grow with the length of a sum."""


_ARGUMENTS = (
    "x", "x_batch", "x_row", "x_step", "offsets", "taps", "chunks", "chunk_count", "w", "w_vector", "numbers",
    "scalars", "y", "y_batch", "y_vector", "y_row", "y_pixel", "batch", "rows", "width", "vectors", "last",
)  # fmt: skip


@dataclass(frozen=True)
class Dot:
    """Specification of the dot kernel.

    Attributes
    ----------
    kind : products that are summed.
    rows, pixels, vectors : shape of the tile: rows and columns of output pixels, vectors of 16 output channels.
    step : bytes from one output pixel's input to the next's; 0 if the argument "x_step" gives it.
    epilogue : epilogue of the sums; None for float32.
    masked : whether the last vector has fewer than 16 channels.
    outer : whether the loop over channels encloses that over pixels, and the weights of the next channels are
        prefetched while these are used: other tensors push them out of the L2 cache from run to run.
    partial : whether float32 sums are sums of partial sums, see `PARTIAL_TAPS`.
    """

    kind: FactorType
    rows: int
    pixels: int
    vectors: int
    step: int
    epilogue: Epilogue | Sums | None
    masked: bool = False
    outer: bool = False
    partial: bool = False

    emitter = "dot"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_ARGUMENTS, *flag_arguments(self.epilogue))


def is_paired(kind: FactorType, isa: Isa) -> bool:
    """Whether two products of bytes are first added up in 16 bits, which saturate: the weights must avoid that."""
    return kind == "s8" and isa == AVX2


def is_split(kind: FactorType, isa: Isa) -> bool:
    """Whether weights of bytes are stored as two vectors of 16 bits, of the even and of the odd bytes."""
    return kind == "s8" and not isa.has_vnni and not is_paired(kind, isa)


def sums_in_registers(kind: FactorType, isa: Isa) -> int:
    """Return how many vectors of sums a tile may keep in registers; products of several instructions need some too."""
    return isa.registers if kind == "f32" or isa.has_vnni else max(2, isa.registers * 2 // 3)


def weight_bytes(kind: FactorType, isa: Isa) -> int:
    """Return the number of bytes of one tap's weights for 16 channels."""
    return LANES * LANE_BYTES * (2 if is_split(kind, isa) else 1)


def packed_weights(lanes: NDArray[Any], kind: FactorType, isa: Isa) -> NDArray[np.uint8]:
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
    """Shape of a tile, and an estimate of its cost."""

    rows: int
    pixels: int
    vectors: int

    @property
    def sums(self) -> int:
        """The number of vectors of sums."""
        return self.rows * self.pixels * self.vectors

    def cycles(self, kind: FactorType, isa: Isa, taps: int, chunks: int) -> float:
        """Return the estimated cycles of one tile.

        A core begins two products and two loads per cycle, one load where the weights come from the L2
        cache, and each product waits for the one before it. Weights of more than two vectors, which lie far apart,
        come from there more slowly. After each chunk of taps the sums are added to wide sums,
        which are in registers if there is room.
        """
        halves = 2 if kind == "s8" and not isa.has_vnni else 1
        products = self.sums * isa.parts
        weights = self.vectors * isa.parts * (2 if is_split(kind, isa) else 1)
        loads = (self.rows * self.pixels + weights) / 2
        far = 1.0
        if taps * weight_bytes(kind, isa) * self.vectors > _L1_WEIGHT_BYTES:
            loads = max(loads, weights)
            far = 1.15 if self.vectors > 2 else 1.0
        in_registers = 2 * self.sums <= sums_in_registers(kind, isa)
        widening = chunks * products * (1.0 if in_registers else 2.1)
        return taps * max(halves * products / 2, loads, 4.5) * far + widening + 4 * products + 20


_L1_WEIGHT_BYTES = 24_000  # bytes of weights that fit the L1 cache with the input
_L2_WEIGHT_BYTES = 700_000  # bytes of weights that fit the L2 cache with those that are prefetched

# Each shape that is used is compiled, so they are few: for wide images, narrow ones, many channels, single pixels.
_SHAPES = (
    Tile(1, 14, 2), Tile(2, 7, 2), Tile(1, 14, 1), Tile(2, 7, 1), Tile(1, 7, 4), Tile(1, 4, 4), Tile(2, 4, 2),
    Tile(1, 7, 2), Tile(1, 4, 1), Tile(1, 1, 4), Tile(1, 1, 1), Tile(1, 5, 1), Tile(1, 2, 1),
)  # fmt: skip


@lru_cache(4096)  # bands ask for the same few shapes hundreds of times
def best_tile(kind: FactorType, isa: Isa, rows: int, width: int, vectors: int, taps: int, chunks: int) -> Tile:
    """Return the shape of tile that is estimated to cover rows x width pixels x vectors of channels the fastest.

    The tile's number of vectors divides `vectors`.
    """
    best: tuple[float, Tile] | None = None
    for tile in _SHAPES:
        fits = tile.rows <= rows and tile.pixels <= width and vectors % tile.vectors == 0
        if not fits or tile.sums > max(sums_in_registers(kind, isa), 1):
            continue
        tiles = ceil(rows / tile.rows) * ceil(width / tile.pixels) * (vectors // tile.vectors)
        cost = tiles * tile.cycles(kind, isa, taps, chunks)
        if taps * weight_bytes(kind, isa) * tile.vectors > _L2_WEIGHT_BYTES:
            cost *= 1.1  # the weights leave the cache before the next row of tiles reads them
        if best is None or cost < best[0]:
            best = cost, tile
    assert best is not None  # one pixel of one vector always fits
    return best[1]
