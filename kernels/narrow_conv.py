"""Specification, weights and tiles of convolutions with few output channels and stride 1.

With 3 output channels, 13 of the 16 lanes of `dot` would be idle. Here lanes hold neighbouring pixels instead: 16
lanes are the 4-byte lanes of one pixel or more, side by side in a block of 16 channels. Each lane sums its own part of
the channels; at the end of a tile the lanes of a pixel are added up.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dot import LANE_BYTES, FactorType, is_split, sums_in_registers
from .epilogue import LANES, Epilogue, flag_arguments
from .isa import Isa

_ARGUMENTS = (
    "x", "x_batch", "x_row", "offsets", "taps", "chunks", "chunk_count", "w", "numbers",
    "scalars", "y", "y_batch", "y_channel", "y_row", "batch", "rows", "width",
)  # fmt: skip


@dataclass(frozen=True)
class NarrowConv:
    """Specification of the kernel for few output channels.

    Attributes
    ----------
    kind : products that are summed.
    channels : number of output channels.
    vectors : number of vectors of pixels in a tile.
    epilogue : epilogue of the sums; None for float32.
    partial : whether float32 sums are sums of partial sums, see `dot.PARTIAL_TAPS`.
    """

    kind: FactorType
    channels: int
    vectors: int
    epilogue: Epilogue | None
    partial: bool = False

    emitter = "narrow_conv"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return (*_ARGUMENTS, *flag_arguments(self.epilogue))


def best_vectors(channels: int, kind: FactorType, isa: Isa) -> int:
    """Return the number of vectors in a tile: the largest power of two, up to 8, whose sums fit the registers."""
    fitting = sums_in_registers(kind, isa) // channels
    return 1 << (min(max(fitting, 1), 8).bit_length() - 1)


def pixels_in_vector(kind: FactorType) -> int:
    """Return the number of pixels of 16 channels in 16 lanes."""
    return {"s8": 4, "s16": 2, "f32": 1}[kind]


def packed_weights(w: NDArray[Any], kind: FactorType, isa: Isa) -> NDArray[np.uint8]:
    """Return weights as the kernel reads them: taps x channels x 16 lanes, a pixel's lanes repeated for each pixel.

    Parameters
    ----------
    w
        (channels, taps, 16): int8, int16 or float32; a tap is a position in the kernel and a block of 16 channels.
    """
    channels, taps, _ = w.shape
    repeated = np.tile(w.transpose(1, 0, 2), (1, 1, pixels_in_vector(kind)))
    if is_split(kind, isa):
        lanes = repeated.reshape(taps, channels, LANES, LANE_BYTES).astype(np.int16)
        repeated = np.stack([lanes[..., 0::2], lanes[..., 1::2]], axis=2)
    return np.ascontiguousarray(repeated).view(np.uint8).ravel()
