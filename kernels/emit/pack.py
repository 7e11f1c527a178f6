"""The code of `kernels.packing.Pack`."""

from math import inf

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from ..packing import Pack, QuantizeBlocks
from .epilogue import flags_of
from .loops import Arguments, counted, each_channel_row, each_tile, in_blocks
from .memory import Array
from .rounding import overflow, quarters_of_float, round_quarters
from .vector import F32, F64, I8, I16, I32, I64, LANES, STORED, Value, bit_width, constant, load

CODES = {"i8": I8, "u8": I8, "i16": I16, "u16": I16, "f32": F32}
"""LLVM type of an element of the user's array."""

_WRAPS_TO_ZERO = float(1 << 45)  # beyond it a float32 that was scaled is a multiple of 2^16, which wraps to 0


def emit(spec: Pack, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    quantizes = spec.source == "f32" and spec.stored != "f32"
    with each_channel_row(a) as (n, c, r):
        x = a.x + n * a.x_batch + c * a.x_channel + r * a.x_row
        y = a.y + n * a.y_batch + in_blocks(c, a.block, a.y_block, ELEMENT_BYTES[spec.stored]) + r * a.y_row
        (_quantize if quantizes else _copy)(spec, a, x, y)


def _copy(spec: Pack, a: Arguments, x: Value, y: Value) -> None:
    source, target = Array(x, CODES[spec.source]), Array(y, STORED[spec.stored])
    with counted(a.width) as p:
        value = source.get(p)
        if spec.stored != "f32":
            value = (value.widened(I64, signed=spec.source[0] == "i") + a.zero).truncated(STORED[spec.stored])
        target.put(p * a.block, value)


def _quantize(spec: Pack, a: Arguments, x: Value, y: Value) -> None:
    itemsize = ELEMENT_BYTES[spec.stored]
    step = a.block * itemsize
    zero = a.width.like(0)

    def convert(p: Value, lanes: int) -> None:
        codes, flags = codes_of_floats(spec, a, load(x + p * 4, F32, lanes))
        target = y + p * step
        with a.b.if_else(step.equals(itemsize).v) as (is_dense, is_apart):
            with is_dense:
                for value, address in _stores(spec, a, codes, flags, target):
                    value.store(address)
            with is_apart:
                for value, address in _stores(spec, a, codes, flags, target):
                    for i in range(lanes):
                        value.lane(i).store(address + step * i)

    with each_tile(a.width.where(a.width >= LANES, zero), LANES) as (_, p):
        convert(p, LANES)
    with counted(a.width.where(a.width < LANES, zero)) as p:
        convert(p, 1)


def _stores(spec: Pack, a: Arguments, codes: Value, flags: Value, target: Value) -> list[tuple[Value, Value]]:
    """Return the vectors to store, and where: the codes and, where they are counted, their flags."""
    return [(codes, target), *([(flags, target + a.y_flags)] if spec.counts else [])]


def codes_of_floats(spec: Pack | QuantizeBlocks, a: Arguments, x: Value) -> tuple[Value, Value]:
    """Return the stored codes of float32 values, and their flags; `nan` becomes 1 if there is NaN among them."""
    is_nan, lanes = x.is_nan(), x.lanes
    with a.b.if_then(is_nan.any().v, likely=False):
        constant(a.b, 1).store(a.nan)
    integer = I64 if spec.fitting == "wrap" else I32
    low, high, zero, bits = (scalar.truncated(integer).splat(lanes) for scalar in (a.low, a.high, a.zero, a.bits))
    fourfold = x.like(0.0).where(is_nan, x).doubled() * (a.scale.bits(F64) * 4.0).splat(lanes)
    above = bits.like(bit_width(integer)) - bits
    if spec.fitting != "wrap":
        # The bounds are integers, so that it makes no difference whether numbers are saturated before they are rounded.
        # Numbers that do not fit stay beyond the bounds where they are counted or become 0.
        beyond = 1 if spec.counts or spec.fitting == "zero" else 0
        least, most = ((bound.as_floats(F64) * 4.0).splat(lanes) for bound in (a.low - beyond, a.high + beyond))
        bounded = overflow(fourfold, least, most, signed=spec.signed)
        codes = round_quarters(quarters_of_float(bounded, integer), spec.rounding)
        saturates, is_zero = (codes > high) | (codes < low), codes.equals(0)
        if beyond:
            codes = overflow(codes, low, high, spec.fitting, above, signed=spec.signed)
    else:
        is_far = (fourfold > 4.0 * _WRAPS_TO_ZERO) | (fourfold < -4.0 * _WRAPS_TO_ZERO)
        near = fourfold.like(0.0).where(is_far, fourfold)
        codes = round_quarters(quarters_of_float(near, integer), spec.rounding)
        saturates, is_zero = is_far | (codes > high) | (codes < low), codes.equals(0)
        is_zero = near.equals(fourfold) & is_zero  # what is far does not round to 0
        codes = overflow(codes, low, high, spec.fitting, above, signed=spec.signed)
    if spec.fitting != "saturate":  # infinities saturate in every overflow
        codes = high.where(x.equals(inf), low.where(x.equals(-inf), codes))
    stored = (codes + zero).truncated(STORED[spec.stored])
    return stored, flags_of(stored.element, saturates, is_zero & x.differs(0.0))
