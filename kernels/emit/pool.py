"""The code of `kernels.pool`."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..elementwise import ITEMSIZE
from ..isa import Isa
from ..pool import Pool
from .lookup import NUMBA
from .memory import at, counted, get, inlined, put, unpacker, variable
from .vector import F64, I64, STORED, Vec, load, zeros


@intrinsic
def _room(_: Any, size: Any) -> Any:
    """Return the address of a few 64-bit numbers on the stack."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return b.ptrtoint(cgutils.alloca_once(b, ir.ArrayType(I64, 16)), I64)

    return types.int64(size), codegen


def _window(spec: Pool) -> Any:
    """Return a function that writes the largest, or the sum, of a window: stored values, or 64-bit sums."""
    element = STORED[spec.stored]
    largest = spec.operation == "max"
    total = element if largest else F64 if spec.stored == "f32" else I64

    def emit(b: ir.IRBuilder, *values: ir.Value) -> None:
        x, rows, columns, row_step, column_step, target = values
        first = load(b, x, element, spec.lanes)
        place = variable(b, first.v if largest else zeros(b, total, spec.lanes).v)
        with counted(b, rows) as r, counted(b, columns) as c:
            here = b.add(x, b.add(b.mul(r, row_step), b.mul(c, column_step)))
            value, so_far = load(b, here, element, spec.lanes), Vec(b, b.load(place))
            if not largest:
                value = value.doubled() if total == F64 else value.widened(I64, signed=spec.stored != "u8")
                result = so_far + value
            elif spec.stored == "u8":
                result = value.where(b.icmp_unsigned(">", value.v, so_far.v), so_far)
            elif spec.stored == "f32":
                # NaN wins, as it does in NumPy.
                either = b.or_(value.is_(">", so_far), b.fcmp_unordered("uno", value.v, value.v))
                result = value.where(either, so_far)
            else:
                result = so_far.at_least(value)
            b.store(result.v, place)
        Vec(b, b.load(place)).store(target)

    return inlined(emit)


def make(spec: Pool, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    unpack, window = unpacker(len(spec.arguments)), _window(spec)
    lanes, size = spec.lanes, ITEMSIZE[spec.stored]
    largest, real = spec.operation == "max", spec.stored == "f32"
    kind = NUMBA[spec.stored]
    out, out_size = (kind, size) if largest else (NUMBA[spec.target], ITEMSIZE[spec.target])
    even, up, away, trunc = (spec.rounding == name for name in ("half_even", "half_up", "half_away", "trunc"))
    wraps, signed = spec.wraps, spec.signed

    def pool(arguments):
        (
            x, x_batch, x_block, x_row, y, y_batch, y_block, y_row, batch, blocks, first, rows, width, height_in,
            width_in, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left_pad, empty, counts,
            left, right, low, high, zero_in, zero_out, bits,
        ) = unpack(arguments)  # fmt: skip
        sums = _room(0)
        for n in range(batch):
            for k in range(blocks):
                for r in range(first, first + rows):
                    start = r * stride_h - top
                    # Of the rows start + i * dilation, those within the image.
                    r0 = 0 if start >= 0 else (-start + dilation_h - 1) // dilation_h
                    r1 = (height_in - start + dilation_h - 1) // dilation_h
                    r1 = r1 if r1 < kernel_h else kernel_h
                    for p in range(width):
                        begin = p * stride_w - left_pad
                        c0 = 0 if begin >= 0 else (-begin + dilation_w - 1) // dilation_w
                        c1 = (width_in - begin + dilation_w - 1) // dilation_w
                        c1 = c1 if c1 < kernel_w else kernel_w
                        tall = r1 - r0 if r1 > r0 else 0
                        wide = c1 - c0 if c1 > c0 else 0
                        to = y + n * y_batch + k * y_block + r * y_row + p * lanes * out_size
                        nothing = tall == 0 or wide == 0
                        if nothing and largest:
                            # `empty` holds one pixel of what a window without cells gives.
                            window((empty, 1, 1, 0, 0, to))
                            continue
                        of = x + n * x_batch + k * x_block
                        of += (start + r0 * dilation_h) * x_row + (begin + c0 * dilation_w) * lanes * size
                        if nothing:
                            of = x
                        down, along = dilation_h * x_row, dilation_w * lanes * size
                        if largest:
                            window((of, tall, wide, down, along, to))
                            continue
                        window((of, tall, wide, down, along, sums))
                        count = get(at(counts, types.int64), r * width + p)
                        if real:
                            for c in range(lanes):
                                put(at(to, out), c, get(at(sums, types.float64), c) / count)
                            continue
                        divisor = count << right
                        for c in range(lanes):
                            total = (get(at(sums, types.int64), c) - tall * wide * zero_in) << left
                            quotient = total // divisor
                            twice = 2 * (total - quotient * divisor)
                            if even:
                                quotient += twice > divisor or (twice == divisor and (quotient & 1) == 1)
                            elif up:
                                quotient += twice >= divisor
                            elif away:
                                quotient += twice > divisor or (twice == divisor and total > 0)
                            elif trunc:
                                quotient += twice > 0 and total < 0
                            if wraps:
                                quotient = quotient << (64 - bits)
                                low_bits = (1 << bits) - 1
                                quotient = quotient >> (64 - bits) if signed else (quotient >> (64 - bits)) & low_bits
                            quotient = low if quotient < low else high if quotient > high else quotient
                            put(at(to, out), c, quotient + zero_out)

    return pool
