"""Vectors of LLVM values with Python's operators: what kernels are written in where LLVM would not vectorize alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .memory import inlined

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32, F64 = ir.FloatType(), ir.DoubleType()
LANES = 16

STORED = {"u8": I8, "i16": I16, "f32": F32}
"""The type of an element, by how it is stored."""


class Vec:
    """A vector of integers or floats; integers are signed. Operators take another Vec of the type, or a number."""

    __slots__ = ("b", "v")

    def __init__(self, b: ir.IRBuilder, v: ir.Value) -> None:
        self.b, self.v = b, v

    @property
    def element(self) -> ir.Type:
        """The lanes' type."""
        return self.v.type.element

    @property
    def lanes(self) -> int:
        """How many there are."""
        return int(self.v.type.count)

    def like(self, number: float) -> Vec:
        """Return the number in every lane of a vector of this type."""
        return Vec(self.b, ir.Constant(self.v.type, [number] * self.lanes))

    def _value(self, other: Vec | float) -> ir.Value:
        return other.v if isinstance(other, Vec) else self.like(other).v

    def _is_float(self) -> bool:
        return bool(self.element in (F32, F64))

    def __add__(self, other: Vec | float) -> Vec:
        add = self.b.fadd if self._is_float() else self.b.add
        return Vec(self.b, add(self.v, self._value(other)))

    def __sub__(self, other: Vec | float) -> Vec:
        subtract = self.b.fsub if self._is_float() else self.b.sub
        return Vec(self.b, subtract(self.v, self._value(other)))

    def __mul__(self, other: Vec | float) -> Vec:
        multiply = self.b.fmul if self._is_float() else self.b.mul
        return Vec(self.b, multiply(self.v, self._value(other)))

    def __truediv__(self, other: Vec) -> Vec:
        return Vec(self.b, self.b.fdiv(self.v, other.v))

    def __and__(self, other: Vec | int) -> Vec:
        return Vec(self.b, self.b.and_(self.v, self._value(other)))

    def __or__(self, other: Vec | int) -> Vec:
        return Vec(self.b, self.b.or_(self.v, self._value(other)))

    def __xor__(self, other: Vec | int) -> Vec:
        return Vec(self.b, self.b.xor(self.v, self._value(other)))

    def __lshift__(self, other: Vec | int) -> Vec:
        return Vec(self.b, self.b.shl(self.v, self._value(other)))

    def __rshift__(self, other: Vec | int) -> Vec:
        return Vec(self.b, self.b.ashr(self.v, self._value(other)))

    def shift_right_logical(self, other: Vec | int) -> Vec:
        """Return self >> other with zeros coming in."""
        return Vec(self.b, self.b.lshr(self.v, self._value(other)))

    def is_(self, relation: str, other: Vec | float) -> ir.Value:
        """Return the lanes in which a relation such as "<" holds; never where one is NaN."""
        compare = self.b.fcmp_ordered if self._is_float() else self.b.icmp_signed
        return compare(relation, self.v, self._value(other))

    def where(self, mask: ir.Value, other: Vec) -> Vec:
        """Return self in the lanes of a mask and `other` elsewhere."""
        return Vec(self.b, self.b.select(mask, self.v, other.v))

    def at_least(self, low: Vec) -> Vec:
        """Return the larger; NaN stays."""
        return low.where(self.is_("<", low), self)

    def at_most(self, high: Vec) -> Vec:
        """Return the smaller; NaN stays."""
        return high.where(self.is_(">", high), self)

    def truncated(self, element: ir.Type) -> Vec:
        """Return the low bits of every lane."""
        return (
            self if element == self.element else Vec(self.b, self.b.trunc(self.v, ir.VectorType(element, self.lanes)))
        )

    def widened(self, element: ir.Type, signed: bool = True) -> Vec:
        """Return the lanes as longer integers."""
        if element == self.element:
            return self
        extend = self.b.sext if signed else self.b.zext
        return Vec(self.b, extend(self.v, ir.VectorType(element, self.lanes)))

    def doubled(self) -> Vec:
        """Return float32 lanes as float64."""
        return Vec(self.b, self.b.fpext(self.v, ir.VectorType(F64, self.lanes)))

    def as_integers(self, element: ir.Type) -> Vec:
        """Return whole numbers that the integers can hold as such."""
        return Vec(self.b, self.b.fptosi(self.v, ir.VectorType(element, self.lanes)))

    def bits(self, element: ir.Type) -> Vec:
        """Return the same bits as lanes of another type."""
        width = {I8: 8, I16: 16, I32: 32, I64: 64, F32: 32}
        count = self.lanes * width[self.element] // width[element]
        return Vec(self.b, self.b.bitcast(self.v, ir.VectorType(element, count)))

    def picked(self, lanes: Sequence[int], other: Vec | None = None) -> Vec:
        """Return lanes of self, or from its length on of `other`."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        second = ir.Constant(self.v.type, ir.Undefined) if other is None else other.v
        return Vec(self.b, self.b.shuffle_vector(self.v, second, mask))

    def store(self, address: ir.Value, align: int = 1) -> None:
        """Write all lanes."""
        self.b.store(self.v, pointer(self.b, address, self.v.type)).align = align

    def store_first(self, address: ir.Value, count: ir.Value) -> None:
        """Write the first `count` (i64) lanes only."""
        b, lanes = self.b, self.lanes
        # Without masks of their own processors take long over this, and there is seldom less than all to write.
        with b.if_else(b.icmp_signed(">=", count, i64(lanes)), likely=True) as (all_of_them, some):
            with all_of_them:
                self.store(address)
            with some:
                self._store_masked(address, count)

    def _store_masked(self, address: ir.Value, count: ir.Value) -> None:
        b, lanes = self.b, self.lanes
        bits = {I8: 8, I16: 16, I32: 32, F32: 32}[self.element]
        name = f"llvm.masked.store.v{lanes}{'f' if self._is_float() else 'i'}{bits}.p0"
        mask_type = ir.VectorType(I1, lanes)
        numbers = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
        limit = splat(b, b.trunc(count, I32), lanes)
        mask = b.icmp_signed("<", numbers, limit.v)
        where = pointer(b, address, self.v.type)
        kind = ir.FunctionType(ir.VoidType(), [self.v.type, where.type, I32, mask_type])
        b.call(function(b, kind, name), [self.v, where, ir.Constant(I32, 1), mask])


def pointer(b: ir.IRBuilder, address: ir.Value, pointee: ir.Type) -> ir.Value:
    """Return an address (i64) as a pointer."""
    return b.inttoptr(address, pointee.as_pointer())


def function(b: ir.IRBuilder, kind: ir.FunctionType, name: str) -> ir.Function:
    """Return a declared function of the module."""
    known = b.module.globals.get(name)
    return known if known is not None else ir.Function(b.module, kind, name)


def i64(number: int) -> ir.Constant:
    """Return a 64-bit constant."""
    return ir.Constant(I64, number)


def splat(b: ir.IRBuilder, scalar: ir.Value, lanes: int = LANES) -> Vec:
    """Return a vector with a scalar in every lane."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = b.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return Vec(b, b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)))


def zeros(b: ir.IRBuilder, element: ir.Type, lanes: int = LANES) -> Vec:
    """Return a vector of zeros."""
    return Vec(b, ir.Constant(ir.VectorType(element, lanes), None))


def load(b: ir.IRBuilder, address: ir.Value, element: ir.Type, lanes: int = LANES, align: int = 1) -> Vec:
    """Return what lies at an address."""
    value = b.load(pointer(b, address, ir.VectorType(element, lanes)))
    value.align = align
    return Vec(b, value)


def load_scalar(b: ir.IRBuilder, address: ir.Value, element: ir.Type) -> ir.Value:
    """Return one number; it need not be aligned."""
    value = b.load(pointer(b, address, element))
    value.align = 1
    return value


def joined(parts: Sequence[Vec]) -> Vec:
    """Return vectors of one type, a power of two of them, as one."""
    while len(parts) > 1:
        parts = [a.picked(range(2 * a.lanes), c) for a, c in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def interleaved(parts: Sequence[Vec]) -> Vec:
    """Return the first lane of every part, then the second of every part, and so on; a power of two of parts."""
    whole, count, lanes = joined(parts), len(parts), parts[0].lanes
    return whole.picked([k * lanes + i for i in range(lanes) for k in range(count)])


def prefetch(b: ir.IRBuilder, address: ir.Value) -> None:
    """Have the cache line of an address brought nearer; any address will do."""
    where = pointer(b, address, I8)
    kind = ir.FunctionType(ir.VoidType(), [where.type, I32, I32, I32])
    near, data = ir.Constant(I32, 2), ir.Constant(I32, 1)
    b.call(function(b, kind, "llvm.prefetch.p0"), [where, ir.Constant(I32, 0), near, data])


def whole_and_part(emit: Callable[..., tuple[Vec, ir.Value, ir.Value]]) -> tuple[Any, Any]:
    """Return two jitted functions of one tuple of 64-bit integers, as `inlined` does.

    `emit(builder, *values)` builds a vector and gives it, the address where it goes, and a count (i64): the first
    function writes all lanes, the second so many of them.
    """

    def whole(b: ir.IRBuilder, *values: ir.Value) -> None:
        result, address, _ = emit(b, *values)
        result.store(address)

    def part(b: ir.IRBuilder, *values: ir.Value) -> None:
        result, address, count = emit(b, *values)
        result.store_first(address, count)

    return inlined(whole), inlined(part)
