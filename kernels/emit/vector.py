"""LLVM values with Python's operators: the language that the kernels are written in.

A kernel is built instruction by instruction with an `ir.IRBuilder`, because LLVM alone does not find the vector code
that kernels need: which register holds what, and which instruction multiplies. `Value` makes such code readable. It
holds a scalar or a vector of integers or floats, and `x * w + bias` appends a multiplication and an addition to the
kernel; nothing is computed while Python runs. Python's loops and conditions therefore unroll and specialize a kernel;
loops of the kernel itself come from `loops`.

The usual vector has 16 lanes of 32 bits (`LANES`): one AVX-512 register, two of AVX2. LLVM splits longer vectors.
Integers are signed; addresses and counters are scalars of 64 bits. A comparison gives a mask, a vector of single bits,
and `a.where(mask, b)` chooses between two values without a branch. A number on one side of an operator becomes a
constant of the other side's type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
LANES = 16

STORED = {"u8": I8, "i16": I16, "f32": F32}
"""LLVM type of an element by its stored form."""

INTEGERS = {1: I8, 2: I16, 4: I32, 8: I64}
"""LLVM type of an element by its number of bytes, where it moves without being looked at."""

_BITS = {I8: 8, I16: 16, I32: 32, I64: 64, F32: 32, F64: 64}


def bit_width(element: ir.Type) -> int:
    """Return the number of bits of a scalar type."""
    return _BITS[element]


class Value:
    """Scalar or vector in a kernel that is being built.

    Attributes
    ----------
    b : builder that the operators append instructions to.
    v : LLVM's value.
    """

    __slots__ = ("b", "v")

    def __init__(self, b: ir.IRBuilder, v: ir.Value) -> None:
        self.b, self.v = b, v

    @property
    def is_vector(self) -> bool:
        """Whether the value has lanes."""
        return isinstance(self.v.type, ir.VectorType)

    @property
    def element(self) -> ir.Type:
        """The type of a lane, or of the scalar."""
        return self.v.type.element if self.is_vector else self.v.type

    @property
    def lanes(self) -> int:
        """The number of lanes, 1 for a scalar."""
        return int(self.v.type.count) if self.is_vector else 1

    def _type(self, element: ir.Type) -> ir.Type:
        return ir.VectorType(element, self.lanes) if self.is_vector else element

    def _new(self, v: ir.Value) -> Value:
        return Value(self.b, v)

    def like(self, number: float) -> Value:
        """Return a constant of this type, the same number in every lane."""
        return self._new(ir.Constant(self.v.type, [number] * self.lanes if self.is_vector else number))

    def _operand(self, other: Value | float) -> ir.Value:
        return other.v if isinstance(other, Value) else self.like(other).v

    def _is_float(self) -> bool:
        return bool(self.element in (F32, F64))

    def __add__(self, other: Value | float) -> Value:
        return self._new((self.b.fadd if self._is_float() else self.b.add)(self.v, self._operand(other)))

    def __sub__(self, other: Value | float) -> Value:
        return self._new((self.b.fsub if self._is_float() else self.b.sub)(self.v, self._operand(other)))

    def __mul__(self, other: Value | float) -> Value:
        return self._new((self.b.fmul if self._is_float() else self.b.mul)(self.v, self._operand(other)))

    def __truediv__(self, other: Value | float) -> Value:
        return self._new(self.b.fdiv(self.v, self._operand(other)))

    def divided_by(self, other: Value | int) -> Value:
        """Return the quotient of integers, cut towards 0."""
        return self._new(self.b.sdiv(self.v, self._operand(other)))

    def modulo(self, other: Value | int) -> Value:
        """Return the remainder of `divided_by`."""
        return self._new(self.b.srem(self.v, self._operand(other)))

    def __and__(self, other: Value | int) -> Value:
        return self._new(self.b.and_(self.v, self._operand(other)))

    def __or__(self, other: Value | int) -> Value:
        return self._new(self.b.or_(self.v, self._operand(other)))

    def __xor__(self, other: Value | int) -> Value:
        return self._new(self.b.xor(self.v, self._operand(other)))

    def __lshift__(self, other: Value | int) -> Value:
        return self._new(self.b.shl(self.v, self._operand(other)))

    def __rshift__(self, other: Value | int) -> Value:
        return self._new(self.b.ashr(self.v, self._operand(other)))

    def shift_right_logical(self, other: Value | int) -> Value:
        """Return self >> other with zeros coming in."""
        return self._new(self.b.lshr(self.v, self._operand(other)))

    def _compare(self, relation: str, other: Value | float) -> Value:
        compare = self.b.fcmp_ordered if self._is_float() else self.b.icmp_signed
        return self._new(compare(relation, self.v, self._operand(other)))

    def __lt__(self, other: Value | float) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Value | float) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Value | float) -> Value:
        return self._compare(">", other)

    def __ge__(self, other: Value | float) -> Value:
        return self._compare(">=", other)

    def equals(self, other: Value | float) -> Value:
        """Return a mask of the lanes that are equal; NaN equals nothing."""
        return self._compare("==", other)

    def differs(self, other: Value | float) -> Value:
        """Return a mask of the lanes that are not equal; a lane with NaN is not in it."""
        return self._compare("!=", other)

    def is_above_unsigned(self, other: Value) -> Value:
        """Return a mask of the lanes where self > other, both without sign."""
        return self._new(self.b.icmp_unsigned(">", self.v, other.v))

    def is_nan(self) -> Value:
        """Return a mask of the lanes that hold NaN."""
        return self._new(self.b.fcmp_unordered("uno", self.v, self.v))

    def where(self, mask: Value, other: Value | float) -> Value:
        """Return self in the lanes of a mask and `other` elsewhere."""
        return self._new(self.b.select(mask.v, self.v, self._operand(other)))

    def at_least(self, low: Value | float) -> Value:
        """Return the larger of two values; NaN stays."""
        low = low if isinstance(low, Value) else self.like(low)
        return low.where(self < low, self)

    def at_most(self, high: Value | float) -> Value:
        """Return the smaller of two values; NaN stays."""
        high = high if isinstance(high, Value) else self.like(high)
        return high.where(self > high, self)

    def truncated(self, element: ir.Type) -> Value:
        """Return the low bits of integers as shorter integers."""
        return self if element == self.element else self._new(self.b.trunc(self.v, self._type(element)))

    def widened(self, element: ir.Type, signed: bool = True) -> Value:
        """Return the lanes as longer integers; those of a mask as 0 and 1 if not `signed`, as 0 and -1 if so."""
        if element == self.element:
            return self
        return self._new((self.b.sext if signed else self.b.zext)(self.v, self._type(element)))

    def doubled(self) -> Value:
        """Return float32 lanes as float64."""
        return self._new(self.b.fpext(self.v, self._type(F64)))

    def halved(self) -> Value:
        """Return float64 lanes rounded to float32."""
        return self._new(self.b.fptrunc(self.v, self._type(F32)))

    def as_integers(self, element: ir.Type) -> Value:
        """Return floats as integers, cut towards 0; the integers must be able to hold them."""
        return self._new(self.b.fptosi(self.v, self._type(element)))

    def as_floats(self, element: ir.Type) -> Value:
        """Return integers as floats."""
        return self._new(self.b.sitofp(self.v, self._type(element)))

    def bits(self, element: ir.Type) -> Value:
        """Return the same bits as a scalar, or as lanes, of another type."""
        if not self.is_vector:
            return self._new(self.b.bitcast(self.v, element))
        count = self.lanes * _BITS[self.element] // _BITS[element]
        return self._new(self.b.bitcast(self.v, ir.VectorType(element, count)))

    def any(self) -> Value:
        """Return whether any lane of a mask is set, as a scalar mask."""
        whole = self.b.bitcast(self.v, ir.IntType(self.lanes))
        return self._new(self.b.icmp_unsigned("!=", whole, ir.Constant(whole.type, 0)))

    def picked(self, lanes: Sequence[int], other: Value | None = None) -> Value:
        """Return the lanes of these numbers; numbers from self's length on are lanes of `other`."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        second = ir.Constant(self.v.type, ir.Undefined) if other is None else other.v
        return self._new(self.b.shuffle_vector(self.v, second, mask))

    def repeated(self, lanes: int) -> Value:
        """Return a vector of `lanes` lanes: the lanes of this one repeated, or the first of them."""
        return self if lanes == self.lanes else self.picked([i % self.lanes for i in range(lanes)])

    def lane(self, i: int) -> Value:
        """Return one lane as a scalar."""
        return self._new(self.b.extract_element(self.v, ir.Constant(I32, i)))

    def splat(self, lanes: int = LANES) -> Value:
        """Return a vector with this scalar in every lane."""
        undefined = ir.Constant(ir.VectorType(self.v.type, lanes), ir.Undefined)
        first = self.b.insert_element(undefined, self.v, ir.Constant(I32, 0))
        return self._new(self.b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)))

    def store(self, address: Value, align: int = 1) -> None:
        """Write all lanes to an address."""
        self.b.store(self.v, pointer(address, self.v.type)).align = align

    def store_first(self, address: Value, count: Value) -> None:
        """Write the first `count` lanes only."""
        # CPUs without masks take long over a masked store, and all lanes are written nearly always.
        with self.b.if_else((count >= self.lanes).v, likely=True) as (every_lane, some_lanes):
            with every_lane:
                self.store(address)
            with some_lanes:
                self.store_masked(address, first_lanes(count, self.lanes))

    def store_masked(self, address: Value, mask: Value) -> None:
        """Write the lanes of a mask only; memory of the others is not touched."""
        b = self.b
        target = pointer(address, self.v.type)
        signature = ir.FunctionType(ir.VoidType(), [self.v.type, target.type, I32, mask.v.type])
        name = f"llvm.masked.store.{_suffix(self)}.p0"
        b.call(function(b, signature, name), [self.v, target, ir.Constant(I32, 1), mask.v])


def first_lanes(count: Value, lanes: int = LANES) -> Value:
    """Return a mask of the first `count` lanes: none where it is not positive, all where it is large."""
    numbers = Value(count.b, ir.Constant(ir.VectorType(I64, lanes), list(range(lanes))))
    return numbers < count.splat(lanes)


def pointer(address: Value, pointee: ir.Type) -> ir.Value:
    """Return an address as a pointer."""
    return address.b.inttoptr(address.v, pointee.as_pointer())


def function(b: ir.IRBuilder, signature: ir.FunctionType, name: str) -> ir.Function:
    """Return a function of the module, declared if it is not yet."""
    known = b.module.globals.get(name)
    return known if known is not None else ir.Function(b.module, signature, name)


def constant(b: ir.IRBuilder, number: int) -> Value:
    """Return a 64-bit integer."""
    return Value(b, ir.Constant(I64, number))


def zeros(b: ir.IRBuilder, element: ir.Type, lanes: int = LANES) -> Value:
    """Return a vector of zeros."""
    return Value(b, ir.Constant(ir.VectorType(element, lanes), None))


def load(address: Value, element: ir.Type, lanes: int = LANES, align: int = 1) -> Value:
    """Return the vector that lies at an address."""
    value = address.b.load(pointer(address, ir.VectorType(element, lanes)))
    value.align = align
    return Value(address.b, value)


def _suffix(v: Value) -> str:
    """Return LLVM's name of the type of a vector, as its functions have it."""
    return f"v{v.lanes}{'f' if v.element in (F32, F64) else 'i'}{_BITS[v.element]}"


def load_masked(address: Value, mask: Value, other: Value) -> Value:
    """Return the lanes of a mask from an address, whose other lanes are not read, and those of `other` elsewhere."""
    b, source = address.b, pointer(address, other.v.type)
    signature = ir.FunctionType(other.v.type, [source.type, I32, mask.v.type, other.v.type])
    name = f"llvm.masked.load.{_suffix(other)}.p0"
    return Value(b, b.call(function(b, signature, name), [source, ir.Constant(I32, 1), mask.v, other.v]))


def load_lanes(address: Value, element: ir.Type, mask: Value) -> Value:
    """Return the lanes of a mask from an address, and 0 in the others, whose memory is not touched."""
    return load_masked(address, mask, zeros(address.b, element, mask.lanes))


def fused(total: Value, x: Value, w: Value, *, is_fused: bool) -> Value:
    """Return total + x * w of floats, rounded once if `is_fused`: where the CPU has no such instruction it is slow."""
    if not is_fused:
        return total + x * w
    kind = ir.FunctionType(total.v.type, [total.v.type] * 3)
    name = _suffix(total) if total.is_vector else f"f{_BITS[total.element]}"
    return Value(total.b, total.b.call(function(total.b, kind, f"llvm.fma.{name}"), [x.v, w.v, total.v]))


def root(x: Value) -> Value:
    """Return the square root of floats; NaN below 0."""
    kind = ir.FunctionType(x.v.type, [x.v.type])
    name = _suffix(x) if x.is_vector else f"f{_BITS[x.element]}"
    return Value(x.b, x.b.call(function(x.b, kind, f"llvm.sqrt.{name}"), [x.v]))


def load_scalar(address: Value, element: ir.Type) -> Value:
    """Return the scalar that lies at an address, which need not be aligned."""
    value = address.b.load(pointer(address, element))
    value.align = 1
    return Value(address.b, value)


def joined(parts: Sequence[Value]) -> Value:
    """Return a power of two of vectors of one type as one vector."""
    while len(parts) > 1:
        parts = [a.picked(range(2 * a.lanes), c) for a, c in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def interleaved(parts: Sequence[Value]) -> Value:
    """Return the first lane of every part, then the second of every part, and so on; a power of two of parts."""
    whole, count, lanes = joined(parts), len(parts), parts[0].lanes
    return whole.picked([k * lanes + i for i in range(lanes) for k in range(count)])


def prefetch(address: Value) -> None:
    """Bring the cache line of an address nearer; any address is allowed."""
    b, target = address.b, pointer(address, I8)
    signature = ir.FunctionType(ir.VoidType(), [target.type, I32, I32, I32])
    read, near, data = (ir.Constant(I32, n) for n in (0, 2, 1))
    b.call(function(b, signature, "llvm.prefetch.p0"), [target, read, near, data])


def float_bounds(scalars: Value, lanes: int = LANES) -> tuple[Any, Any]:
    """Return the two float32 at an address, the bounds of a fused activation, as vectors."""
    low, high = (load_scalar(scalars + 4 * i, F32).splat(lanes) for i in range(2))
    return low, high
