"""Loops over taps that compute many sums at once in registers: in 32 bits, or exact beyond them."""

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from ..dot import PARTIAL_TAPS, sums_in_registers
from .loops import counted
from .memory import Variable, aligned_room
from .products import Products
from .vector import I32, I64, LANES, Value, constant, load, load_scalar, zeros

_VECTOR = LANES * 4

AddTap = Callable[[Value, list[Variable]], None]
"""Function (tap, sums) that builds the addition of one tap's products to the sums."""


def sum_over_taps(
    start: list[Value], taps: Value, add_tap: AddTap, first: Value | None = None, *, partial: bool = False
) -> list[Value]:
    """Return `start` plus the products of all taps: vectors of int32 that the sums do not leave, or of float32.

    Taps begin at `first`. With `partial`, sums of `PARTIAL_TAPS` taps at a time are added up.
    """
    if not partial:
        sums = [Variable(value) for value in start]
        with counted(taps, first) as tap:
            add_tap(tap, sums)
        return [total.get() for total in sums]
    nothing = start[0].like(0)
    sums = [Variable(nothing) for _ in start]
    totals = _Vectors(start, 0)
    with counted((taps + (PARTIAL_TAPS - 1)).divided_by(PARTIAL_TAPS)) as part:
        first = part * PARTIAL_TAPS
        with counted((first + PARTIAL_TAPS).at_most(taps), first) as tap:
            add_tap(tap, sums)
        for i, total in enumerate(sums):
            totals.put(i, totals.get(i) + total.get())
            total.put(nothing)
    return [totals.get(i) for i in range(len(sums))]


@dataclass(frozen=True)
class WideSum:
    """Vector of sums high * 2^16 + low, in 32 bits each; low has 16 bits after a loop over taps."""

    high: Value
    low: Value

    @classmethod
    def nothing(cls, b: ir.IRBuilder) -> "WideSum":
        """Return sums of 0."""
        return cls(zeros(b, I32), zeros(b, I32))

    def whole(self) -> Value:
        """Return the sums as int64."""
        return (self.high.widened(I64) << 16) + self.low.widened(I64)


def sum_wide(
    products: Products, start: list[WideSum], chunks: Value, chunk_count: Value, add_tap: AddTap
) -> list[WideSum]:
    """Return `start` plus the products of all taps: vectors of sums whose low parts have 16 bits, as those of `start`.

    `chunks` is the address of the taps where the chunks end; within a chunk no sum leaves 32 bits. After each chunk,
    the bits above bit 15 move to a second sum.
    """
    sums = [Variable(total.low) for total in start]
    high = _Vectors([total.high for total in start], sums_in_registers(products.kind, products.isa) // 2)
    first = Variable(constant(products.b, 0))
    with counted(chunk_count) as chunk:
        end = load_scalar(chunks + (chunk << 3), I64)
        with counted(end, first.get()) as tap:
            add_tap(tap, sums)
        first.put(end)
        for i, total in enumerate(sums):
            part = total.get()
            high.put(i, products.add_high(high.get(i), part))
            total.put(part & 0xFFFF)
    return [WideSum(high.get(i), total.get()) for i, total in enumerate(sums)]


class _Vectors:
    """Vectors that a loop seldom changes: in registers up to a number of vectors, above it in aligned memory."""

    def __init__(self, start: list[Value], registers: int) -> None:
        self._element = start[0].element
        self._addresses: list[Value] = []
        self._variables: list[Variable] = []
        if len(start) <= registers:
            self._variables = [Variable(value) for value in start]
            return
        room = aligned_room(start[0].b, len(start) * _VECTOR)
        self._addresses = [room + i * _VECTOR for i in range(len(start))]
        for address, value in zip(self._addresses, start, strict=True):
            value.store(address, align=_VECTOR)

    def get(self, i: int) -> Value:
        """Return a vector."""
        if self._variables:
            return self._variables[i].get()
        return load(self._addresses[i], self._element, align=_VECTOR)

    def put(self, i: int, value: Value) -> None:
        """Change a vector."""
        if self._variables:
            self._variables[i].put(value)
        else:
            value.store(self._addresses[i], align=_VECTOR)
