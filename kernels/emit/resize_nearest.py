"""The code of `kernels.resize.ResizeNearest`."""

from typing import Any

from llvmlite import ir
from numba import types

from ..isa import Isa
from ..resize import ResizeNearest
from .memory import at, get, inlined, unpacker
from .vector import I8, load


def make(spec: ResizeNearest, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    pixel = spec.pixel

    def emit(b: ir.IRBuilder, source: ir.Value, target: ir.Value) -> None:
        load(b, source, I8, pixel).store(target)

    copy, unpack = inlined(emit), unpacker(len(spec.arguments))

    def resize_nearest(arguments):
        (
            x, x_batch, x_block, x_row, y, y_batch, y_block, y_row, batch, blocks, rows, width, offsets, indices,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for k in range(blocks):
                for r in range(rows):
                    of = x + n * x_batch + k * x_block + get(at(indices, types.int64), r) * x_row
                    to = y + n * y_batch + k * y_block + r * y_row
                    for p in range(width):
                        copy((of + get(at(offsets, types.int64), p), to + p * pixel))

    return resize_nearest
