"""Specification, weights and tiles of convolutions in which every channel has its own filter.

Sixteen lanes hold the channels of one pixel or more: a lane holds 4 codes of 8 bits, 2 of 16 bits or 1 float32, of
neighbouring channels. The instruction adds the products of all items of a lane, but here they belong to different
channels. So each item has a sum of its own, for which the weights of the other items are 0.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dot import ITEMSIZE, LANE_BYTES, FactorType, is_split, sums_in_registers
from .epilogue import LANES, Epilogue, flag_arguments
from .isa import Isa
from .narrow_conv import pixels_in_vector

_ARGUMENTS = (
    "x", "x_batch", "x_block", "x_row", "offsets", "taps", "chunks", "chunk_count", "w", "w_block",
    "numbers", "scalars", "y", "y_batch", "y_block", "y_row", "batch", "blocks", "rows", "width",
)  # fmt: skip


@dataclass(frozen=True)
class Depthwise:
    """Specification of the depthwise kernel.

    Attributes
    ----------
    kind : products that are summed.
    rows, vectors : shape of the tile: rows of pixels, vectors of 16 lanes in a row.
    stride : distance along a row, in pixels of the input, between neighbouring output pixels.
    epilogue : epilogue of the sums; None for float32.
    """

    kind: FactorType
    rows: int
    vectors: int
    stride: int
    epilogue: Epilogue | None

    emitter = "depthwise"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_ARGUMENTS, *flag_arguments(self.epilogue))


def lane_items(kind: FactorType) -> int:
    """Return the number of channels that a lane holds."""
    return LANE_BYTES // ITEMSIZE[kind]


@lru_cache(512)
def channel_order(channels: int, kind: FactorType) -> NDArray[np.intp]:
    """Return the channel whose epilogue each lane needs, (blocks x items of a lane, 16); -1 for a lane without one."""
    items, blocks = lane_items(kind), -(-channels // LANES)
    within = (np.arange(LANES) % (LANES // items)) * items
    one = np.stack([within + j for j in range(items)])
    order = (np.arange(blocks)[:, None, None] * LANES + one).reshape(-1, LANES)
    return np.where(order < channels, order, -1)


def packed_weights(w: NDArray[Any], kind: FactorType, isa: Isa) -> NDArray[np.uint8]:
    """Return weights as the kernel reads them: blocks x taps x items of a lane x 16 lanes.

    Parameters
    ----------
    w
        (channels, taps): int8, int16 or float32. Channels are a multiple of 16.
    """
    channels, taps = w.shape
    items, pixels = lane_items(kind), pixels_in_vector(kind)
    lanes = w.reshape(channels // LANES, LANES // items, items, taps).transpose(0, 3, 2, 1)  # block, tap, item, lane
    alone = np.zeros((channels // LANES, taps, items, pixels, LANES // items, items), w.dtype)
    for i in range(items):
        alone[:, :, i, :, :, i] = lanes[:, :, i, None]
    if is_split(kind, isa):
        wide = alone.reshape(*alone.shape[:3], LANES, items).astype(np.int16)
        alone = np.stack([wide[..., 0::2], wide[..., 1::2]], axis=3)
    return alone.view(np.uint8).ravel()


def best_tile(kind: FactorType, rows: int, width: int, isa: Isa) -> tuple[int, int]:
    """Return rows and vectors of the tile: as many sums as registers hold, with few lanes beyond the width."""
    items, pixels = lane_items(kind), pixels_in_vector(kind)
    most = max(1, min(24, sums_in_registers(kind, isa)) // items)
    vectors = min(most, -(-width // pixels), 6)
    return max(1, min(rows, most // vectors, 3)), vectors
