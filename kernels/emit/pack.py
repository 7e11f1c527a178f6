"""The code of `kernels.packing.Pack`."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..elementwise import ITEMSIZE
from ..isa import Isa
from ..packing import Pack
from .lookup import NUMBA
from .memory import at, get, inlined, put, unpacker
from .vector import F32, F64, I16, I32, I64, LANES, STORED, Vec, i64, load, pointer, splat

CODES = {"i8": types.int8, "u8": types.uint8, "i16": types.int16, "u16": types.uint16, "f32": types.float32}
_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it rounds a float64 below 2^51 to an integer, half to even
_FAR = float(1 << 45)  # a float32 this large is a multiple of 2^16
_EDGE = float(1 << 20)  # beyond every code


@intrinsic
def double(_: Any, bits: Any) -> Any:
    """Return the float64 that a 64-bit integer holds the bits of."""

    def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
        return b.bitcast(values[0], ir.DoubleType())

    return types.float64(types.int64), codegen


def _rounded(v: Vec, rounding: str) -> Vec:
    """Round float64 lanes below 2^51 to whole numbers; exact, as every difference here is."""
    near = (v + _MAGIC) - _MAGIC
    if rounding == "half_even":
        return near
    one, nothing = v.like(1.0), v.like(0.0)
    below = near - one.where(near.is_(">", v), nothing)
    if rounding == "floor":
        return below
    rest, b = v - below, v.b
    if rounding == "half_up":
        up = rest.is_(">=", 0.5)
    elif rounding == "half_away":
        up = b.or_(rest.is_(">", 0.5), b.and_(rest.is_("==", 0.5), v.is_(">", 0.0)))
    else:
        up = b.and_(rest.is_(">", 0.0), v.is_("<", 0.0))
    return below + one.where(up, nothing)


def _sixteen(spec: Pack) -> Any:
    """Return a function that quantizes 16 neighbours, saturating, and stores them some bytes apart."""
    stored = STORED[spec.stored]

    def emit(b: ir.IRBuilder, *values: ir.Value) -> None:
        of, to, step, scale, low, high, zero, nan = values
        x = load(b, of, F32)
        is_nan = b.bitcast(b.fcmp_unordered("uno", x.v, x.v), I16)
        with b.if_then(b.icmp_unsigned("!=", is_nan, I16(0)), likely=False):
            b.store(i64(1), pointer(b, nan, I64))
        v = x.doubled() * splat(b, b.bitcast(scale, F64))
        v = v.at_least(v.like(-_EDGE)).at_most(v.like(_EDGE))
        v = v.where(b.fcmp_ordered("ord", v.v, v.v), v.like(0.0))  # NaN is no integer
        codes = _rounded(v, spec.rounding).as_integers(I32)
        least, most, offset = (splat(b, b.trunc(bound, I32)) for bound in (low, high, zero))
        found = (codes.at_least(least).at_most(most) + offset).truncated(stored)
        for i in range(LANES):
            lane = b.extract_element(found.v, I32(i))
            b.store(lane, pointer(b, b.add(to, b.mul(step, i64(i))), stored))

    return inlined(emit)


def make(spec: Pack, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    unpack = unpacker(len(spec.arguments))
    source, stored = CODES[spec.source], NUMBA[spec.stored]
    y_size = ITEMSIZE[spec.stored]
    copies = spec.stored == "f32"
    if copies or spec.source != "f32":

        def pack(arguments):
            (
                x, x_batch, x_channel, x_row, y, y_batch, y_block, y_row, block, batch, channels, rows, width, scale,
                low, high, zero, bits, nan,
            ) = unpack(arguments)  # fmt: skip
            for n in range(batch):
                for c in range(channels):
                    for r in range(rows):
                        of = at(x + n * x_batch + c * x_channel + r * x_row, source)
                        to = at(y + n * y_batch + c // block * y_block + r * y_row + c % block * y_size, stored)
                        for p in range(width):
                            if copies:
                                put(to, p * block, get(of, p))
                            else:
                                put(to, p * block, get(of, p) + zero)

        return pack

    even, up, away, floor = (spec.rounding == name for name in ("half_even", "half_up", "half_away", "floor"))
    wraps, signed, sixteen = spec.wraps, spec.signed, _sixteen(spec)
    infinite = float("inf")

    def quantize(arguments):
        (
            x, x_batch, x_channel, x_row, y, y_batch, y_block, y_row, block, batch, channels, rows, width, scale, low,
            high, zero, bits, nan,
        ) = unpack(arguments)  # fmt: skip
        by = double(scale)
        found = 0
        for n in range(batch):
            for c in range(channels):
                for r in range(rows):
                    of = at(x + n * x_batch + c * x_channel + r * x_row, types.float32)
                    to = at(y + n * y_batch + c // block * y_block + r * y_row + c % block * y_size, stored)
                    whole_vectors = 0 if wraps else width // 16
                    for p in range(whole_vectors):
                        place = x + n * x_batch + c * x_channel + r * x_row + p * 64
                        target = y + n * y_batch + c // block * y_block + r * y_row + c % block * y_size
                        step = block * y_size
                        sixteen((place, target + p * 16 * step, step, scale, low, high, zero, nan))
                    for p in range(whole_vectors * 16, width):
                        v = types.float64(get(of, p))
                        found += v != v
                        endless = v == infinite or v == -infinite
                        v = v * by
                        if wraps:
                            v = 0.0 if (v > _FAR or v < -_FAR) and not endless else v
                            v = v if v < _FAR else _FAR
                            v = v if v > -_FAR else -_FAR
                        else:
                            v = v if v < _EDGE else _EDGE
                            v = v if v > -_EDGE else -_EDGE
                        near = (v + _MAGIC) - _MAGIC
                        below = near - 1.0 if near > v else near
                        rest = v - below
                        if even:
                            whole = near
                        elif up:
                            whole = below + 1.0 if rest >= 0.5 else below
                        elif away:
                            whole = below + 1.0 if rest > 0.5 or (rest == 0.5 and v > 0.0) else below
                        elif floor:
                            whole = below
                        else:
                            whole = below + 1.0 if v < 0.0 and rest > 0.0 else below
                        code = types.int64(whole)
                        if wraps:
                            if endless:
                                code = high if code > 0 else low
                            code = code << (64 - bits)
                            code = code >> (64 - bits) if signed else (code >> (64 - bits)) & ((1 << bits) - 1)
                        code = low if code < low else high if code > high else code
                        put(to, p * block, code + zero)
        if found > 0:
            put(at(nan, types.int64), 0, 1)

    return quantize
