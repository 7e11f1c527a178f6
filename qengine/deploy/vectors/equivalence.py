"""Proofs that a fault shows on no input: the faulty operator is the same function.

Most faults of rounding, overflow and accumulators change only what becomes of a sum, one sum at a time. If the sums of
an operator can only lie in a range, then all sums of the range decide: where the faulty code is the right one for each
of them, no input tells the two apart, and a pack is not to blame for passing it. Ranges of up to 2^21 sums are gone
through. A table is decided by its input codes, which are at most 65,536.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses import Hypothesis, Operation, Variant
from qengine.deploy.hypotheses.exact import Exact
from qengine.deploy.vectors.coverage import MOST_SUMS, Reach
from qengine.deploy.vectors.sums import Sums
from qengine.deploy.vectors.taps import Taps
from qengine.kernels.reference.word import Word
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Mean
from qengine.runtime.plan.plan import BoundStep

Array = NDArray[Any]

_FAMILIES = ("rounding", "overflow", "accumulator", "activation")
"""Families of faults that look at one sum at a time."""

_METHODS = ("reciprocal", "shifted_count", "accumulator", "float32")
"""Methods of a mean that look at its sum alone."""


def hidden(bound_step: BoundStep, sums: Sums | None, reach: Reach, faults: list[Hypothesis]) -> set[str]:
    """Return the names of those of some faults that no input shows.

    Parameters
    ----------
    bound_step
        The operator.
    sums
        Exact numbers of any input; None for an operator without sums.
    reach
        The range of its sums.
    faults
        Faults that no vector detects.
    """
    if sums is None or reach.least is None or reach.most is None or reach.most - reach.least >= MOST_SUMS:
        return set()
    tried = [fault for fault in faults if fault.family in _FAMILIES and not fault.is_structural]
    if not tried:
        return set()
    left = {fault.name: fault for fault in tried}
    for exact in _every_sum(bound_step, sums, reach):
        for name, fault in list(left.items()):
            if not _is_equal(bound_step, exact, fault):
                del left[name]
    return set(left)


def equal_means(bound_step: BoundStep, reach: Reach, faults: list[Hypothesis]) -> set[str]:
    """Return the names of those of some faults in the quotient of a mean that no sum of the range shows."""
    step, arithmetic = bound_step.step, bound_step.arithmetic
    if not isinstance(step, Mean) or callable(step.count) or arithmetic is None:
        return set()
    if reach.least is None or reach.most is None or reach.most - reach.least >= MOST_SUMS:
        return set()
    every = np.arange(reach.least, reach.most + 1, dtype=np.int64)
    alone = replace(step, total=np.asarray, shape=every.shape)  # the sums themselves in place of the inputs
    right, found = alone.fixed(bound_step.output, arithmetic)(every), set()
    for fault in faults:
        method = fault.name.partition(":")[2]
        if fault.family == "mean" and method in _METHODS:
            other = replace(arithmetic, mean=replace(arithmetic.mean, method=method))  # type: ignore[arg-type]
            if np.array_equal(alone.fixed(bound_step.output, other)(every), right):
                found.add(fault.name)
    return found


def beyond_turns(taps: Taps, word: Word, sums: Sums, faults: list[Hypothesis]) -> set[str]:
    """Return the names of those of some registers that saturate at every step, but never with a visible end.

    A sum that reaches a rail R has used taps that raise it by R minus the bias. They lower it no more, so that it ends
    at least at R plus the least that the other taps can add. If that is beyond the last code of the output, the output
    saturates on any register. One sum does not reach both rails where all taps move it by less than 2 R, or each way
    by less than the 3 R that the taps up to one rail and from there to the other one need.

    Parameters
    ----------
    taps, word
        The operator, and the word of its input.
    sums
        Exact numbers of any input.
    faults
        Faults that no vector detects.
    """
    if sums.word.overflow != "saturate":
        return set()
    ends = taps.weights[..., None] * np.array([word.least, word.most])
    up, down = ends.max(axis=3).sum(axis=2), ends.min(axis=3).sum(axis=2)
    bias, shift = taps.bias, np.clip(taps.shift, 0, 62)
    ratio = min(word.most, -word.least) / max(word.most, -word.least)
    found = set()
    for fault in faults:
        match = re.fullmatch(r"accumulator:saturate_([0-9]+)_channels_(first|last)", fault.name)
        if match is None or np.any(taps.shift < 0):
            continue
        rail = 1 << (int(match[1]) - 1)
        after_high = rail - 1 + down[..., None] + np.floor(ratio * (rail - 1 - bias)).astype(np.int64)
        after_low = -rail + up[..., None] + np.ceil(ratio * (-rail - bias)).astype(np.int64)
        is_hidden = (after_high >> shift >= sums.high) & (-(-after_low >> shift) <= sums.low)
        is_one_rail = (up - down)[..., None] + np.abs(bias) < 2 * rail
        is_one_rail |= np.maximum(up, -down)[..., None] < ratio * (3 * rail - np.abs(bias))
        if np.all(is_hidden & is_one_rail):
            found.add(fault.name)
    return found


def permuting(bound_step: BoundStep, operands: tuple[Array, ...], faults: list[Hypothesis]) -> set[str]:
    """Return the names of those of some faults that only reorder elements of which an operator takes the sum.

    Parameters
    ----------
    bound_step
        The operator.
    operands
        Operands of a random vector, whose elements differ.
    faults
        Faults that no vector detects.
    """
    step = bound_step.step
    if not isinstance(step, Mean) or len(step.x.shape) < 3 or prod(step.shape) != prod(step.x.shape[:2]):
        return set()
    planes, found = _sorted_planes(operands[0]), set()
    for fault in faults:
        variant = fault.variant(Variant.of(Operation(bound_step, operands))) if fault.family == "input" else None
        if variant is None or variant.run is not None or variant.operands[0].shape != operands[0].shape:
            continue
        if np.array_equal(_sorted_planes(variant.operands[0]), planes):
            found.add(fault.name)
    return found


def _sorted_planes(x: Array) -> Array:
    return np.sort(x.reshape(*x.shape[:2], -1), axis=-1)


def _every_sum(bound_step: BoundStep, sums: Sums, reach: Reach) -> Iterator[Exact]:
    """Yield all sums of the range, for each shift and count of the operator."""
    assert reach.least is not None
    assert reach.most is not None
    activation = getattr(bound_step.step, "activation", None) or NO_ACTIVATION
    low, high = (bound_step.output.encode_bound(v) for v in (activation.low, activation.high))
    every = np.arange(reach.least, reach.most + 1, dtype=np.int64)
    for shift in np.unique(np.asarray(sums.shift)):
        for count in np.unique(np.asarray(sums.count)):
            yield Exact(every, int(shift), divisor=int(count), low=low, high=high)


def _is_equal(bound_step: BoundStep, exact: Exact, fault: Hypothesis) -> bool:
    """Whether a fault gives the right code for all sums."""
    operation = Operation(bound_step, ())
    operation._kept[()] = exact
    right = Variant.of(operation)
    try:
        with np.errstate(all="ignore"):
            faulty = fault.variant(right)
            if faulty is None:  # it changes no sum of the range, or there is no bias to be before
                return fault.family != "activation"
            if faulty.run is not None or faulty.own_epilogue.bounds == "products":  # which looks at sums without bias
                return False
            return np.array_equal(faulty.codes(), right.codes())
    except (ValueError, IndexError, AssertionError, OverflowError, TypeError):
        return False
