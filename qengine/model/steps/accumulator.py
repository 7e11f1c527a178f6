"""Sums of a linear step in the register of a device: exact, with high bits lost, or term after term.

`AccumulatorRule` describes a register. Most sums never notice it, and the weights prove that. Sums of some products of
a filter have bounds: the largest input times its positive weights, plus the bias, and the same for its negative
weights. Where both lie within the rails of the register nothing saturates and nothing wraps, in any order, and the
exact sum is the result. So there are three ways:

- *exact*, with the low bits kept where the register wraps: wrapping once, at the end, gives the same bits;
- *rounding inside*: the constant that half_up adds, half a step of the output, is in the register when it wraps. The
  result is that of half_up for the sum wrap(a + half) - half;
- *in order*: the register saturates and some filter might, or it cuts products. `kernels.reference.register` computes
  these sums one tap after the other.

The fraction bits of a register that has more than the products are only a narrower register for exact sums: of A bits,
the lowest d are always 0, and A - d bits of the sum are left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.kernels.reference.register import Register, RegisterSums, moved
from qengine.kernels.reference.rounding import integer_dtype
from qengine.kernels.reference.word import Integers
from qengine.model.rules import Arithmetic
from qengine.model.steps.bias import FractionBits, bias_codes, brought, check_fraction_bits, computed_bias, refuse_nan
from qengine.model.steps.forms import LinearForm
from qengine.model.steps.step import Tensor
from qengine.qformat import Rounding

if TYPE_CHECKING:
    from qengine.model.steps.linear import Linear

_TWICE = (Rounding.TFLITE, Rounding.RUY)
_INSIDE = (Rounding.HALF_UP, Rounding.FLOOR)
"""Roundings whose constant a register may hold."""


class Accumulation:
    """Sums of a linear step under the rules of its accumulator and its bias.

    Parameters
    ----------
    step, out
        Step, and tensor that it computes.
    arithmetic
        Rules of the step.
    ends
        The smallest and the largest code that the input holds, where they are known; None for those of its word.

    Attributes
    ----------
    product_bits : fraction bits of the products, one number or one for each channel.
    bits : fraction bits of the register.
    cut : bits that each product drops when it is added; negative for those that it gets.
    half : constant that is added in the register, in units of the products; 0 for none.

    Raises
    ------
    OptionError
        If the constant of the rounding cannot be in the register.
    FormatError
        If the rule gives the bias more fraction bits than the sums have.
    """

    def __init__(self, step: Linear, out: Tensor, arithmetic: Arithmetic, ends: tuple[int, int] | None = None) -> None:
        word = step.x.one_format.word()
        least, most = (word.least, word.most) if ends is None else ends
        self._ends = min(least, 0), max(most, 0)  # the padding holds 0
        self.step, self.rule, self.bias_rule = step, arithmetic.accumulator, arithmetic.bias
        self.product_bits: FractionBits = step.x.fraction_bits + step.weight_fraction_bits()
        own = self.rule.fraction_bits
        self.bits: FractionBits = self.product_bits if own is None else own
        self.cut: FractionBits = 0 if own is None else self.product_bits - np.asarray(own)
        if np.ndim(self.cut) == 0:
            self.cut = int(self.cut)
        self._cuts = own is not None and bool(np.any(np.asarray(self.cut) > 0))
        # Roundings in two steps see how many bits are dropped, and those of the register are more.
        self._sees_bits = arithmetic.rounding in _TWICE and bool(np.any(self.cut))
        self._out_bits = out.fraction_bits
        self._has_half = self.rule.rounds_inside and arithmetic.rounding == Rounding.HALF_UP
        if self.rule.rounds_inside and arithmetic.rounding not in _INSIDE:
            raise OptionError(
                f"accumulator.rounds_inside is for the roundings half_up and floor, and '{out.name}' has "
                f"{arithmetic.rounding}: leave it out, or round linear operators half_up"
            )
        self.half = self._half_of(self.product_bits)
        if step.b is not None and step.b.value is not None:
            refuse_nan(step.b)
        if step.b is not None and (step.b.format is None or step.b.value is None):
            check_fraction_bits(step.b.name, self.product_bits, self.bias_rule)

    def _half_of(self, bits: FractionBits) -> Integers | int:
        """Return half a step of the output, in units of some fraction bits, where the register adds it."""
        if not self._has_half:
            return 0
        halves = [1 << (s - 1) if s > 0 else 0 for s in np.ravel(bits - np.asarray(self._out_bits)).tolist()]
        if len(halves) == 1:
            return halves[0]
        return np.array(halves, integer_dtype(max(halves).bit_length())).reshape(np.shape(bits))

    @property
    def shift(self) -> FractionBits:
        """The bits that a sum drops when it becomes a code: those of the register if sums are computed in order."""
        bits = self.bits if self.in_order else self.product_bits
        return bits - self._out_bits

    @cached_property
    def bias(self) -> Integers | None:
        """The constant bias in units of the products; None where there is none."""
        b = self.step.b
        if b is None or b.value is None:
            return None
        bits = self.bias_bits
        return brought(
            bias_codes(b, self.step.bias_shape, bits, self.bias_rule), bits, self.product_bits, self.bias_rule
        )

    @property
    def bias_bits(self) -> FractionBits:
        """The fraction bits that a bias is brought to: those of the sums, if nothing else names some."""
        b, rule = self.step.b, self.bias_rule
        if not self._cuts or isinstance(rule.fraction_bits, int) or (b is not None and b.format is not None):
            return self.product_bits
        return np.minimum(self.product_bits, self.bits)

    def computed_bias(self, codes: NDArray[Any]) -> Integers:
        """Return a computed bias in units of the products."""
        assert self.step.b is not None
        own = self.step.b.fraction_bits
        return computed_bias(codes.reshape(self.step.bias_shape), own, self.product_bits, self.bias_rule)

    @property
    def largest_bias(self) -> int:
        """The largest magnitude of a bias, in units of the products."""
        if self.bias is not None:
            return int(np.abs(self.bias).max(initial=0))
        if self.step.b is None:
            return 0
        own = self.bias_rule.fraction_bits
        shift = self.bias_rule.shift
        left = shift if isinstance(own, str) else int(np.max(np.asarray(self.product_bits) - own, initial=0))
        return 1 << (self.bias_rule.bits - 1 + left)

    @cached_property
    def bound(self) -> int:
        """An upper limit of |b| + sum(|x * w|), in units of the products, from the weights where they are known."""
        step, largest = self.step, _largest(self.step.x)
        if step.w.value is None:
            return largest * _largest(step.w) * step.taps + self.largest_bias
        sums = np.abs(step.w.codes.astype(np.int64)).sum(axis=step.summed)
        return largest * int(sums.max(initial=0)) + self.largest_bias

    @property
    def largest_product(self) -> int:
        """An upper limit of the magnitude of a product."""
        step = self.step
        if step.w.value is None:
            return _largest(step.x) * _largest(step.w)
        return _largest(step.x) * int(np.abs(step.w.codes.astype(np.int64)).max(initial=0))

    @cached_property
    def kept_bits(self) -> int | None:
        """The low bits that exact sums keep; None for all."""
        if self.rule.bits is None or self.rule.overflow == "saturate" or self.in_order:
            return None
        return self.rule.bits + int(np.max(self.cut))

    @cached_property
    def in_order(self) -> bool:
        """Whether sums are computed one tap after the other."""
        if self._cuts or self._sees_bits or self.rule.bits is None:
            return self._cuts or self._sees_bits
        width = self.rule.bits + np.asarray(self.cut)
        if self.rule.overflow == "wrap" and width.min() == width.max() and width.min() > 1:
            return False
        return bool(self.may_overflow.any())

    @cached_property
    def may_overflow(self) -> NDArray[np.bool_]:
        """A mask of the filters whose sums may leave the register, by the weights and the words of input and bias.

        One element for all where filters and biases do not correspond.
        """
        if self.rule.bits is None:
            return np.zeros(1, bool)
        rail = 1 << (self.rule.bits - 1)
        low, high = self.limits
        size = low.size
        left = _of_filters(-np.asarray(self.cut), size, np.max).astype(object)
        half = _of_filters(np.asarray(self._half_of(self.bits)), size, np.max).astype(object)
        if self._cuts:  # a bound of cut products: each is at most 1 further from 0
            low, high = ((v >> np.maximum(-left, 0)) + sign * self.step.taps for v, sign in ((low, -1), (high, 1)))
            left = np.maximum(left, 0)
        return np.asarray(((high << left) + half > rail - 1) | ((low << left) < -rail), bool)

    @cached_property
    def limits(self) -> tuple[Integers, Integers]:
        """The least and the largest that any part of the sum of a filter can be, in units of the products."""
        low, high = self._product_limits()
        if self.bias is None:
            return low - self.largest_bias, high + self.largest_bias
        bias = np.asarray(self.bias).astype(object)
        if bias.size != 1 and not (bias.size == low.size and self._bias_is_of_channels):
            low, high = (np.array([v], object) for v in (low.min(), high.max()))
        least, most = (_of_filters(bias, low.size, pick) for pick in (np.min, np.max))
        return low + np.minimum(least, 0), high + np.maximum(most, 0)

    @property
    def _bias_is_of_channels(self) -> bool:
        """Whether all elements of the bias are along the axis of the channels, which has one for each filter."""
        step = self.step
        wide = (1,) * (len(step.shape) - len(step.bias_shape)) + step.bias_shape
        return wide[step.channel_axis] == prod(step.bias_shape)

    def _product_limits(self) -> tuple[Integers, Integers]:
        step, (least, most) = self.step, self._ends
        if step.w.value is not None and isinstance(step.product, LinearForm):
            w = step.product.filters(step.w.codes)
            positive = np.maximum(w, 0).sum(axis=1, dtype=np.int64).astype(object)
            negative = positive - w.sum(axis=1, dtype=np.int64).astype(object)
            return (
                np.asarray(positive * least - negative * most),
                np.asarray(positive * most - negative * least),
            )
        assert step.w.format is not None
        ends = step.w.format.word()
        products = [a * b for a in (least, most) for b in (ends.least, ends.most)]
        return tuple(np.array([f(*products, 0) * step.taps], object) for f in (min, max))  # type: ignore[return-value]

    def register_sums(self, bias: Integers | None, bound: int) -> RegisterSums:
        """Return the function that computes sums in order.

        Parameters
        ----------
        bias
            Bias in units of the products; None for none.
        bound
            Upper limit of |b| + sum(|x * w|), in units of the products.
        """
        step, rule, half = self.step, self.rule, np.asarray(self._half_of(self.bits))
        left = int(np.max(-np.asarray(self.cut), initial=0))
        largest = (bound << left) + int(np.max(half, initial=0)) + step.taps + 2
        wide = integer_dtype(largest.bit_length())
        start = np.zeros((), wide)
        if bias is not None:
            start = moved(np.asarray(bias).astype(wide), self.cut, rule.rounding)
        start = np.asarray(start + half.astype(wide), wide)
        register = Register(rule.bits, rule.overflow == "saturate", rule.rounding, rule.fraction_bits is not None)
        order, cut = None, np.asarray(self.cut)
        if isinstance(step.product, LinearForm):
            start, cut = (step.product.aligned(a, step.x.ndim, step.w.ndim) for a in (start, cut))
            if rule.order == "channels_last":
                order = step.product.channels_last(step.w.shape)
        return RegisterSums(register, start, cut, order, largest)

    @property
    def register_half(self) -> Integers | int:
        """The constant that is added in the register, in its units; 0 for none."""
        return self._half_of(self.bits)


def _largest(t: Tensor) -> int:
    assert t.format is not None
    word = t.format.word()
    return max(word.most, -word.least)


def _of_filters(a: Integers, filters: int, pick: Callable[..., Any]) -> Integers:
    """Return numbers that broadcast against the output as one for each filter, or the one of all that `pick` picks."""
    flat = np.ravel(a)
    return flat if flat.size in (1, filters) else np.asarray([pick(flat)], flat.dtype)
