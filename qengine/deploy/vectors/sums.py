"""The exact numbers that an operator rounds: sums of products, sums of terms, products, quotients.

An operator in fixed point first computes an exact number, the accumulator of hardware, and then rounds it to the word
of its output. `sums_of` computes that number again from the codes that an operator read. It is a fraction: integers,
divided by a power of two for most operators and by a count for means. Where numbers lie between two codes decides
what a test can see: a tie tells half_even from half_up, a number beyond the word tells saturation from wrapping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.linear import exact_product
from qengine.kernels.reference.resize import integer_taps, tap_sums
from qengine.kernels.reference.rounding import divide, integer_dtype, shift_right
from qengine.kernels.reference.word import Word, wrap
from qengine.model.graph import NO_ACTIVATION
from qengine.model.rules import Arithmetic, MeanRule
from qengine.model.steps import Combine, Linear, Mean, Resize, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.combine import aligned
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]


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
        shift = np.asarray(self.shift)
        left, right = np.maximum(-shift, 0), np.maximum(shift, 0)
        largest = int(np.max(np.abs(self.accumulators), initial=0)).bit_length() + int(left.max(initial=0))
        most = int(np.max(self.count, initial=1)).bit_length() + int(right.max(initial=0))
        wide = integer_dtype(max(largest, most) + 1)
        one = np.asarray(1, wide)
        numerator = np.asarray(self.accumulators.astype(wide) * (one << left.astype(wide)), wide)
        denominator = np.asarray(np.asarray(self.count).astype(wide) * (one << right.astype(wide)), wide)
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
    found: tuple[Array, int | Array, int | Array]
    if isinstance(step, Linear):
        found = _of_linear(step, out, arithmetic, operands)
    elif isinstance(step, Combine):
        found = _of_combine(step, out, arithmetic, operands)
    elif isinstance(step, Mean) and arithmetic.mean == MeanRule():
        total = step.total(operands[0].astype(np.int64))
        found = (np.asarray(total), step.x.fraction_bits, step.count() if callable(step.count) else step.count)
    elif isinstance(step, Resize) and step.mode != "nearest":
        found = _of_resize(step, operands[0])
    else:
        return None
    accumulators, fraction_bits, count = found
    word, (low, high) = arithmetic.word(out.format), bounds(step, out)
    return Sums(accumulators, fraction_bits, out.fraction_bits, count, word, low, high)


def bounds(step: Any, out: Tensor) -> tuple[int, int]:
    """Return the least and the most code that the word of an output and a fused activation leave."""
    word = out.one_format.word()
    activation = getattr(step, "activation", None) or NO_ACTIVATION
    low, high = out.encode_bound(activation.low), out.encode_bound(activation.high)
    low = word.least if low is None else min(max(low, word.least), word.most)
    high = word.most if high is None else min(max(high, word.least), word.most)
    return low, high


def _of_linear(
    step: Linear, out: Tensor, arithmetic: Arithmetic, operands: Sequence[Array]
) -> tuple[Array, int | Array, int]:
    """Return the sums as the register of the rules holds them."""
    x, w, *rest = operands
    rules = Accumulation(step, out, arithmetic)
    bias = rules.computed_bias(rest[0]) if step.b is not None and step.b.value is None else rules.bias
    if rules.in_order:
        sums = rules.register_sums(bias, rules.bound)
        total = step.in_order(x.astype(sums.dtype), w.astype(sums.dtype), sums)
        return np.asarray(total - rules.register_half, total.dtype), rules.bits, 1
    total = exact_product(x, w, step.product, rules.bound)
    if bias is not None:
        total = np.asarray(total + bias, total.dtype)
    largest = rules.bound + int(np.max(rules.half, initial=0))
    if rules.kept_bits is not None and rules.kept_bits <= largest.bit_length():
        wide = integer_dtype(largest.bit_length())
        kept = wrap(np.asarray(total + rules.half, wide), rules.kept_bits, signed=True)
        total = np.asarray(kept - rules.half, wide)
    return total, rules.product_bits, 1


def _of_combine(
    step: Combine, out: Tensor, arithmetic: Arithmetic, operands: Sequence[Array]
) -> tuple[Array, int, int | Array]:
    n = [t.fraction_bits for t in step.terms]
    if arithmetic.aligns and step.operation in ("add", "subtract"):
        moved, word = [t.format != out.format for t in step.terms], arithmetic.word(out.one_format)
        operands = [
            aligned(a, k - out.fraction_bits, word) if m else a for a, k, m in zip(operands, n, moved, strict=True)
        ]
        n = [out.fraction_bits if m else k for k, m in zip(n, moved, strict=True)]
    wide = integer_dtype(36 + max(n) - min(n) + len(n).bit_length())
    arrays = [a.astype(wide) for a in operands]
    if step.operation == "multiply":
        return np.asarray(arrays[0] * arrays[1]), n[0] + n[1], 1
    if step.operation == "divide":
        a, b = np.broadcast_arrays(*arrays)
        return np.where(b == 0, 0, a * np.where(b < 0, -1, 1)), n[0] - n[1], np.where(b == 0, 1, np.abs(b))
    if step.operation == "prelu":
        x, slope = arrays
        finest = max(n[1], 0)
        scaled = x * slope * np.asarray(1 << (finest - n[1]), wide)
        return np.asarray(np.where(x < 0, scaled, x * np.asarray(1 << finest, wide)), wide), n[0] + finest, 1
    finest, signs = max(n), [1, -1] if step.operation == "subtract" else [1] * len(n)
    total = np.zeros((), wide)
    for array, bits, sign in zip(arrays, n, signs, strict=True):
        total = total + array * np.asarray(sign << (finest - bits), wide)
    return np.asarray(total), finest, 1


def _of_resize(step: Resize, x: Array) -> tuple[Array, int, int]:
    taps = [integer_taps(t, step.tap_bits) for t in step.taps()]
    return tap_sums(x, step.axes, taps), step.x.fraction_bits + step.tap_bits * len(step.axes), 1
