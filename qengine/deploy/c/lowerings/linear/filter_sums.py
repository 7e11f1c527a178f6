"""The sums of filters as C computes them fast: in 32 bits, in any order, with constant weights and biases.

The sum b + w[0] * x[0] + ... of a filter stays within 32 bits, in any order of its terms, if |b| plus the
larger of the sum of all positive and of all negative terms does. The terms have limits by the codes that the input
can hold. Where this proof fails, or where the register of a device shows in the bits, `filter_sums` returns None, and
the general kernel of `lowerings.linear` computes the step.

Columns of inputs have 16 bits with a sign. Codes without a sign above 32,767 get 32,768 taken off, which the bias gives
back: w * x = w * (x - 32768) + 32768 * w.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import MOST_SHIFT, room
from qengine.deploy.c.ir import Constant, Parameters
from qengine.deploy.c.lowering import Context
from qengine.errors import QEngineError
from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import LinearForm

Array = NDArray[Any]

_HALF_OF_16 = 1 << 15
_RAIL = 1 << 31


@dataclass(frozen=True, eq=False)
class FilterSums:
    """The sums of the filters of a step.

    Attributes
    ----------
    weights : codes, (filters, taps) in the order of the model.
    bias : bias of each filter, in units of the products.
    shifts : bits that the sum of each filter drops.
    zero : number that is taken off the codes of the input.
    bound : the largest magnitude of a sum or a part of it.
    """

    weights: Array
    bias: Array
    shifts: Array
    zero: int
    bound: int

    @property
    def comment(self) -> str:
        """The proof that 32 bits hold the sums."""
        most = room(self.bound, int(self.shifts.max(initial=0)))
        return f"|sum| <= {self.bound:,}, and {most:,} with its rounding: 32 bits hold it"

    @property
    def has_shifts(self) -> int:
        """See `has_shifts` of the kernels: 0 for one shift, 1 for shifts to the right, 2 for any."""
        if (self.shifts == self.shifts[:1]).all():
            return 0
        return 1 if self.shifts.min() >= 1 else 2

    def epilogue(self, context: Context) -> Parameters:
        """Return the numbers of the requantization."""
        step, out = context.step, context.out
        low, high = (None, None) if step.activation is None else (step.activation.low, step.activation.high)
        return context.epilogue(int(self.shifts[0]), out.encode_bound(low), out.encode_bound(high))

    def constants(
        self, context: Context, weights: Array, comment: str, order: Array | None = None
    ) -> tuple[Constant | None, ...]:
        """Return the weights, the bias and, or None, the shifts.

        Parameters
        ----------
        context
            The step.
        weights
            The weights in the order in which the kernel reads them.
        comment
            Name of that order.
        order
            Filters in the order of the kernel; None for that of the model.
        """
        picked = slice(None) if order is None else order
        shifts = np.maximum(self.shifts[picked], -MOST_SHIFT)  # more to the left is the same in any word
        return (
            context.constant("weights", weights.astype(self.weights.dtype), f"{context.step.w.name}: {comment}"),
            context.constant("bias", self.bias[picked].astype(np.int32), "bias of each filter, as its sums"),
            context.constant("shifts", shifts.astype(np.int8), "bits that the sums drop", is_visible=True)
            if self.has_shifts
            else None,
        )


def filter_sums(context: Context, *, takes_zero: bool = True) -> FilterSums | None:
    """Return the sums of a step; None where they are not exact sums of 32 bits with constant weights.

    Parameters
    ----------
    context
        The step, a `Linear`.
    takes_zero
        Whether the kernel takes a number off the codes, and needs inputs of 16 bits with a sign.
    """
    step: Linear = context.step
    x, form = context.operand(step.x), step.product
    if x is None or step.w.value is None or not isinstance(form, LinearForm) or step.w.format is None:
        return None
    if step.b is not None and step.b.value is None:
        return None
    try:
        rules = Accumulation(step, context.out, context.arithmetic, x.ends)
        in_order = rules.in_order
    except QEngineError:
        return None  # the general kernel says why
    weights = form.filters(step.w.codes).astype(np.int64)
    dtype = _narrowest(weights)
    filters = len(weights)
    bias, shifts = (_by_filter(step, a, filters) for a in (0 if rules.bias is None else rules.bias, rules.shift))
    if in_order or dtype is None or bias is None or shifts is None or weights.size == 0:
        return None
    least, most = min(x.ends[0], 0), max(x.ends[1], 0)
    half = int(np.max(np.asarray(rules.half), initial=0))
    kept = rules.kept_bits
    if kept is not None and 2 * (_bound(weights, bias, least, most) + half) >= 1 << max(kept, 0):
        return None
    zero = _HALF_OF_16 if takes_zero and most >= _HALF_OF_16 else 0
    bias = bias + zero * weights.sum(axis=1)
    bound = _bound(weights, bias, least - zero, most - zero)
    if room(bound, int(shifts.max())) >= _RAIL:
        return None
    return FilterSums(weights.astype(dtype), bias, shifts, zero, bound)


def _bound(weights: Array, bias: Array, least: int, most: int) -> int:
    ends = weights * least, weights * most
    positive = np.maximum(np.maximum(*ends), 0).sum(axis=1)
    negative = np.minimum(np.minimum(*ends), 0).sum(axis=1)
    return int((np.abs(bias) + np.maximum(positive, -negative)).max())


def _narrowest(weights: Array) -> np.dtype[Any] | None:
    for name in ("int8", "int16"):
        ends = np.iinfo(name)
        if weights.size and ends.min <= weights.min() and weights.max() <= ends.max:
            return np.dtype(name)
    return None


def _by_filter(step: Linear, numbers: Any, filters: int) -> Array | None:
    """Return numbers that broadcast against the output as one for each filter; None where they depend on more."""
    array = np.asarray(numbers)
    if array.dtype == object:
        if max(map(abs, array.ravel().tolist()), default=0) >= _RAIL:
            return None
        array = array.astype(np.int64)
    if array.size == 1:
        return np.full(filters, array.reshape(-1)[0], np.int64)
    shape = (*(1,) * (len(step.shape) - array.ndim), *array.shape)
    axis = step.channel_axis % len(step.shape)
    if array.size != filters or shape[axis] != filters:
        return None
    return array.reshape(-1).astype(np.int64)
