"""The code of `kernels.packing.Unpack`."""

from typing import Any

from numba import types

from ..elementwise import ITEMSIZE
from ..isa import Isa
from ..packing import Unpack
from .lookup import NUMBA
from .memory import at, get, put, unpacker
from .pack import CODES, double


def make(spec: Unpack, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    unpack = unpacker(len(spec.arguments))
    stored, target, size = NUMBA[spec.stored], CODES[spec.target], ITEMSIZE[spec.stored]
    copies, real = spec.stored == "f32", spec.target == "f32"

    def unpack_tensor(arguments):
        (
            x, x_batch, x_block, x_row, y, y_batch, y_channel, y_row, block, batch, channels, rows, width, scale, zero,
        ) = unpack(arguments)  # fmt: skip
        by = double(scale)
        for n in range(batch):
            for c in range(channels):
                for r in range(rows):
                    of = at(x + n * x_batch + c // block * x_block + r * x_row + c % block * size, stored)
                    to = at(y + n * y_batch + c * y_channel + r * y_row, target)
                    for p in range(width):
                        if copies:
                            put(to, p, get(of, p * block))
                        elif real:
                            put(to, p, types.float64(get(of, p * block) - zero) * by)
                        else:
                            put(to, p, types.int64(get(of, p * block)) - zero)

    return unpack_tensor
