"""The code of `kernels.resize.ResizeRows`."""

from typing import Any

from llvmlite import ir

from ..isa import Isa
from ..resize import ResizeRows
from .epilogue import Finish
from .memory import unpacker
from .vector import F32, I32, I64, Vec, i64, load, load_scalar, splat, whole_and_part, zeros


def make(spec: ResizeRows, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    form, taps = spec.epilogue, spec.taps
    number = F32 if form is None else I32
    wide = I64 if form is not None and form.wide else number
    out = 4 if form is None else form.itemsize

    def build(b: ir.IRBuilder, *values: ir.Value) -> tuple[Vec, ir.Value, ir.Value]:
        x, x_row, indices, weights, numbers, scalars, y, rest = values
        total = zeros(b, wide)
        for k in range(taps):
            row = load_scalar(b, b.add(indices, i64(8 * k)), I64)
            value = load(b, b.add(x, b.mul(row, x_row)), number)
            weight = load_scalar(b, b.add(weights, i64(4 * k)), number)
            if wide == I64:
                value, weight = value.widened(I64), b.sext(weight, I64)
            total = total + value * splat(b, weight)
        if form is None:
            result = total
        else:
            finish = Finish(b, form, numbers, scalars)
            result = finish(total + finish.bias)
        return result, y, rest

    (whole, part), unpack = whole_and_part(build), unpacker(len(spec.arguments))

    def resize_rows(arguments):
        (
            x, x_batch, x_block, x_row, y, y_batch, y_block, y_row, batch, blocks, rows, items, indices, weights,
            numbers, scalars,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for k in range(blocks):
                of = x + n * x_batch + k * x_block
                for r in range(rows):
                    to = y + n * y_batch + k * y_block + r * y_row
                    index, weight = indices + r * taps * 8, weights + r * taps * 4
                    for v in range(items // 16):
                        whole((of + v * 64, x_row, index, weight, numbers, scalars, to + v * 16 * out, 0))
                    if items % 16 > 0:
                        v = items // 16
                        part((of + v * 64, x_row, index, weight, numbers, scalars, to + v * 16 * out, items % 16))

    return resize_rows
