"""Rounding and overflow in vector code: every kernel that makes codes calls `ShiftRight` and `overflow`.

`ShiftRight` is the only vector form of the five roundings: integers divided by a power of two. A number of another
kind, a quotient or a float, first becomes an integer with two fraction bits, 4 * floor + (0, 1, 2 or 3): whether its
fraction is 0, below, at or above one half is all that a rounding looks at (see `reference.rounding`).

The roundings to the nearest need half of the divisor added. In a dot that half is part of the bias and costs nothing,
so `ShiftRight` expects numbers that include it; `with_half` adds it for all other kernels.
"""

from llvmlite import ir

from ..epilogue import rounds_to_nearest
from .vector import I64, Value, bit_width


class ShiftRight:
    """Division of integers by 2^right, rounded.

    Parameters
    ----------
    right
        Vector of shifts, 0 or more, of the type of the numbers that are divided.
    rounding
        Name of the rounding.
    """

    def __init__(self, right: Value, rounding: str) -> None:
        self._rounding, self._right = rounding, right
        divisor = right.like(1) << right
        self._half = divisor.shift_right_logical(1)
        self._dropped = divisor - 1  # the bits that the shift drops
        self._shifts = right.like(-1).where(self._half > 0, 0)  # no bit set where the shift is 0: there are no ties

    def repeated(self, lanes: int) -> "ShiftRight":
        """Return the same division for vectors of another number of lanes."""
        return self if lanes == self._right.lanes else ShiftRight(self._right.repeated(lanes), self._rounding)

    def with_half(self, total: Value) -> Value:
        """Return numbers as `__call__` takes them: with half of the divisor added where the rounding needs it."""
        return total + self._half if rounds_to_nearest(self._rounding) else total

    def __call__(self, total: Value, below: Value | None = None) -> Value:
        """Return the rounded quotient.

        Parameters
        ----------
        total
            Numbers from `with_half`.
        below
            Bits below those of `total`: not 0 where there is more than a tie. Not for half_away and trunc.
        """
        quotient = total >> self._right
        if self._rounding in ("floor", "half_up"):
            return quotient
        sign = bit_width(total.element) - 1
        if self._rounding == "trunc":
            return (total + (self._dropped & (total >> sign))) >> self._right
        if self._rounding == "half_away":
            return (total + (self._shifts & ((total - self._half) >> sign))) >> self._right
        assert self._rounding == "half_even"
        # With half of the divisor added, a tie is a multiple of the divisor.
        if below is not None:
            return (quotient & -2).where(((total & self._dropped) | below).equals(0), quotient)
        even = quotient & ((self._shifts & 1) ^ -1)
        return even.where((total & self._dropped).equals(0), quotient)


def round_quarters(quarters: Value, rounding: str) -> Value:
    """Return integers with two fraction bits, rounded."""
    shift = ShiftRight(quarters.like(2), rounding)
    return shift(shift.with_half(quarters))


def quarters_of_float(fourfold: Value, element: ir.Type) -> Value:
    """Return floats, already multiplied by 4, as integers with two fraction bits that round like them."""
    cut = fourfold.as_integers(element)
    back = cut.as_floats(fourfold.element)
    down = (cut - 1).where(back > fourfold, cut)
    return (down | 1).where(back.differs(fourfold), down)


def quarters_of_quotient(total: Value, divisor: Value) -> Value:
    """Return total / divisor of int64, divisor > 0, as integers with two fraction bits that round like it."""
    quotient = total.divided_by(divisor)
    rest = total - quotient * divisor
    below = rest < 0
    quotient = quotient + below.widened(I64)
    rest = rest + divisor.where(below, 0)
    twice = rest << 1
    quarters = quotient << 2
    for part in (rest > 0, twice >= divisor, twice > divisor):
        quarters = quarters + part.widened(I64, signed=False)
    return quarters


def overflow(codes: Value, low: Value, high: Value, dropped: Value | None = None, signed: bool = False) -> Value:
    """Return integers, or floats before rounding, within the bounds of a word.

    Parameters
    ----------
    low, high
        Bounds: those of the word, or closer ones of a fused activation.
    dropped
        Number of high bits that wrapping drops; if not given, numbers saturate.
    signed
        The bits that wrapping keeps are in two's complement.
    """
    if dropped is not None:
        codes = codes << dropped
        codes = codes >> dropped if signed else codes.shift_right_logical(dropped)
    return codes.at_least(low).at_most(high)
