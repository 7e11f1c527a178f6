"""Proof that an operator computes the same by other rules for every input.

An operator reads only the rules of its kind: no rounding moves an element, and a table has no accumulator. An
accumulator that holds every sum is as good as a wider one, two words of a bias may hold the same numbers, and two
roundings are the same where no sum lies between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from qengine.deploy.vectors.reach import Reach
from qengine.deploy.vectors.sums import Sums
from qengine.kernels.reference.requantize import fit
from qengine.model.rules import Arithmetic
from qengine.model.steps import Combine, Join, Linear, Mean, Move, Table, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import WindowSum
from qengine.qformat import QFormat
from qengine.runtime.plan.plan import BoundStep


def same_function(bound_step: BoundStep, sums: Sums | None, reach: Reach, other: Arithmetic) -> bool:
    """Whether an operator computes the same by other rules.

    Parameters
    ----------
    bound_step
        The operator.
    sums, reach
        Exact numbers of any input, and the limits of the operator.
    other
        The other rules.
    """
    step, out, own = bound_step.step, bound_step.output, bound_step.arithmetic
    if own is None:
        return False
    has_equal_modes = (own.rounding, own.overflow) == (other.rounding, other.overflow)
    if isinstance(step, Move):
        return True
    if isinstance(step, Join):
        return has_equal_modes or all(t.format == out.format for t in step.joined)
    if isinstance(step, Table):
        return _has_equal_table(step, out, own, other)
    if isinstance(step, Mean):
        return _has_equal_mean(step, out, reach, (own, other))
    if isinstance(step, Linear) and not _has_equal_sums(step, out, reach, (own, other)):
        return False
    if isinstance(step, Combine) and own.aligns != other.aligns and any(t.format != out.format for t in step.terms):
        return False
    if isinstance(step, Linear | Combine):
        return has_equal_modes or _has_equal_codes(sums, reach, out, other)
    return has_equal_modes and (own.table, own.islands) == (other.table, other.islands)


def _has_equal_codes(sums: Sums | None, reach: Reach, out: Tensor, other: Arithmetic) -> bool:
    """Whether every sum has the same code by another rounding and overflow."""
    if sums is None or not reach.is_short or not isinstance(out.format, QFormat):
        return False
    word = other.word(out.format)
    for every in reach.every(sums):
        right = fit(every.rounded, every.word, low=sums.low, high=sums.high)
        changed = replace(every, word=word)
        if not np.array_equal(fit(changed.rounded, word, low=sums.low, high=sums.high), right):
            return False
    return True


def _has_equal_table(step: Table, out: Tensor, own: Arithmetic, other: Arithmetic) -> bool:
    return np.array_equal(step.table(out, own)[0], step.table(out, other)[0])


def _has_equal_mean(step: Mean, out: Tensor, reach: Reach, rules: tuple[Arithmetic, Arithmetic]) -> bool:
    """Whether a mean by its sum alone has the same code for every sum."""
    own, other = rules
    if (own.mean, own.rounding, own.overflow, own.accumulator) == (
        other.mean,
        other.rounding,
        other.overflow,
        other.accumulator,
    ):
        return True
    has_pads = isinstance(step.total, WindowSum) and any(any(pair) for pair in step.total.pads)
    if not reach.is_short or (has_pads and own.mean.counts_pads != other.mean.counts_pads):
        return False
    rules = tuple(replace(one, mean=replace(one.mean, counts_pads=None)) for one in rules)  # type: ignore[assignment]
    if any(one.mean.method == "two_pass" for one in rules):
        return False
    for part in reach.parts:
        every = np.arange(part.least, part.most + 1, dtype=np.int64)
        # The sums themselves take the place of the inputs.
        alone: Any = replace(step, total=np.asarray, shape=every.shape, count=part.count)
        codes = [alone.fixed(out, one)(every) for one in rules]
        if not np.array_equal(*codes):
            return False
    return bool(reach.parts)


def _has_equal_sums(step: Linear, out: Tensor, reach: Reach, rules: tuple[Arithmetic, Arithmetic]) -> bool:
    """Whether a linear operator has the same sums in two registers, with biases of two words."""
    one, other = (Accumulation(step, out, arithmetic) for arithmetic in rules)
    if (one.bias is None) != (other.bias is None) or (step.b is not None and one.bias is None):
        return False
    if one.bias is not None and other.bias is not None and not np.array_equal(one.bias, other.bias):
        return False
    for register in (one, other):
        # A register that adds half a step holds one bit more.
        room = None if register.kept_bits is None else register.kept_bits - bool(np.any(register.half))
        if register.in_order or (room is not None and (reach.bits is None or reach.bits > room)):
            return False
    return True
