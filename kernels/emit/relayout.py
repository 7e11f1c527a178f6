"""The code of `kernels.packing.Relayout`."""

from typing import Any

from numba import types

from ..elementwise import ITEMSIZE
from ..isa import Isa
from ..packing import Relayout
from .lookup import NUMBA
from .memory import at, get, put, unpacker


def make(spec: Relayout, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    unpack = unpacker(len(spec.arguments))
    source, target = NUMBA[spec.source], NUMBA[spec.target]
    x_size, y_size = ITEMSIZE[spec.source], ITEMSIZE[spec.target]
    real = spec.source == "f32"

    def relayout(arguments):
        (
            x, x_batch, x_block, x_row, x_channels, y, y_batch, y_block, y_row, y_channels, skip, batch, channels, rows,
            width, change,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for c in range(channels):
                d = c + skip
                for r in range(rows):
                    of = at(x + n * x_batch + c // x_channels * x_block + r * x_row + c % x_channels * x_size, source)
                    to = at(y + n * y_batch + d // y_channels * y_block + r * y_row + d % y_channels * y_size, target)
                    for p in range(width):
                        if real:
                            put(to, p * y_channels, get(of, p * x_channels))
                        else:
                            put(to, p * y_channels, types.int64(get(of, p * x_channels)) + change)

    return relayout
