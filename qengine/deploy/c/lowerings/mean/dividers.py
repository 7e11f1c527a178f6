"""Exact division of sums by a known count, as a multiplication and a shift.

round(total * scale / divisor) is floor((total * scale + addend) / divisor), as any rounding is the rounding down of a
number to which something was added: half of the divisor, or all of it but 1. Only half_even needs to know more: its
ties come out one too high where the quotient is odd. A multiple of the divisor makes the numerator t positive.

floor(t / divisor) is (t * multiplier) >> shift for all t up to some T, where multiplier = ceil(2^shift / divisor) and
the excess, multiplier * divisor - 2^shift, is so small that no t of remainder r is carried to the next quotient:
excess * t < (divisor - r) * 2^shift (Granlund and Montgomery, PLDI 1994). Two t are the worst, T itself and the
largest whose remainder is divisor - 1. T is known, as sums are bounded by their numbers of elements. So the smallest
shift is found that is proved for all sums; most products then have 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from qengine.deploy.c.ranges.intervals import Ends
from qengine.kernels.reference.rounding_table import Constant, RoundingRule, rounding_rule, unshifted


@dataclass(frozen=True)
class Addends:
    """Addends of a number before it is divided and rounded down.

    Attributes
    ----------
    positive, negative : addend of numbers from 0 on, and of negative ones.
    ties_to_even : whether an odd quotient without remainder is one too high.
    """

    positive: int
    negative: int
    ties_to_even: bool

    def of(self, number: int) -> int:
        """Return the one of a number."""
        return self.negative if number < 0 else self.positive


def quotient_addends(rounding: str, divisor: int) -> Addends:
    """Return the addends of a quotient, which is rounded as numbers that are not shifted."""
    rule = rounding_rule(unshifted(rounding))
    known = {
        Constant(): 0,
        Constant(halves=1): divisor // 2,
        Constant(halves=1, ones=-1): (divisor - 1) // 2,
        Constant(halves=2, ones=-1): divisor - 1,
    }
    if rule.parity:
        return Addends(divisor // 2, divisor // 2, divisor % 2 == 0)
    return Addends(known[rule.base], known[rule.base + rule.negative], False)


def shift_addends(rounding: str, shift: int) -> Addends:
    """Return the addends of a shift to the right, which is the division by 2^shift."""
    rule: RoundingRule = rounding_rule(rounding)
    if rule.parity:
        half = (1 << shift) >> 1
        return Addends(half, half, shift > 0)
    return Addends(rule.base.of(shift), (rule.base + rule.negative).of(shift), False)


@dataclass(frozen=True)
class Divider:
    """A division of sums within some ends.

    Attributes
    ----------
    scale, divisor : the quotient is that of total * scale and the divisor.
    addends : numbers that are added before.
    whole : quotient that is added before and taken off after: with it no number is negative; even.
    multiplier, shift : multiplication that is the division, and the bits that it drops; 0, 0 if there is none.
    is_wide : whether the product has 64 bits.
    """

    scale: int
    divisor: int
    addends: Addends
    whole: int = 0
    multiplier: int = 0
    shift: int = 0
    is_wide: bool = False

    @property
    def multiplies(self) -> bool:
        """Whether the division is a multiplication."""
        return self.multiplier > 0

    def magnitude(self, sums: Ends) -> int:
        """Return an upper limit of the magnitude of the numerators."""
        return max(abs(end) for end in sums) * abs(self.scale) + max(self.addends.positive, self.addends.negative)

    @property
    def row(self) -> tuple[int, ...]:
        """The numbers of `enum net_mean_divider`."""
        more = self.whole * self.divisor
        return (
            self.addends.positive + more,
            self.addends.negative + more,
            self.scale,
            self.divisor,
            int(self.addends.ties_to_even),
            self.multiplier,
            self.shift,
            self.whole,
        )


def divider(scale: int, divisor: int, addends: Addends, sums: Ends) -> Divider:
    """Return the division of all sums within some ends, by a multiplication where one is proved to be exact."""
    low, high = sums
    tried = [s for s in (low, -1, 0, high) if low <= s <= high]
    numerators = [s * scale + addends.of(s) for s in tried]
    whole = -(-max(0, -min(numerators)) // divisor)
    whole += whole & 1
    most = max(numerators) + whole * divisor
    found = multiply_shift(divisor, most) if most < 1 << 32 and most // divisor < 1 << 31 and whole < 1 << 31 else None
    if found is None:
        return Divider(scale, divisor, addends)
    return Divider(scale, divisor, addends, whole, *found)


def multiply_shift(divisor: int, most: int) -> tuple[int, int, bool] | None:
    """Return (multiplier, shift, whether the product has 64 bits) that divides all of 0 to `most`; None if none does.

    Parameters
    ----------
    divisor
        Divisor, 1 or more.
    most
        Largest dividend, below 2^32.
    """
    full = max(most - (most + 1) % divisor, 0)  # the largest number whose remainder is divisor - 1
    for is_wide, bits in ((False, 32), (True, 64)):
        for shift in range(bits):
            multiplier = -(-(1 << shift) // divisor)
            if multiplier >= 1 << 32 or most * multiplier >= 1 << bits:
                break
            excess = multiplier * divisor - (1 << shift)
            if excess * full < 1 << shift and excess * most < (divisor - most % divisor) << shift:
                return multiplier, shift, is_wide
    return None
