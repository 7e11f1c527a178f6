"""Operations on codes in plain order: exact in 64 bits, then rounded once to the format of the output."""

from __future__ import annotations

from collections.abc import Sequence

from ..broadcast import Broadcast
from .loops import Arguments
from .rounding import ShiftRight, overflow, quarters_of_quotient, round_quarters
from .vector import I64, Value, load_scalar

_OUT_OF_RANGE = 1 << 17  # outside every word, and still outside after any left shift


class ExactOperation:
    """An operation on codes; its numbers are loaded once.

    Parameters
    ----------
    spec, a
        Specification and arguments of the kernel.
    lanes
        Number of lanes.
    """

    def __init__(self, spec: Broadcast, a: Arguments, lanes: int) -> None:
        count = 5 + len(spec.operands)
        numbers = [load_scalar(a.bounds + 8 * i, I64).splat(lanes) for i in range(count)]
        self._spec = spec
        self._low, self._high, self._right, self._left, self._dropped, *self._shifts = numbers

    def __call__(self, values: Sequence[Value]) -> Value:
        """Return the codes of the result of operands in 64 bits."""
        spec = self._spec
        if spec.operation == "divide":
            return self._quotient(*values)
        if spec.operation == "multiply":
            return self._requantized(values[0] * values[1])
        if spec.operation == "prelu":
            x, slope = values
            return self._requantized(((x * slope) << self._shifts[1]).where(x < 0, x << self._shifts[0]))
        total, *others = (v << shift for v, shift in zip(values, self._shifts, strict=True))
        for one in others:
            total = total - one if spec.operation == "subtract" else total + one
        return self._requantized(total)

    def _requantized(self, total: Value) -> Value:
        spec = self._spec
        shift = ShiftRight(self._right, spec.rounding)
        codes = shift(shift.with_addend(total))
        if spec.fitting != "wrap":
            codes = codes.at_least(-_OUT_OF_RANGE).at_most(_OUT_OF_RANGE)
        return self._in_word(codes << self._left)

    def _in_word(self, codes: Value) -> Value:
        spec = self._spec
        return overflow(codes, self._low, self._high, spec.fitting, self._dropped, signed=spec.signed)

    def _quotient(self, a: Value, c: Value) -> Value:
        """Return the quotient; that by 0 is the largest or least code by the sign of a, and 0 / 0 is 0."""
        zero = c.equals(0)
        divisor = c.like(1).where(zero, c)
        sign = c.like(-1).where(divisor < 0, c.like(1))
        quarters = quarters_of_quotient((a * sign) << self._shifts[0], (divisor * sign) << self._shifts[1])
        codes = self._in_word(round_quarters(quarters, self._spec.rounding))
        limit = self._low.where(a < 0, self._high.where(a > 0, a.like(0).at_least(self._low).at_most(self._high)))
        return limit.where(zero, codes)
