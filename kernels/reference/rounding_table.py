"""The roundings of a shift to the right, as data: all that reference, epilogues and machine code know of them.

Dividing an integer a by 2^s, s >= 1, and rounding is adding some numbers and an arithmetic shift, which rounds down:

    (a + base + (parity & (a >> s)) + (negative & (a >> (width - 1)))) >> s

a >> (width - 1) is -1 for a negative a and else 0. So `base` is added to every number, `negative` to negative ones, and
`parity`, which is 0 or 1, to those whose floor is odd. The three numbers depend on s alone: each is a sum of 2^(s-1),
half of the divisor, of [s >= 1] and of [s >= 2], times small integers. For s = 0 all are 0, and nothing is rounded.

"tflite" and "ruy" round twice, half up by the first bit and then by the others; combined, that is one row like all
others: an odd a counts as a + 1. A number that is not shifted, such as a quotient, has no first bit; they round it by
another row of the table.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Constant:
    """A number that depends on a shift s: halves * 2^(s-1) + ones * [s >= 1] + twos * [s >= 2].

    Attributes
    ----------
    halves, ones, twos : factors; 2^(s-1) counts as 0 where s is 0.
    """

    halves: int = 0
    ones: int = 0
    twos: int = 0

    def __bool__(self) -> bool:
        return self != _NOTHING

    def __add__(self, other: "Constant") -> "Constant":
        return Constant(self.halves + other.halves, self.ones + other.ones, self.twos + other.twos)

    def __call__(self, half: Any, one: Any, two: Any) -> Any:
        """Return the number, of any type with sums and products, from half of the divisor, [s >= 1] and [s >= 2]."""
        factors = ((self.halves, half), (self.ones, one), (self.twos, two))
        terms = [part if factor == 1 else part * factor for factor, part in factors if factor]
        return sum(terms[1:], terms[0]) if terms else 0

    def of(self, shift: int) -> int:
        """Return the number for a shift."""
        return int(self((1 << shift) >> 1, int(shift >= 1), int(shift >= 2)))


_NOTHING = Constant()
_HALF, _ONE = Constant(halves=1), Constant(ones=1)
_BELOW_HALF, _ALL = Constant(halves=1, ones=-1), Constant(halves=2, ones=-1)


@dataclass(frozen=True)
class RoundingRule:
    """A rounding: see the description of the file.

    Attributes
    ----------
    base : addend of every number.
    parity : addend of numbers whose floor is odd, 0 or 1.
    negative : addend of negative numbers.
    unshifted : name of the rounding of numbers that are not shifted; None for this one.
    """

    base: Constant = _NOTHING
    parity: Constant = _NOTHING
    negative: Constant = _NOTHING
    unshifted: str | None = None

    @cached_property
    def addend(self) -> Constant:
        """The addend that may be part of a bias, before a number is known: `base`, and `parity` as if all were odd.

        With it, a number whose floor is even has been rounded up wrongly only where it is a tie: then the sum is a
        multiple of the divisor, and clearing the last bit of the quotient, which is of an odd one, mends it.
        """
        return self.base + self.parity

    @property
    def looks_at_sign(self) -> bool:
        """Whether negative numbers get another addend, so that it cannot be part of a bias."""
        return bool(self.negative)


ROUNDINGS: dict[str, RoundingRule] = {
    "half_even": RoundingRule(_BELOW_HALF, parity=_ONE),
    "half_up": RoundingRule(_HALF),
    "half_down": RoundingRule(_BELOW_HALF),
    "half_away": RoundingRule(_HALF, negative=Constant(ones=-1)),
    "half_zero": RoundingRule(_BELOW_HALF, negative=_ONE),
    "floor": RoundingRule(),
    "ceil": RoundingRule(_ALL),
    "trunc": RoundingRule(negative=_ALL),
    "away": RoundingRule(_ALL, negative=Constant(halves=-2, ones=1)),
    "tflite": RoundingRule(Constant(halves=1, twos=1), negative=Constant(twos=-2), unshifted="half_away"),
    "ruy": RoundingRule(Constant(halves=1, twos=1), unshifted="half_up"),
}
"""The roundings by name."""


def rounding_rule(rounding: str) -> RoundingRule:
    """Return the rule of a rounding.

    Raises
    ------
    ValueError
        If no rounding has the name.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"no rounding is named {rounding!r}")
    return ROUNDINGS[rounding]


def unshifted(rounding: str) -> str:
    """Return the name of the rounding of numbers that are not shifted, such as quotients and real numbers."""
    return rounding_rule(rounding).unshifted or rounding
