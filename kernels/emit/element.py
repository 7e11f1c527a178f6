"""Elements of every type in registers: loads, stores, conversions, and the arithmetic that depends on signs.

float16 and bfloat16 are 16 bits in memory and float32 in registers: every operation is computed in float32, and rounded
once where it is stored. Truth values are bytes of 0 or 1.
"""

from llvmlite import ir

from ..elements import ELEMENT_BYTES
from ..isa import Isa
from .vector import F32, F64, I8, I16, I32, I64, INTEGERS, Value

_HALF = ir.HalfType()


def kind_of(name: str) -> str:
    """Return "f", "i", "u" or "b" for the type of an element."""
    return "f" if name in ("f16", "bf16") else name[0]


def in_memory(name: str) -> ir.Type:
    """Return LLVM's type of an element in memory."""
    return {"f32": F32, "f64": F64}.get(name) or INTEGERS[ELEMENT_BYTES[name]]


def widened(v: Value, name: str, isa: Isa) -> Value:
    """Return an element as operations take it: float16 and bfloat16 as float32."""
    if name == "bf16":
        return (v.widened(I32, signed=False) << 16).bits(F32)
    if name != "f16":
        return v
    if isa.requires:
        return Value(v.b, v.b.fpext(v.b.bitcast(v.v, ir.VectorType(_HALF, v.lanes)), ir.VectorType(F32, v.lanes)))
    wide = v.widened(I32, signed=False)
    magnitude, sign = (wide & 0x7FFF) << 13, (wide & 0x8000) << 16
    scaled = (magnitude.bits(F32) * 2.0**112).bits(I32)
    special = magnitude | 0x7F800000
    return (special.where((wide & 0x7C00).equals(0x7C00), scaled) | sign).bits(F32)


def narrowed(v: Value, name: str, isa: Isa) -> Value:
    """Return a result as it lies in memory: rounded half to even to float16 or bfloat16."""
    if name == "bf16":
        bits = v.bits(I32)
        rounded = bits + ((bits.shift_right_logical(16) & 1) + 0x7FFF)
        return (bits | 0x400000).where(v.is_nan(), rounded).shift_right_logical(16).truncated(I16)
    if name != "f16":
        return v
    if isa.requires:
        half = v.b.fptrunc(v.v, ir.VectorType(_HALF, v.lanes))
        return Value(v.b, v.b.bitcast(half, ir.VectorType(I16, v.lanes)))
    bits = v.bits(I32)
    magnitude = bits & 0x7FFFFFFF
    sign = bits.shift_right_logical(16) & 0x8000
    # Adding 1/2 rounds a number below 2^-14 to a multiple of 2^-24, which are the last bits of the sum.
    small = (magnitude.bits(F32) + 0.5).bits(I32) - (126 << 23)
    odd = magnitude.shift_right_logical(13) & 1
    normal = (magnitude + (odd + ((15 - 127) * (1 << 23) + 0xFFF))).shift_right_logical(13)
    beyond = magnitude.like(0x7E00).where(magnitude > 0x7F800000, magnitude.like(0x7C00))
    code = beyond.where(magnitude >= 143 << 23, small.where(magnitude < 113 << 23, normal))
    return (code | sign).truncated(I16)


def less(a: Value, c: Value, kind: str) -> Value:
    """Return a mask of the lanes where a < c."""
    return Value(a.b, a.b.icmp_unsigned("<", a.v, c.v)) if kind in "ub" else a < c


def smaller(a: Value, c: Value, kind: str) -> Value:
    """Return the smaller of two values; NaN wins."""
    is_first = less(a, c, kind)
    if kind == "f":
        is_first = is_first | a.is_nan()
    return a.where(is_first, c)


def larger(a: Value, c: Value, kind: str) -> Value:
    """Return the larger of two values; NaN wins."""
    is_first = less(c, a, kind)
    if kind == "f":
        is_first = is_first | a.is_nan()
    return a.where(is_first, c)


def whole(v: Value) -> Value:
    """Return float64 numbers rounded to integers."""
    size = v.bits(I64) & 0x7FFFFFFFFFFFFFFF
    is_small = size < 0x4330000000000000  # below 2^52
    sign = v.bits(I64) & -(1 << 63)
    large = v.like(2.0**52).bits(I64) | sign
    return ((v + large.bits(F64)) - large.bits(F64)).where(is_small, v)


def divided(a: Value, c: Value, kind: str) -> tuple[Value, Value]:
    """Return quotients of integers, cut towards 0, and remainders; those by 0 are not defined.

    The smallest integer divided by -1 wraps to itself: the processor has no such division.
    """
    b = a.b
    zero = c.like(0)
    if kind != "i":
        divisor = c.like(1).where(c.equals(0), c)
        return Value(b, b.udiv(a.v, divisor.v)), Value(b, b.urem(a.v, divisor.v))
    is_negated = c.equals(-1)
    divisor = c.like(1).where(is_negated | c.equals(0), c)
    quotient, rest = a.divided_by(divisor), a.modulo(divisor)
    return (zero - a).where(is_negated, quotient), zero.where(is_negated, rest)


def converted(v: Value, source: str, target: str) -> Value:
    """Return elements in another type, as `qengine.model.ops.conversion` does; those of 16 bits are float32 here."""
    before, after = kind_of(source), kind_of(target)
    if after == "b":
        return _as_bytes(v.differs(0) | v.is_nan() if before == "f" else v.differs(0))
    if before == "f" and after == "f":
        return _real(v, source, target)
    if after == "f":
        real = F64 if target == "f64" else F32
        vector = ir.VectorType(real, v.lanes) if v.is_vector else real
        return Value(v.b, (v.b.sitofp if before == "i" else v.b.uitofp)(v.v, vector))
    integer = in_memory(target)
    if before != "f":
        size, wanted = ELEMENT_BYTES[source], ELEMENT_BYTES[target]
        return v.widened(integer, signed=before == "i") if wanted > size else v.truncated(integer)
    if target == "u64":
        is_high = v >= 2.0**63
        low = _truncated((v - 2.0**63).where(is_high, v), I64)
        return (low ^ -(1 << 63)).where(is_high, low)
    return _truncated(v, I64 if target in ("i64", "u32") else I32).truncated(integer)


def _real(v: Value, source: str, target: str) -> Value:
    if source == "f64" and target == "f32":
        return v.halved()
    if source == "f64" and target in ("f16", "bf16"):
        # Rounded to odd first, so that the second rounding sees on which side of a tie the number lies.
        near = v.halved()
        is_inexact = near.doubled().differs(v)
        magnitude, whole = near.bits(I32) & 0x7FFFFFFF, v.bits(I64) & 0x7FFFFFFFFFFFFFFF
        is_above = magnitude.bits(F32).doubled() > whole.bits(F64)
        cut = (near.bits(I32) - 1).where(is_above, near.bits(I32)) | 1
        return cut.where(is_inexact, near.bits(I32)).bits(F32)
    if target == "f64" and source != "f64":
        return v.doubled()
    return v


def _truncated(v: Value, integer: ir.Type) -> Value:
    """Return numbers cut towards 0, the least integer for those that do not fit."""
    least = -(2.0 ** (31 if integer == I32 else 63))
    # Numbers between the least integer and one below it are cut to it.
    lower = v > least - 1 if v.element == F64 and integer == I32 else v >= least
    return v.where(lower & (v < -least), least).as_integers(integer)


def _as_bytes(mask: Value) -> Value:
    return mask.widened(I8, signed=False)


def bit_count(name: str) -> int:
    """Return the number of bits of an element."""
    return 8 * ELEMENT_BYTES[name]
