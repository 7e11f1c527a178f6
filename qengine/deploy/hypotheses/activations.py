"""Faults of a fused activation: left out, in the wrong place, or with another bound."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.exact import Exact
from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.graph import ActivationBounds
from qengine.model.steps import Combine, Join, Linear, Mean, Move, Resize, Table
from qengine.model.steps.forms import Bounded
from qengine.qformat import QFormat


def _is_bounded(exact: Exact | None) -> bool:
    return exact is not None and (exact.low is not None or exact.high is not None)


def _placed(bounds: str, variant: Variant) -> Variant | None:
    exact = variant.exact
    if exact is None or not _is_bounded(exact) or (bounds == "products" and exact.bias is None):
        return None
    return variant.with_epilogue(bounds=bounds)


def _moved(low: int, high: int, variant: Variant) -> Variant | None:
    """Return the variant whose bounds, in codes, are moved."""
    activation = getattr(variant.step, "activation", None)
    bounds = variant.step.constants if isinstance(variant.step, Move) else None
    unit = 2.0**-variant.output.fraction_bits
    if isinstance(variant.step, Linear | Combine) and activation is not None:
        pair = (activation.low, activation.high)
        moved = _moved_pair(pair, low * unit, high * unit)
        if moved == pair:
            return None
        return replace(variant, step=replace(variant.step, activation=ActivationBounds(*moved)))
    if isinstance(variant.step, Move) and isinstance(variant.step.function, Bounded) and bounds is not None:
        moved = _moved_pair((bounds[0], bounds[1]), low * unit, high * unit)
        return None if moved == bounds else replace(variant, step=replace(variant.step, constants=moved))
    return None


def _moved_pair(pair: tuple[float | None, float | None], low: float, high: float) -> tuple[float | None, float | None]:
    return (None if pair[0] is None else pair[0] + low, None if pair[1] is None else pair[1] + high)


def _without(end: str, variant: Variant) -> Variant | None:
    activation = getattr(variant.step, "activation", None)
    if not isinstance(variant.step, Linear | Combine) or activation is None:
        return None
    if activation.low is None or activation.high is None:
        return None
    kept = ActivationBounds(activation.low, None) if end == "high" else ActivationBounds(None, activation.high)
    return replace(variant, step=replace(variant.step, activation=kept))


def _added(high: float | None, variant: Variant) -> Variant | None:
    """Return the variant with an activation that the model does not have."""
    step, fmt = variant.step, variant.output.format
    bound = variant.output.encode_bound(high)
    if not isinstance(fmt, QFormat) or (bound is not None and bound >= fmt.word().most):
        return None
    if isinstance(step, Linear | Combine):
        if step.activation is not None:
            return None
        return replace(variant, step=replace(step, activation=ActivationBounds(0.0, high)))
    if variant.run is not None or not _may_be_negative(variant):
        return None
    return replace(variant, run=partial(_bounded, bound))


def _may_be_negative(variant: Variant) -> bool:
    """Whether a step that is not linear may have codes below 0."""
    step = variant.step
    if isinstance(step, Table):
        return bool(np.any(step.table(variant.output, variant.arithmetic)[0] < 0))
    if isinstance(step, Move) and isinstance(step.function, Bounded):
        return False
    if not isinstance(step, Mean | Move | Join | Resize):
        return False
    words = [t.format.word() for t in step.operands if isinstance(t.format, QFormat)]
    return any(word.least < 0 for word in words)


def _bounded(high: int | None, variant: Variant) -> NDArray[Any]:
    return np.clip(replace(variant, run=None).codes(), 0, high)


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    yield Hypothesis("activation:missing", "an activation that is left out", 30, partial(_placed, "none"))
    for end, name in (("low", "lower"), ("high", "upper")):
        sentence = f"an activation without its {name} bound"
        yield Hypothesis(f"activation:no_{end}", sentence, 31, partial(_without, end), is_structural=True)
    for by in (1, -1):
        for end, name, pair in (("low", "lower", (by, 0)), ("high", "upper", (0, by))):
            sentence = f"an activation whose {name} bound is off by {by:+d}"
            yield Hypothesis(f"activation:{end}{by:+d}", sentence, 34, partial(_moved, *pair), is_structural=True)
    yield Hypothesis(
        "activation:before_bias", "an activation before the bias is added", 36, partial(_placed, "products")
    )
    yield Hypothesis("activation:before_rounding", "an activation before rounding", 37, partial(_placed, "sums"))
    yield Hypothesis(
        "activation:relu", "a Relu that the model does not have", 38, partial(_added, None), is_structural=True
    )
    sentence = "a Clip to 0 .. 6 that the model does not have"
    yield Hypothesis("activation:relu6", sentence, 39, partial(_added, 6.0), is_structural=True)
