"""Means by the rule of a device: what a `Mean` computes in fixed point, by the method of its `MeanRule`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference import means
from qengine.kernels.reference.pool import mean_fixed
from qengine.kernels.reference.requantize import Tally
from qengine.kernels.reference.word import Codes
from qengine.model.rules import Arithmetic
from qengine.model.steps.forms import AxisSum, WindowSum

if TYPE_CHECKING:
    from qengine.model.steps.mean import Mean
    from qengine.model.steps.step import Tensor

Counts = NDArray[np.int64] | int
MeanOf = Callable[[Codes, Tally | None], Codes]


@dataclass(frozen=True)
class WindowCounts:
    """The number of elements of each window that count.

    Elements that only ceil_mode reaches never count, as in torch and ONNX Runtime.

    Attributes
    ----------
    size : lengths of the axes.
    kernel, strides, dilations, pads : windows, with the padding that is declared.
    out : number of windows along each axis.
    counts_pads : whether elements of the declared padding count.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    out: tuple[int, ...]
    counts_pads: bool

    def __call__(self) -> NDArray[np.int64]:
        """Return the counts, at least 1: the sum of a window of padding alone is 0 and stays 0."""
        each = [self.along(axis) for axis in range(len(self.size))]
        total = each[0]
        for one in each[1:]:
            total = np.multiply.outer(total, one)
        return np.asarray(np.maximum(total, 1), np.int64)

    def along(self, axis: int) -> NDArray[np.int64]:
        """Return the number of elements that count along one axis."""
        n, kernel, stride, dilation = (v[axis] for v in (self.size, self.kernel, self.strides, self.dilations))
        before, after = self.pads[axis] if self.counts_pads else (0, 0)
        start = np.arange(self.out[axis]) * stride - self.pads[axis][0]
        # The number of elements start + i * dilation before each end.
        below, inside = ((-(-(end - start) // dilation)).clip(0, kernel) for end in (-before, n + after))
        return np.asarray(inside - below, np.int64)


def counts_of(step: Mean, arithmetic: Arithmetic | None) -> Counts:
    """Return the divisors of a mean, the padding counted as the rules say, or as the model does."""
    count = step.count
    pads = None if arithmetic is None else arithmetic.mean.counts_pads
    if pads is not None and isinstance(count, WindowCounts):
        count = replace(count, counts_pads=pads)
    return count() if callable(count) else count


def mean_of(step: Mean, out: Tensor, arithmetic: Arithmetic) -> MeanOf:
    """Return the function that computes a mean, or a sum, in fixed point."""
    counts, rule = counts_of(step, arithmetic), arithmetic.mean
    shift, word = step.x.fraction_bits - out.fraction_bits, arithmetic.word(out.one_format)
    total = step.total
    if rule.method == "exact" or (isinstance(counts, int) and counts == 1):
        return lambda x, tally: mean_fixed(total(x.astype(np.int64)), counts, shift, word, tally=tally)
    if rule.method == "two_pass":
        return _in_passes(step, out, arithmetic)
    if rule.method == "reciprocal":
        return lambda x, tally: means.reciprocal_mean(total(x.astype(np.int64)), counts, shift, word, tally)
    if rule.method == "float32":
        return lambda x, tally: means.float32_mean(total(x.astype(np.int64)), counts, shift, word, tally)
    if rule.method == "shifted_count":
        divisors = shifted_counts(step, out, counts)
        return lambda x, tally: mean_fixed(total(x.astype(np.int64)), divisors, max(shift, 0), word, tally=tally)
    return _in_register(step, out, arithmetic, counts)


def shifted_counts(step: Mean, out: Tensor, counts: Counts) -> Counts:
    """Return the divisors of the method "shifted_count"; raise FormatError if one is 0."""
    shift = step.x.fraction_bits - out.fraction_bits
    found = means.shifted_counts(counts, shift)
    if np.min(found) < 1:
        raise FormatError(
            f"the mean '{out.name}' has {-shift} fraction bits more than '{step.x.name}', by which mean.method = "
            f"shifted_count shifts a count of {int(np.min(counts))} to 0: give them formats that are closer, "
            "or another method (--rule mean.method=exact, rules=)"
        )
    return found


def _in_register(step: Mean, out: Tensor, arithmetic: Arithmetic, counts: Counts) -> MeanOf:
    """Return the mean of a register with its own fraction bits and width, those of the input by default."""
    rule, word = arithmetic.accumulator, arithmetic.word(out.one_format)
    if rule.overflow == "saturate" and rule.bits is not None:
        raise FormatError(
            f"the mean '{out.name}' is by mean.method = accumulator, of a register that wraps; accumulator.overflow "
            "is saturate: give another (--rule mean.method=exact or accumulator.overflow=wrap, rules=)"
        )
    bits = step.x.fraction_bits if rule.fraction_bits is None else rule.fraction_bits
    cut, shift, total = step.x.fraction_bits - bits, bits - out.fraction_bits, step.total

    def run(x: Codes, tally: Tally | None) -> Codes:
        sums = total(means.cut_inputs(x, cut, rule.rounding))
        return means.accumulator_mean(sums, counts, shift, rule.bits or 0, word, tally)

    return run


def _in_passes(step: Mean, out: Tensor, arithmetic: Arithmetic) -> MeanOf:
    """Return the mean along one axis after the other, the last axis first."""
    form: Any = step.total
    own, word = arithmetic.word(step.x.one_format), arithmetic.word(out.one_format)
    shift = step.x.fraction_bits - out.fraction_bits
    if isinstance(form, AxisSum):
        axes = sorted(axis % step.x.ndim for axis in form.axes)

        def reduced(x: Codes, tally: Tally | None) -> Codes:
            for axis in reversed(axes[1:]):
                x = mean_fixed(x.astype(np.int64).sum(axis=axis, keepdims=True), x.shape[axis], 0, own)
            first = axes[0]
            total = x.astype(np.int64).sum(axis=first, keepdims=True)
            return mean_fixed(total, x.shape[first], shift, word, tally=tally).reshape(step.shape)

        return reduced if axes else lambda x, tally: mean_fixed(x.astype(np.int64), 1, shift, word, tally=tally)
    if not isinstance(form, WindowSum) or not isinstance(step.count, WindowCounts) or max(form.dilations) > 1:
        raise FormatError(
            f"the mean '{out.name}' has dilations, which mean.method = two_pass does not know: "
            "give another (--rule mean.method=exact, rules=)"
        )
    window, pads = step.count, arithmetic.mean.counts_pads
    window = window if pads is None else replace(window, counts_pads=pads)

    def pooled(x: Codes, tally: Tally | None) -> Codes:
        for axis in range(len(form.kernel) - 1, 0, -1):
            counts = window.along(axis) if window.counts_pads else None
            size = form.kernel[axis], form.strides[axis], form.pads[axis][0], window.out[axis]
            x = means.first_pass(x, axis + 2, *size, own, counts)
        ones = (1,) * (len(form.kernel) - 1)
        along = replace(
            form,
            kernel=(form.kernel[0], *ones),
            strides=(form.strides[0], *ones),
            dilations=(1, *ones),
            pads=(form.pads[0], *((0, 0),) * len(ones)),
        )
        counts = np.maximum(window.along(0), 1).reshape(-1, *ones)
        return mean_fixed(along(x.astype(np.int64)), counts, shift, word, tally=tally)

    return pooled
