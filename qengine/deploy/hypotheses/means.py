"""Faults of means: what is counted, and how the quotient is computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.rules import MeanRule
from qengine.model.steps import Mean
from qengine.model.steps.forms import WindowSum

_METHODS = {
    "two_pass": "a mean along x and then along y, rounded twice",
    "reciprocal": "a mean by the reciprocal of its count in 16 bits",
    "shifted_count": "a mean by a count that is shifted first",
    "accumulator": "a mean that is cut to the input's fraction bits first",
}


def _all_counted(variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Mean) or not isinstance(step.total, WindowSum):
        return None
    return replace(variant, step=replace(step, count=prod(step.total.kernel)))


def _pads_not_counted(variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Mean) or not isinstance(step.total, WindowSum):
        return None
    inside = step.total(np.ones((1, 1, *step.x.shape[2:]), np.int64))[0, 0]
    counts = np.maximum(inside, 1)
    return replace(variant, step=replace(step, count=lambda: counts))


def _axes(step: Mean) -> int:
    """Return the number of axes along which a mean has a pass; one pass is the mean as usual."""
    return len(step.total.kernel if isinstance(step.total, WindowSum) else getattr(step.total, "axes", (0, 1)))


def _method(name: str, variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Mean) or (name == "two_pass" and _axes(step) < 2):
        return None
    return variant.with_rules(mean=replace(variant.arithmetic.mean, method=name))  # type: ignore[arg-type]


def _power_of_two(up: bool, variant: Variant) -> Variant | None:
    """Return the variant whose count is a power of two, as a shift divides."""
    step = variant.step
    if not isinstance(step, Mean):
        return None
    count = np.asarray(step.count() if callable(step.count) else step.count)
    exponent = np.ceil(np.log2(count)) if up else np.floor(np.log2(count))
    near = np.left_shift(1, exponent.astype(np.int64))
    return None if np.array_equal(near, count) else replace(variant, step=replace(step, count=lambda: near))


def _undivided(variant: Variant) -> Variant | None:
    step = variant.step
    return replace(variant, step=replace(step, count=1)) if isinstance(step, Mean) and step.count != 1 else None


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    yield Hypothesis("mean:counts_pads", "a mean that counts the padding", 40, _all_counted, is_structural=True)
    sentence = "a mean that does not count the padding"
    yield Hypothesis("mean:counts_no_pads", sentence, 40, _pads_not_counted, is_structural=True)
    for name, sentence in _METHODS.items():
        assert name in MeanRule.__annotations__["method"]
        yield Hypothesis(f"mean:{name}", sentence, 41, partial(_method, name), is_structural=True)
    for name, up in (("count_down", False), ("count_up", True)):
        sentence = f"a mean whose count is rounded {name[6:]} to a power of two"
        yield Hypothesis(f"mean:{name}", sentence, 43, partial(_power_of_two, up), is_structural=True)
    yield Hypothesis("mean:not_divided", "a sum that is not divided", 44, _undivided, is_structural=True)
