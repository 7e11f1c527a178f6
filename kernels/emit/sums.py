"""Many sums over taps at once, in registers; exact beyond 32 bits where that is asked for."""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from ..dot import PARTIAL_TAPS, sums_in_registers
from .memory import aligned_room, counted, variable
from .products import Products
from .vector import I64, LANES, Vec, i64, load, load_scalar, zeros

_VECTOR = LANES * 4

Body = Callable[[ir.Value, list[ir.Value]], None]
"""Adds the products of one tap to the sums, which are places of vectors."""


def sum_over_taps(b: ir.IRBuilder, start: list[Vec], taps: ir.Value, body: Body, *, partial: bool = False) -> list[Vec]:
    """Return what a loop over taps adds to vectors of int32, that nothing takes beyond 32 bits, or of float32.

    With `partial`, sums of some taps at a time are added up.
    """
    if not partial:
        sums = [variable(b, v.v) for v in start]
        with counted(b, taps) as tap:
            body(tap, sums)
        return [Vec(b, b.load(place)) for place in sums]
    nothing = zeros(b, start[0].element)
    sums = [variable(b, nothing.v) for _ in start]
    totals = _Places(b, start, 0)
    parts = b.sdiv(b.add(taps, i64(PARTIAL_TAPS - 1)), i64(PARTIAL_TAPS))
    with counted(b, parts) as part:
        first = b.mul(part, i64(PARTIAL_TAPS))
        end = b.add(first, i64(PARTIAL_TAPS))
        end = b.select(b.icmp_signed("<", end, taps), end, taps)
        with counted(b, end, first) as tap:
            body(tap, sums)
        for i, place in enumerate(sums):
            totals.put(i, totals.get(i) + Vec(b, b.load(place)))
            b.store(nothing.v, place)
    return [totals.get(i) for i in range(len(sums))]


@dataclass(frozen=True)
class WideSum:
    """A vector of sums high * 2^16 + low, in 32 bits each; low is not negative."""

    high: Vec
    low: Vec

    def whole(self) -> Vec:
        """Return the sums as int64."""
        return (self.high.widened(I64) << 16) + self.low.widened(I64)


def sum_wide(
    b: ir.IRBuilder, products: Products, count: int, chunks: ir.Value, chunk_count: ir.Value, body: Body
) -> list[WideSum]:
    """Return `count` vectors of sums over all taps.

    Within a chunk, which ends at the tap that `chunks` says, no sum leaves 32 bits. After each, what is above bit 15
    moves to sums of its own.
    """
    nothing = zeros(b, products.element)
    sums = [variable(b, nothing.v) for _ in range(count)]
    high = _Places(b, [nothing] * count, sums_in_registers(products.kind, products.isa) // 2)
    first = variable(b, i64(0))
    with counted(b, chunk_count) as chunk:
        end = load_scalar(b, b.add(chunks, b.shl(chunk, i64(3))), I64)
        with counted(b, end, b.load(first)) as tap:
            body(tap, sums)
        b.store(end, first)
        for i, place in enumerate(sums):
            part = Vec(b, b.load(place))
            high.put(i, products.add_high(high.get(i), part))
            b.store((part & 0xFFFF).v, place)
    return [WideSum(high.get(i), Vec(b, b.load(place))) for i, place in enumerate(sums)]


class _Places:
    """Vectors that a loop changes now and then: in registers if there are few, else in memory that is aligned."""

    def __init__(self, b: ir.IRBuilder, start: list[Vec], registers: int) -> None:
        self._b, self._element = b, start[0].element
        self._in_memory = len(start) > registers
        if self._in_memory:
            room = aligned_room(b, len(start) * _VECTOR)
            self._places = [b.add(room, i64(i * _VECTOR)) for i in range(len(start))]
            for place, value in zip(self._places, start, strict=True):
                value.store(place, align=_VECTOR)
        else:
            self._places = [variable(b, value.v) for value in start]

    def get(self, i: int) -> Vec:
        """Return a vector."""
        if self._in_memory:
            return load(self._b, self._places[i], self._element, align=_VECTOR)
        return Vec(self._b, self._b.load(self._places[i]))

    def put(self, i: int, value: Vec) -> None:
        """Change a vector."""
        if self._in_memory:
            value.store(self._places[i], align=_VECTOR)
        else:
            self._b.store(value.v, self._places[i])
