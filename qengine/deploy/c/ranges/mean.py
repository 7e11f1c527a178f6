"""Sums and counts of the windows of a mean, and the ends of its output."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ranges.intervals import (
    Ends,
    fitted,
    hull,
    quotient,
    requantized,
    scaled,
    shifted,
    with_zero,
    wrapped,
)
from qengine.kernels.reference.means import RECIPROCAL_BITS, float32_quotients
from qengine.model.rules import Arithmetic
from qengine.model.steps import Mean, Tensor
from qengine.model.steps.forms import AxisSum, WindowSum
from qengine.model.steps.means import WindowCounts, counts_of, shifted_counts


@dataclass(frozen=True)
class Cell:
    """A kind of output of a mean.

    Attributes
    ----------
    elements : number of elements of the input that it sums.
    count : divisor.
    """

    elements: int
    count: int


def elements_of(step: Mean) -> NDArray[np.int64] | int | None:
    """Return how many elements of the input each output sums; None for a form that is not known.

    An array broadcasts against the output.
    """
    form = step.total
    if isinstance(form, AxisSum):
        return prod(step.x.shape[axis] for axis in form.axes)
    if not isinstance(form, WindowSum):
        return None
    size, out = step.x.shape[2:], step.shape[2:]
    inside = WindowCounts(size, form.kernel, form.strides, form.dilations, form.pads, out, counts_pads=False)
    found = inside.along(0)
    for axis in range(1, len(size)):
        found = np.multiply.outer(found, inside.along(axis))
    return np.asarray(found, np.int64)


def cells_of(step: Mean, out: Tensor, arithmetic: Arithmetic) -> tuple[Cell, ...] | None:
    """Return the kinds of outputs of a mean, each once; None for a form that is not known."""
    elements = elements_of(step)
    if elements is None:
        return None
    counts = counts_of(step, arithmetic)
    if arithmetic.mean.method == "shifted_count" and not is_sum(counts):
        counts = shifted_counts(step, out, counts)
    pairs = np.stack([part.reshape(-1) for part in np.broadcast_arrays(elements, counts)], axis=1)
    return tuple(Cell(int(n), int(count)) for n, count in np.unique(pairs, axis=0))


def is_sum(counts: NDArray[np.int64] | int) -> bool:
    """Whether nothing is divided."""
    return isinstance(counts, int) and counts == 1


def mean_ends(step: Mean, out: Tensor, arithmetic: Arithmetic, x: Ends) -> Ends:
    """Return the ends of the output, given those of the input."""
    word, cells = arithmetic.word(out.one_format), cells_of(step, out, arithmetic)
    if not cells:
        return word.least, word.most
    return hull(_ends_of(step, out, arithmetic, x, cell) for cell in cells)


def _ends_of(step: Mean, out: Tensor, arithmetic: Arithmetic, x: Ends, cell: Cell) -> Ends:
    word, method = arithmetic.word(out.one_format), arithmetic.mean.method
    shift, total = step.x.fraction_bits - out.fraction_bits, scaled(x, cell.elements)
    if is_sum(counts_of(step, arithmetic)):
        method = "exact"
    if method == "two_pass":
        # A rounded mean of integers is between the least and the largest of them and 0.
        return requantized(with_zero(x), shift, word.unshifted)
    if method == "reciprocal":
        factor = (1 << RECIPROCAL_BITS) // cell.count
        return requantized(scaled(total, factor), shift + RECIPROCAL_BITS, word)
    if method == "float32":
        low, high = float32_quotients(np.array(total, np.int64), cell.count, shift, word.rounding).tolist()
        return fitted((low, high), word)
    if method == "accumulator":
        return _in_register(step, out, arithmetic, x, cell)
    left, right = max(-shift, 0), max(shift, 0)
    if method == "shifted_count":
        left = 0
    low, high = (quotient(end << left, cell.count << right, word.rounding) for end in total)
    return fitted((low, high), word)


def _in_register(step: Mean, out: Tensor, arithmetic: Arithmetic, x: Ends, cell: Cell) -> Ends:
    """Return the ends of a mean by the method "accumulator"."""
    rule = arithmetic.accumulator
    bits = step.x.fraction_bits if rule.fraction_bits is None else rule.fraction_bits
    total = scaled(shifted(x, step.x.fraction_bits - bits, rule.rounding), cell.elements)
    if rule.bits is not None:
        total = wrapped(total, -(1 << (rule.bits - 1)), (1 << (rule.bits - 1)) - 1)
    low, high = (quotient(end, cell.count, "trunc") for end in total)
    return requantized((low, high), bits - out.fraction_bits, arithmetic.word(out.one_format))
