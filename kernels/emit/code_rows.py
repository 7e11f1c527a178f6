"""The loops of kernels that go over rows of codes: those of `rows`, with 16 lanes of integers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ..elements import ELEMENT_BYTES
from ..reference.word import Fitting
from .loops import Arguments, counted
from .rounding import ShiftRight, overflow
from .rows import Rows, Spot
from .vector import I32, I64, INTEGERS, LANES, Value, constant, first_lanes, function, load, load_lanes, load_scalar

_OUT_OF_RANGE = 1 << 17  # outside every word, and still outside after any left shift


def is_signed(element: str) -> bool:
    """Whether codes of a type have a sign."""
    return element.startswith("i")


@dataclass(frozen=True)
class CodeRows(Rows):
    """A row of codes, or neighbouring rows side by side; elements are loaded as 32 bits."""

    element: Any

    @property
    def kind(self) -> ir.Type:
        """LLVM's type of an element that is loaded."""
        return I32

    @property
    def width(self) -> int:
        """The number of lanes."""
        return LANES

    def load(self, base: Value, place: Spot, fill: float | None = None) -> Value:
        """Return the codes of a place in 32 bits; lanes that are none are `fill`, or 0."""
        stored = INTEGERS[ELEMENT_BYTES[self.element]]
        if place.mask is None:
            return load(base + place.distance, stored).widened(I32, is_signed(self.element))
        value = load_lanes(base + place.distance, stored, place.mask).widened(I32, is_signed(self.element))
        return value if fill is None else value.where(place.mask, fill)

    def store_codes(self, base: Value, place: Spot, codes: Value, target: str) -> None:
        """Write codes to the same place of a tensor whose codes may have another type."""
        size, own = ELEMENT_BYTES[target], ELEMENT_BYTES[self.element]
        address = base + (place.distance.divided_by(own) if own > 1 else place.distance) * size
        stored = codes.truncated(INTEGERS[size])
        if place.mask is None:
            stored.store(address)
        else:
            stored.store_masked(address, place.mask)

    def wide(self, number: int) -> Value:
        """Return a number of 64 bits in every lane."""
        return Value(self.a.b, ir.Constant(ir.VectorType(I64, LANES), [number] * LANES))


@contextmanager
def each_unit_of_codes(a: Arguments, element: str, *, is_strided: bool) -> Iterator[CodeRows]:
    """Build the loop over units first..end; see `kernels.rows`."""
    size = ELEMENT_BYTES[element]
    with counted(a.end, a.first) as unit:
        if is_strided:
            outer, group = unit.divided_by(a.groups), unit.modulo(a.groups)
            column = group * LANES
            start = (outer * a.length * a.inner + column) * size
            yield CodeRows(element, True, a, outer * a.inner + column, start, first_lanes(a.inner - column))
        else:
            yield CodeRows(element, False, a, unit, unit * a.length * size, None)


class CodeEnd:
    """The end of an exact result of 64 bits: rounding and overflow.

    Parameters
    ----------
    numbers
        Address of int64: shifts to the right and to the left, bounds, and the bits above the word.
    rounding, fitting, target
        Rounding, `Word.fitting`, and type of the codes.
    """

    def __init__(self, numbers: Value, rounding: str, fitting: Fitting, target: str) -> None:
        right, self._left, self._low, self._high, self._dropped = (int64_at(numbers, i).splat() for i in range(5))
        self._shift, self._fitting, self._target = ShiftRight(right, rounding), fitting, target

    def __call__(self, total: Value) -> Value:
        """Return the codes."""
        codes = self._shift(self._shift.with_addend(total))
        if self._fitting != "wrap":
            codes = codes.at_least(-_OUT_OF_RANGE).at_most(_OUT_OF_RANGE)
        return self.in_word(codes << self._left)

    def in_word(self, codes: Value) -> Value:
        """Return rounded integers within the word."""
        low, high, signed = self._low, self._high, is_signed(self._target)
        return overflow(codes, low, high, self._fitting, self._dropped, signed=signed)


def int64_at(numbers: Value, index: int) -> Value:
    """Return one of the int64 at an address."""
    return load_scalar(numbers + 8 * index, I64)


def bit_length(x: Value) -> Value:
    """Return the number of bits of a scalar from 0 on."""
    b = x.b
    signature = ir.FunctionType(I64, [I64, ir.IntType(1)])
    zeros = b.call(function(b, signature, "llvm.ctlz.i64"), [x.v, ir.Constant(ir.IntType(1), 0)])
    return constant(b, 64) - Value(b, zeros)
