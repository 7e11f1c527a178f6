"""The code of `kernels.resize.ResizeColumns`."""

from typing import Any

from llvmlite import ir

from ..isa import Isa
from ..resize import ResizeColumns
from .memory import inlined, unpacker
from .vector import F32, I32, I64, STORED, i64, load, load_scalar, splat, zeros


def make(spec: ResizeColumns, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    element, lanes, taps = STORED[spec.stored], spec.lanes, spec.taps
    number = F32 if spec.stored == "f32" else I32

    def emit(b: ir.IRBuilder, *values: ir.Value) -> None:
        row, offsets, weights, target, zero = values
        total = zeros(b, number, lanes)
        for k in range(taps):
            offset = load_scalar(b, b.add(offsets, i64(8 * k)), I64)
            x = load(b, b.add(row, offset), element, lanes)
            if number == I32:
                x = x.widened(I32, signed=spec.stored != "u8") - splat(b, b.trunc(zero, I32), lanes)
            total = total + x * splat(b, load_scalar(b, b.add(weights, i64(4 * k)), number), lanes)
        total.store(target)

    pixel, unpack = inlined(emit), unpacker(len(spec.arguments))

    def resize_columns(arguments):
        (
            x, x_batch, x_block, x_row, y, y_batch, y_block, y_row, batch, blocks, rows, width, block, offsets, weights,
            zero,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for k in range(blocks):
                for r in range(rows):
                    of = x + n * x_batch + k * x_block + r * x_row
                    to = y + n * y_batch + k * y_block + r * y_row
                    for p in range(width):
                        # Of a pixel's lanes those beyond its channels are written over by the next pixel.
                        pixel((of, offsets + p * taps * 8, weights + p * taps * 4, to + p * block * 4, zero))

    return resize_columns
