"""The exact numbers that an operator rounds: sums of products, sums of terms, products, quotients.

An operator in fixed point first computes an exact number, the accumulator of hardware, and then rounds it to the word
of its output. `sums_of` computes that number again from the codes that an operator read. It is a fraction: integers,
divided by a power of two for most operators and by a count for means. Sums, products and means are those of
`hypotheses.exact`; the register that a rule describes, which may wrap, saturate or cut, is added here. Where numbers
lie between two codes decides what a test can see: a tie tells half_even from half_up, a number beyond the word tells
saturation from wrapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.exact import activation_codes, bias_of, exact_of, fraction
from qengine.kernels.reference.resize import integer_taps, tap_sums
from qengine.kernels.reference.rounding import divide, integer_dtype, shift_right
from qengine.kernels.reference.word import Word, wrap
from qengine.model.rules import Arithmetic, MeanRule
from qengine.model.steps import Combine, Linear, Mean, Resize, Step, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.combine import aligned
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]
Found = tuple[Array, int | Array, int | Array]
"""Accumulators, their fraction bits and their divisor."""


@dataclass(frozen=True)
class Sums:
    """Exact numbers before they are rounded.

    Attributes
    ----------
    accumulators : integers that a device holds in its accumulator.
    fraction_bits : fraction bits of the accumulators; an array that broadcasts for several.
    fraction_bits_out : fraction bits of the output.
    count : divisor of the accumulators, of means and quotients.
    word : word of the output.
    low, high : least and most code that the word and a fused activation leave.
    """

    accumulators: Array
    fraction_bits: int | Array
    fraction_bits_out: int
    count: int | Array
    word: Word
    low: int
    high: int

    @property
    def shift(self) -> int | Array:
        """The number of bits that are dropped."""
        return self.fraction_bits - self.fraction_bits_out

    @cached_property
    def fraction(self) -> tuple[Array, Array]:
        """The exact number in units of the output, as a numerator and a positive denominator."""
        numerator, denominator = fraction(self.accumulators, self.shift, self.count)
        return numerator, np.broadcast_to(denominator, numerator.shape)

    @cached_property
    def floor(self) -> Array:
        """The largest integers that are not above the exact numbers."""
        numerator, denominator = self.fraction
        return np.asarray(numerator // denominator)

    @cached_property
    def twice_rest(self) -> Array:
        """Twice the rest of the division, which is the denominator for a tie."""
        numerator, denominator = self.fraction
        return np.asarray(2 * (numerator - self.floor * denominator))

    @cached_property
    def rounded(self) -> Array:
        """The integers after rounding, before overflow."""
        shift = np.asarray(self.shift)
        if np.any(np.asarray(self.count) != 1) or not np.any(shift > 0):
            return divide(*self.fraction, self.word.rounding)
        right = shift_right(self.accumulators, np.maximum(shift, 1), self.word.rounding)
        return right if np.all(shift > 0) else np.where(shift > 0, right, self.floor)


def sums_of(bound_step: BoundStep, operands: Sequence[Array]) -> Sums | None:
    """Return the exact numbers that an operator in fixed point rounds; None where it has none.

    Parameters
    ----------
    bound_step
        The operator.
    operands
        Arrays that it reads, in the order of the step's operands; codes where they are in fixed point.
    """
    step, out, arithmetic = bound_step.step, bound_step.output, bound_step.arithmetic
    if arithmetic is None or not isinstance(out.format, QFormat) or bound_step.is_real:
        return None
    if any(t.format is None for t in step.operands[:2]):
        return None
    found: Found | None = None
    if isinstance(step, Linear):
        found = _in_register(step, out, arithmetic, operands)
    elif isinstance(step, Combine) and step.operation == "divide":
        found = _of_division(step, operands)
    elif isinstance(step, Combine):
        found = _of_terms(step, out, arithmetic, operands)
    elif isinstance(step, Mean) and arithmetic.mean == MeanRule():
        found = _of_exact(step, out, arithmetic, operands)
    elif isinstance(step, Resize) and step.mode != "nearest":
        found = _of_resize(step, operands[0])
    if found is None:
        return None
    accumulators, fraction_bits, count = found
    word, (low, high) = arithmetic.word(out.format), bounds(step, out)
    return Sums(accumulators, fraction_bits, out.fraction_bits, count, word, low, high)


def bounds(step: Step, out: Tensor) -> tuple[int, int]:
    """Return the least and the most code that the word of an output and a fused activation leave."""
    word, (low, high) = out.one_format.word(), activation_codes(step, out)
    low, high = word.least if low is None else low, word.most if high is None else high
    return min(max(low, word.least), word.most), min(max(high, word.least), word.most)


def _of_exact(step: Step, out: Tensor, arithmetic: Arithmetic, operands: Sequence[Array]) -> Found | None:
    """Return the exact results of a step, which a register of any rules holds."""
    exact = exact_of(step, out, arithmetic, tuple(operands))
    return None if exact is None else (exact.total, exact.shift + out.fraction_bits, exact.divisor)


def _in_register(step: Linear, out: Tensor, arithmetic: Arithmetic, operands: Sequence[Array]) -> Found:
    """Return the sums as the register of the rules holds them."""
    rules = Accumulation(step, out, arithmetic)
    if rules.in_order:
        x, w = operands[:2]
        sums = rules.register_sums(bias_of(step, rules, operands), rules.bound)
        total = step.in_order(x.astype(sums.dtype), w.astype(sums.dtype), sums)
        return np.asarray(total - rules.register_half, total.dtype), rules.bits, 1
    exact = exact_of(step, out, arithmetic, tuple(operands))
    assert exact is not None
    largest = rules.bound + int(np.max(rules.half, initial=0))
    wide = integer_dtype(largest.bit_length())
    total = exact.total.astype(wide)
    if rules.kept_bits is not None and rules.kept_bits <= largest.bit_length():
        total = np.asarray(wrap(np.asarray(total + rules.half, wide), rules.kept_bits, signed=True) - rules.half, wide)
    return total, rules.product_bits, 1


def _of_terms(step: Combine, out: Tensor, arithmetic: Arithmetic, operands: Sequence[Array]) -> Found | None:
    """Return the exact results of terms, in the word of the output where the rules bring them to it first."""
    if not arithmetic.aligns or step.operation not in ("add", "subtract"):
        return _of_exact(step, out, arithmetic, operands)
    word, n = arithmetic.word(out.one_format), out.fraction_bits
    arrays = [
        a if t.format == out.format else aligned(a, t.fraction_bits - n, word)
        for t, a in zip(step.terms, operands, strict=True)
    ]
    terms = tuple(replace(t, format=out.format) for t in step.terms)
    return _of_exact(replace(step, terms=terms), out, replace(arithmetic, aligns=False), arrays)


def _of_division(step: Combine, operands: Sequence[Array]) -> Found:
    """Return quotients, which are dividends of the sign of the quotient with the divisor as their count."""
    a, b = np.broadcast_arrays(*(codes.astype(np.int64) for codes in operands))
    n, m = (t.fraction_bits for t in step.terms)
    return np.where(b == 0, 0, a * np.where(b < 0, -1, 1)), n - m, np.where(b == 0, 1, np.abs(b))


def _of_resize(step: Resize, x: Array) -> Found:
    taps = [integer_taps(t, step.tap_bits) for t in step.taps()]
    return tap_sums(x, step.axes, taps), step.x.fraction_bits + step.tap_bits * len(step.axes), 1
