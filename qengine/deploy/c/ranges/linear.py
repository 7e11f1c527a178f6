"""Ends of the output of a linear step: the extremes of each filter's sum, by its weights and the input's ends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ranges.intervals import Ends, hull, multiplied, plus, requantized, with_zero, wrapped
from qengine.model.graph import NO_ACTIVATION
from qengine.model.rules import Arithmetic
from qengine.model.steps import Linear, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.bias import computed_bias
from qengine.model.steps.forms import ChannelScale, Convolution, LinearForm, MatrixProduct

Array = NDArray[Any]


def linear_ends(step: Linear, out: Tensor, arithmetic: Arithmetic, x: Ends, w: Ends, b: Ends) -> Ends:
    """Return the ends of the output.

    Parameters
    ----------
    step, out, arithmetic
        Step, the tensor that it computes, and its rules.
    x, w, b
        Ends of the codes of the operands; those of a bias are read where it is computed.
    """
    rules, word = Accumulation(step, out, arithmetic), arithmetic.word(out.one_format)
    low, high = _products(step, x, w)
    if not low.size:
        return word.least, word.most
    starts = _bias(step, rules, b)
    half = rules.register_half if rules.in_order else rules.half
    numbers = [np.asarray(a) for a in (rules.shift, rules.cut, half)]
    activation = step.activation or NO_ACTIVATION
    bounds = out.encode_bound(activation.low), out.encode_bound(activation.high)
    parts = []
    for (shift, cut, added), total, partial in _groups(step, (low, high), starts, numbers):
        register = _in_register(rules, total, partial, cut, added)
        parts.append(requantized(register, shift, word, *bounds))
    return hull(parts)


def _groups(
    step: Linear, sums: tuple[Array, Array], bias: tuple[Array, Array], numbers: list[Array]
) -> Iterator[tuple[tuple[int, ...], Ends, Ends]]:
    """Yield some numbers, and for the filters that have them alike the ends of whole sums and of parts of sums."""
    filters = len(sums[0])
    columns = [_by_channel(step, a, filters) for a in (*bias, *numbers)]
    if any(column is None for column in columns):  # every filter may meet every bias and every number
        ends, start = ((int(a[0].min()), int(a[1].max())) for a in (sums, bias))
        for key in product(*(np.unique(a).tolist() for a in numbers)):
            yield key, plus(ends, start), plus(with_zero(ends), with_zero(start))
        return
    found: dict[tuple[int, ...], tuple[Ends, Ends]] = {}
    rows = np.stack([np.asarray(column, object) for column in (*sums, *columns)], axis=1)
    for low, high, first, last, *key in rows.tolist():
        ends, start = (low, high), (first, last)
        one, alike = (plus(ends, start), plus(with_zero(ends), with_zero(start))), tuple(key)
        known = found.get(alike, one)
        found[alike] = hull((known[0], one[0])), hull((known[1], one[1]))
    for alike, (total, partial) in found.items():
        yield alike, total, partial


def _by_channel(step: Linear, a: Array, filters: int) -> Array | None:
    """Return what broadcasts against the output as one number for each filter; None where it is another axis."""
    if a.size == 1:
        return np.broadcast_to(a.reshape(-1), filters)
    wide = a.reshape((1,) * (len(step.shape) - a.ndim) + a.shape)
    axis = step.channel_axis % len(step.shape)
    is_of_channels = wide.shape[axis] == wide.size == filters == step.shape[axis]
    return wide.reshape(-1) if is_of_channels else None


def _products(step: Linear, x: Ends, w: Ends) -> tuple[Array, Array]:
    """Return the least and the largest sum of products of each filter, or of all of them in one element."""
    form = step.product
    if not _sums_all(step):
        x = with_zero(x)
    if step.w.value is not None and isinstance(form, LinearForm):
        return _weighted(form.filters(step.w.codes), x)
    if step.x.value is not None and isinstance(form, MatrixProduct) and step.x.ndim > 0:
        rows = step.x.codes.T if form.transposed_x else step.x.codes
        low, high = _weighted(rows.reshape(-1, rows.shape[-1]), w)
        return low.min(keepdims=True), high.max(keepdims=True)
    least, most = multiplied(x, w)
    return np.array([least * step.taps], object), np.array([most * step.taps], object)


def _weighted(w: Array, ends: Ends) -> tuple[Array, Array]:
    """Return the least and the largest of sums of numbers times the rows of a matrix."""
    wide = w.astype(np.int64)
    positive = np.maximum(wide, 0).sum(axis=1).astype(object)
    negative = positive - wide.sum(axis=1).astype(object)
    least, most = ends
    return positive * least - negative * most, positive * most - negative * least


def _sums_all(step: Linear) -> bool:
    """Whether every output sums all taps: none is in the padding, or between the elements of a spread input."""
    form = step.product
    return isinstance(form, MatrixProduct | ChannelScale) or (
        isinstance(form, Convolution) and not any(end > 0 for pair in form.pads for end in pair)
    )


def _bias(step: Linear, rules: Accumulation, ends: Ends) -> tuple[Array, Array]:
    """Return the least and the largest bias, in units of the products, as arrays that broadcast against the output."""
    if step.b is None:
        return (np.zeros((), np.int64),) * 2
    if rules.bias is not None:
        return (np.asarray(rules.bias),) * 2
    n = step.b.fraction_bits
    low, high = (computed_bias(np.array(e), n, rules.product_bits, rules.bias_rule) for e in ends)
    return low, high


def _in_register(rules: Accumulation, total: Ends, partial: Ends, cut: int, half: int) -> Ends:
    """Return the ends of sums as the register leaves them, in units that `rules.shift` brings to the output.

    Parameters
    ----------
    rules
        Register.
    total, partial
        Ends of whole sums, and of sums of some of their terms, in units of the products.
    cut, half
        Bits that each product drops, and the constant that is added in the register.
    """
    bits = rules.rule.bits
    if not rules.in_order:
        if rules.kept_bits is None:
            return total
        rail = 1 << (rules.kept_bits - 1)
        low, high = wrapped((total[0] + half, total[1] + half), -rail, rail - 1)
        return low - half, high - half
    if cut > 0:  # each product, and the bias, is rounded to a neighbour
        slack = rules.step.taps + 1
        total, partial = (((low >> cut) - slack, -(-high >> cut) + slack) for low, high in (total, partial))
    else:
        total, partial = ((low << -cut, high << -cut) for low, high in (total, partial))
    if bits is None:
        return total
    rail = 1 << (bits - 1)
    if partial[0] + min(half, 0) >= -rail and partial[1] + half <= rail - 1:
        return total
    return -rail - half, rail - 1 - half
