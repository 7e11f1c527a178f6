"""Exact results of an operator, before anything is rounded.

Most operators in fixed point are an exact integer, made of codes, that is divided by a power of two (and for a mean by
a count), rounded, fitted into a word and bounded. `Exact` holds the integers, so that many ways to round and fit them
cost one pass over an array each, and so that one element can be worked out by hand. No register takes
part: one that loses bits of a sum on its way changes these results, and is a stage of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.linear import exact_product
from qengine.kernels.reference.rounding import integer_dtype
from qengine.model.graph import NO_ACTIVATION, ActivationBounds
from qengine.model.rules import Arithmetic
from qengine.model.steps import Combine, FromCodes, Join, Linear, Mean, Move, Step, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import Bounded
from qengine.model.steps.means import counts_of
from qengine.qformat import QFormat

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Exact:
    """Exact results: (sums + bias) / (divisor * 2^shift), in units of the output.

    Attributes
    ----------
    sums : integers in the shape of the output.
    shift : bits to drop, one number or an array that broadcasts; a negative one multiplies.
    bias : integers in units of the sums that broadcast; None without a bias.
    real_bias : bias as real numbers in units of the sums, before it became integers; None without a constant bias.
    divisor : count of a mean, one number or an array that broadcasts.
    low, high : bounds of a fused activation as codes; None for no bound.
    """

    sums: Array
    shift: Any
    bias: Array | None = None
    real_bias: Array | None = None
    divisor: Any = 1
    low: int | None = None
    high: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the output."""
        return self.sums.shape

    @property
    def total(self) -> Array:
        """The sums with the bias."""
        return self.sums if self.bias is None else self.sums + self.bias

    @property
    def rounds(self) -> bool:
        """Whether any bit may be lost before the word is fitted."""
        return bool(np.any(np.asarray(self.shift) > 0) or np.any(np.asarray(self.divisor) != 1))

    def at(self, index: NDArray[np.intp]) -> Exact:
        """Return the results of some elements, by their flat index, as one axis."""
        places = np.unravel_index(index, self.shape)

        def pick(part: Any) -> Any:
            array = np.asarray(part)
            return part if array.ndim == 0 else np.broadcast_to(array, self.shape)[places]

        return replace(
            self,
            sums=self.sums.reshape(-1)[index],
            shift=pick(self.shift),
            bias=None if self.bias is None else pick(self.bias),
            real_bias=None if self.real_bias is None else pick(self.real_bias),
            divisor=pick(self.divisor),
        )


def exact_of(step: Step, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact | None:
    """Return the exact results of a step; None where its results are not of this form.

    Parameters
    ----------
    step, output, arithmetic
        Step, the tensor that it computes, and its rules.
    operands
        Arrays that it reads, in the order of its operands; codes where they are in fixed point.
    """
    if not isinstance(output.format, QFormat):
        return None
    for kind, function in _OF_KIND.items():
        if isinstance(step, kind):
            return function(step, output, arithmetic, operands)
    return None


def activation_codes(step: Step, output: Tensor) -> tuple[int | None, int | None]:
    """Return the lower and the upper bound of a fused activation as codes, which may lie beyond the word."""
    bounds: ActivationBounds = getattr(step, "activation", None) or NO_ACTIVATION
    return output.encode_bound(bounds.low), output.encode_bound(bounds.high)


def bias_of(step: Linear, rules: Accumulation, operands: Sequence[Array]) -> Array | None:
    """Return the bias of a linear step, constant or computed, in units of its products; None where it has none."""
    is_computed = step.b is not None and step.b.value is None
    return rules.computed_bias(operands[2]) if is_computed else rules.bias


def fraction(sums: Array, shift: Any, divisor: Any) -> tuple[Array, Array]:
    """Return sums / (divisor * 2^shift) as a numerator and a positive denominator, with room for twice of each."""
    shift = np.asarray(shift)
    left, right = np.maximum(-shift, 0), np.maximum(shift, 0)
    largest = int(np.max(np.abs(sums), initial=0)).bit_length() + int(left.max(initial=0))
    most = int(np.max(divisor, initial=1)).bit_length() + int(right.max(initial=0))
    wide = integer_dtype(max(largest, most) + 1)
    one = np.asarray(1, wide)
    numerator = np.asarray(sums.astype(wide) * (one << left.astype(wide)), wide)
    denominator = np.asarray(np.asarray(divisor).astype(wide) * (one << right.astype(wide)), wide)
    return numerator, denominator


def _of_linear(step: Linear, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact:
    x, w = operands[:2]
    rules = Accumulation(step, output, arithmetic)
    weights = np.abs(w.astype(np.int64)).sum(axis=step.summed)
    bound = int(np.abs(x.astype(np.int64)).max(initial=0)) * int(weights.max(initial=0))
    sums, real = exact_product(x, w, step.product, bound), None
    if step.b is not None and step.b.value is not None:
        real = np.asarray(np.ldexp(step.b.value.reshape(step.bias_shape).astype(np.float64), rules.product_bits))
    shift, (low, high) = rules.product_bits - output.fraction_bits, activation_codes(step, output)
    return Exact(sums, shift, bias_of(step, rules, operands), real, low=low, high=high)


def _of_combine(step: Combine, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact | None:
    n = [t.fraction_bits for t in step.terms]
    low, high = activation_codes(step, output)
    if step.operation in ("add", "subtract") and not arithmetic.aligns:
        finest = max(n)
        wide = integer_dtype(16 + finest - min(n) + len(n).bit_length())
        signs = [1, -1] if step.operation == "subtract" else [1] * len(n)
        sums = sum(
            (codes.astype(wide) * (sign << (finest - m)) for codes, m, sign in zip(operands, n, signs, strict=True)),
            np.zeros((), wide),
        )
        return Exact(np.asarray(sums, wide), finest - output.fraction_bits, low=low, high=high)
    if step.operation == "multiply":
        a, b = (codes.astype(np.int64) for codes in operands)
        return Exact(np.asarray(a * b), sum(n) - output.fraction_bits, low=low, high=high)
    if step.operation == "prelu":
        wide = integer_dtype(32 + abs(n[1]))
        x, slope = (codes.astype(wide) for codes in operands)
        finest = max(n[1], 0)
        sums = np.where(x < 0, x * slope * (1 << (finest - n[1])), x * (1 << finest))
        return Exact(narrowed(sums), finest + n[0] - output.fraction_bits, low=low, high=high)
    return None


def _of_mean(step: Mean, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact | None:
    if arithmetic.mean.method != "exact":
        return None
    count = counts_of(step, arithmetic)
    sums = step.total(operands[0].astype(np.int64))
    return Exact(sums, step.x.fraction_bits - output.fraction_bits, divisor=count)


def _of_move(step: Move, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact | None:
    del arithmetic, output
    if step.out_dtype is not None or not np.issubdtype(operands[0].dtype, np.integer):
        return None
    constants = [None if c is None else step.x.encode(c) for c in step.constants]
    if isinstance(step.function, Bounded):
        low, high = constants
        return Exact(operands[0].astype(np.int64), 0, low=low, high=high)
    return Exact(np.asarray(step.function(*operands, *constants)).astype(np.int64), 0)


def _of_join(step: Join, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact | None:
    del arithmetic
    n = [t.fraction_bits for t in step.joined]
    finest, leads = max(n), len(step.lead)
    wide = integer_dtype(17 + finest - min(n))
    aligned = [codes.astype(wide) * (1 << (finest - m)) for codes, m in zip(operands[leads:], n, strict=True)]
    return Exact(np.asarray(step.function(*operands[:leads], *aligned), wide), finest - output.fraction_bits)


def _of_codes(step: FromCodes, output: Tensor, arithmetic: Arithmetic, operands: tuple[Array, ...]) -> Exact | None:
    del arithmetic
    sums = operands[0].astype(np.int64) - step.zero_point
    return Exact(sums, step.format.fraction_bits - output.fraction_bits)


_OF_KIND: dict[type[Step], Callable[..., Exact | None]] = {
    Linear: _of_linear,
    Combine: _of_combine,
    Mean: _of_mean,
    Move: _of_move,
    Join: _of_join,
    FromCodes: _of_codes,
}


def narrowed(values: Array) -> Array:
    """Return Python integers as int64 where all of them fit, with room for a rounding constant."""
    if values.dtype != object:
        return values
    largest = max((abs(int(v)) for v in values.reshape(-1)), default=0)
    return values.astype(np.int64) if integer_dtype(largest.bit_length()).kind == "i" else values
