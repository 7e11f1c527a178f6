"""Convolutions with few output channels, stride 1: neighbouring pixels in a vector, instead of output channels.

Sixteen lanes hold the 4-byte lanes of one pixel or more, side by side in a block of 16 channels. Each lane sums its own
part of the channels; at the end of a tile the lanes of a pixel are added up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dot import LANE_BYTES, Kind, is_split, sums_in_registers
from .epilogue import LANES, Epilogue
from .isa import Isa


@dataclass(frozen=True)
class NarrowConv:
    """What the kernel is compiled for.

    Attributes
    ----------
    kind : what is multiplied.
    channels : output channels.
    vectors : 16 lanes of pixels each, in a tile.
    epilogue : None for float32.
    partial : float32 sums are taken in parts.
    """

    kind: Kind
    channels: int
    vectors: int
    epilogue: Epilogue | None
    partial: bool = False

    emitter = "narrow_conv"
    arguments = (
        "x", "x_batch", "x_row", "offsets", "taps", "chunks", "chunk_count", "w", "numbers",
        "scalars", "y", "y_batch", "y_channel", "y_row", "batch", "rows", "width",
    )  # fmt: skip


def best_vectors(channels: int, kind: Kind, isa: Isa) -> int:
    """Return how many vectors of pixels make a tile: the power of two whose sums fit the registers, 8 at most."""
    fitting = sums_in_registers(kind, isa) // channels
    return 1 << (min(max(fitting, 1), 8).bit_length() - 1)


def pixels_in_vector(kind: Kind) -> int:
    """Return how many pixels of 16 channels lie in 16 lanes."""
    return {"s8": 4, "s16": 2, "f32": 1}[kind]


def packed_weights(w: NDArray[Any], kind: Kind, isa: Isa) -> NDArray[np.uint8]:
    """Return weights as the kernel reads them: taps x channels x 16 lanes, a pixel's channels over again.

    Parameters
    ----------
    w
        (channels, taps, 16): int8, int16 or float32; a tap is a place in the kernel and a block of 16 channels.
    """
    channels, taps, _ = w.shape
    repeated = np.tile(w.transpose(1, 0, 2), (1, 1, pixels_in_vector(kind)))
    if is_split(kind, isa):
        lanes = repeated.reshape(taps, channels, LANES, LANE_BYTES).astype(np.int16)
        repeated = np.stack([lanes[..., 0::2], lanes[..., 1::2]], axis=2)
    return np.ascontiguousarray(repeated).view(np.uint8).ravel()
