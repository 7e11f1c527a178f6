"""Rounding and overflow in vector code: every kernel that makes codes calls `ShiftRight` and `overflow`.

`ShiftRight` is the only vector form of the roundings: integers divided by a power of two, by the constants of
`reference.rounding_table`. A number of another kind, a quotient or a float, first becomes an integer with two fraction
bits, 4 * floor + (0, 1, 2 or 3): besides the sign, whether its fraction is 0, below, at or above one half is all that a
rounding looks at (see `reference.rounding`).

Most roundings add something before they shift, that does not depend on the number. In a dot that addend is part of the
bias and costs nothing, so `ShiftRight` expects numbers that include it; `with_addend` adds it for all other kernels.
"""

from llvmlite import ir

from ..reference.rounding_table import Constant, rounding_rule, unshifted
from ..reference.word import Fitting
from .vector import I64, Value, bit_width


class ShiftRight:
    """Division of integers by 2^right, rounded.

    Parameters
    ----------
    right
        Vector of shifts, 0 or more, of the type of the numbers that are divided.
    rounding
        Name of the rounding.
    in_parts
        Numbers come as high * 2^16 + low, and shifts are those of the high part. A rounding that looks at the sign adds
        its addend itself then.
    """

    def __init__(self, right: Value, rounding: str, *, in_parts: bool = False) -> None:
        rule, zero = rounding_rule(rounding), right.like(0)
        self._rounding, self._right, self._in_parts = rounding, right, in_parts
        divisor = right.like(1) << right
        half = divisor.shift_right_logical(1)
        self._dropped = divisor - 1  # the bits that the shift drops
        numbers = half, right.like(1).where(half > 0, zero), right.like(1).where(half > 1, zero)
        self._addend: Value | None = rule.addend(*numbers) if rule.addend else None
        self._parity: Value | None = rule.parity(*numbers) if rule.parity else None
        self._negative: Value | None = rule.negative(*numbers) if rule.negative else None
        self._parts = [self._in_two(each, half) for each in (rule.base, rule.base + rule.negative)] if in_parts else []

    def _in_two(self, constant: Constant, half: Value) -> tuple[Value, Value]:
        """Return an addend as a high and a low part of 16 bits; here half of the divisor may be below the high part."""
        low = half.like(1 << 15).where(self._right.equals(0), 0) * constant.halves + (constant.ones + constant.twos)
        return half * constant.halves + (low >> 16), low & 0xFFFF

    def repeated(self, lanes: int) -> "ShiftRight":
        """Return the same division for vectors of another number of lanes."""
        if lanes == self._right.lanes:
            return self
        return ShiftRight(self._right.repeated(lanes), self._rounding, in_parts=self._in_parts)

    def with_addend(self, total: Value) -> Value:
        """Return numbers as `__call__` takes them: with the addend of the rounding."""
        return total if self._addend is None else total + self._addend

    def __call__(self, total: Value, below: Value | None = None) -> Value:
        """Return the rounded quotient.

        Parameters
        ----------
        total
            Numbers from `with_addend`, or their high parts.
        below
            Low parts, if numbers come in parts.
        """
        if self._negative is not None:
            if below is not None:
                return self._of_parts(total, below)
            exact = total if self._addend is None else total - self._addend
            return (total + (self._negative & (exact >> (bit_width(total.element) - 1)))) >> self._right
        quotient = total >> self._right
        if self._parity is None:
            return quotient
        # With the addend, a tie is a multiple of the divisor.
        if below is not None:
            return (quotient & -2).where(((total & self._dropped) | below).equals(0), quotient)
        return (quotient & (self._parity ^ -1)).where((total & self._dropped).equals(0), quotient)

    def _of_parts(self, high: Value, low: Value) -> Value:
        """Return the quotient of numbers without an addend, by a rounding that looks at the sign."""
        positive, negative = self._parts
        is_negative = high < 0
        low = low + negative[1].where(is_negative, positive[1])
        return (high + negative[0].where(is_negative, positive[0]) + (low >> 16)) >> self._right


def round_quarters(quarters: Value, rounding: str) -> Value:
    """Return integers with two fraction bits, rounded."""
    shift = ShiftRight(quarters.like(2), unshifted(rounding))
    return shift(shift.with_addend(quarters))


def round_by_rest(quotient: Value, rest: Value, divisor: Value, rounding: str) -> Value:
    """Return quotients, 0 or more, that are cut down, rounded by their remainders, which are below the divisor."""
    rule = rounding_rule(unshifted(rounding))
    addend = rule.base.of(2)  # to a number with two fraction bits; with 4 the quotient is one more
    if not addend:
        return quotient
    twice = rest << 1
    goes_up = (twice > divisor, twice >= divisor, rest > 0)[addend - 1]
    result = quotient - goes_up.widened(I64)
    return result.where(twice.differs(divisor), quotient + (quotient & 1)) if rule.parity else result


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


def overflow(
    codes: Value, low: Value, high: Value, fitting: Fitting = "saturate", dropped: Value | None = None, *, signed: bool
) -> Value:
    """Return integers, or floats before rounding, within the bounds of a word.

    Parameters
    ----------
    low, high
        Bounds: those of the word, or closer ones of a fused activation.
    fitting
        Conversion of codes that do not fit the word, before the bounds are applied.
    dropped
        Number of bits above the word; only needed where codes do not saturate.
    signed
        The bits of the word are in two's complement; of no effect where codes saturate.
    """
    if fitting != "saturate":
        assert dropped is not None
        kept = codes << dropped
        kept = kept >> dropped if signed else kept.shift_right_logical(dropped)
        codes = kept if fitting == "wrap" else kept.where(kept.equals(codes), 0)
    return codes.at_least(low).at_most(high)
