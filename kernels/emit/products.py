"""Sums of products of 4-byte lanes on each instruction set."""

from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir

from ..dot import LANE_BYTES, FactorType, is_paired, is_split
from ..isa import AVX2, Isa
from .vector import F32, I8, I16, I32, LANES, Value, function, fused, joined, load

VECTOR = LANES * LANE_BYTES
"""Bytes of 16 lanes."""

_HALF = LANES // 2


def element(kind: FactorType) -> ir.Type:
    """Return the type of a lane and of a sum."""
    return F32 if kind == "f32" else I32


class Products:
    """Builder of total + dot(x, w) in every 32-bit lane.

    Attributes
    ----------
    element : type of a lane and of a sum.
    parts : number of vectors that the items of 16 lanes take.
    """

    def __init__(self, b: ir.IRBuilder, kind: FactorType, isa: Isa) -> None:
        self.b, self.kind, self.isa = b, kind, isa
        self.element = element(kind)
        self.parts = 2 if is_split(kind, isa) else 1

    def inputs(self, x: Value) -> list[Value]:
        """Return inputs as the products take them: two vectors of 16-bit pairs if no instruction multiplies bytes."""
        if self.parts == 1:
            return [x]
        return [x & 0x00FF00FF, x.shift_right_logical(8) & 0x00FF00FF]

    def weights(self, address: Value) -> list[Value]:
        """Return the weights of one tap as the products take them."""
        return [load(address + i * VECTOR, self.element, align=4) for i in range(self.parts)]

    def add(self, total: Value, x: list[Value], w: list[Value]) -> Value:
        """Return total + dot(x, w); bytes of x are unsigned, everything else is signed."""
        if self.kind == "f32":
            return fused(total, x[0], w[0], is_fused=self.isa.has_fma)
        if self.isa.has_vnni:
            name = "llvm.x86.avx512.vpdpbusd.512" if self.kind == "s8" else "llvm.x86.avx512.vpdpwssd.512"
            return self._instruction(name, total, x[0], w[0])
        if is_paired(self.kind, self.isa):
            return total + self._bytes(x[0], w[0])
        for pairs, weights in zip(x, w, strict=True):
            total = total + self._pairs(pairs, weights)
        return total

    def add_high(self, total: Value, x: Value) -> Value:
        """Return total + (x >> 16).

        The product of the pair (low, high) with (0, 1) is one instruction, but it takes the units of all the others.
        """
        if self.isa.has_vnni and not self.isa.adds_beside:
            return self._instruction("llvm.x86.avx512.vpdpwssd.512", total, x, x.like(1 << 16))
        return total + (x >> 16)

    def _instruction(self, name: str, total: Value, x: Value, w: Value) -> Value:
        items = _item_type(name)
        first, second = (
            v.bits(I32) if items == "i32" else Value(self.b, self.b.bitcast(v.v, _ITEMS[items])) for v in (x, w)
        )
        kind = ir.FunctionType(total.v.type, [total.v.type, first.v.type, second.v.type])
        return Value(self.b, self.b.call(function(self.b, kind, name), [total.v, first.v, second.v]))

    def _bytes(self, x: Value, w: Value) -> Value:
        """Return the sums of four products of bytes; the sums of each pair must stay in 16 bits."""
        kind = ir.FunctionType(ir.VectorType(I16, LANES), [ir.VectorType(I8, 2 * LANES)] * 2)
        multiply = function(self.b, kind, "llvm.x86.avx2.pmadd.ub.sw")
        halves = []
        for part in (range(_HALF), range(_HALF, LANES)):
            a, c = x.picked(part).bits(I8), w.picked(part).bits(I8)
            halves.append(Value(self.b, self.b.call(multiply, [a.v, c.v])).bits(I32))
        return self._pairs(joined(halves), x.like(0x00010001))

    def _pairs(self, x: Value, w: Value) -> Value:
        """Return x0*w0 + x1*w1 of signed pairs."""
        if self.isa == AVX2:
            kind = ir.FunctionType(ir.VectorType(I32, _HALF), [ir.VectorType(I16, LANES)] * 2)
            multiply = function(self.b, kind, "llvm.x86.avx2.pmadd.wd")
            halves = []
            for part in (range(_HALF), range(_HALF, LANES)):
                a, c = x.picked(part).bits(I16), w.picked(part).bits(I16)
                halves.append(Value(self.b, self.b.call(multiply, [a.v, c.v])))
            return joined(halves)
        total = None
        a, c = x.bits(I16), w.bits(I16)
        for odd in (0, 1):
            lanes = range(odd, 2 * x.lanes, 2)
            product = a.picked(lanes).widened(I32) * c.picked(lanes).widened(I32)
            total = product if total is None else total + product
        assert total is not None
        return total


_ITEMS = {"i8": ir.VectorType(ir.IntType(8), 64), "i16": ir.VectorType(I16, 32)}


@cache
def _item_type(name: str) -> str:
    """Return the element type of the instruction's inputs in this release of LLVM.

    Raises
    ------
    RuntimeError
        If LLVM has the instruction in none of the known forms.
    """
    for items, text in (("i32", "<16 x i32>"), ("i8", "<64 x i8>"), ("i16", "<32 x i16>")):
        try:
            llvm.parse_assembly(f"declare <16 x i32> @{name}(<16 x i32>, {text}, {text})").verify()
        except RuntimeError:
            continue
        return items
    raise RuntimeError(f"this LLVM has no {name}; set QENGINE_ISA=avx2, which does not need it")
