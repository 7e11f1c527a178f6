"""Whole targets: the operator as another device computes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant, run_kernel
from qengine.model.rules import Rules
from qengine.targets import Target, names


@cache
def _rules(name: str) -> Rules:
    return Target.named(name).rules


def _as_target(name: str, variant: Variant) -> Variant | None:
    if variant.epilogue is not None or variant.change_bias is not None or variant.run is not None:
        return None
    operation = variant.operation
    rules = _rules(name)
    arithmetic = rules.of(operation.step.rule_kind, operation.output.name, operation.bound_step.node.operator)
    arithmetic = replace(arithmetic, islands=variant.arithmetic.islands)
    return None if arithmetic == variant.arithmetic else replace(variant, arithmetic=arithmetic, run=run_kernel)


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for name in names():
        sentence = f"the rules of target {name}"
        yield Hypothesis(f"target:{name}", sentence, 90, partial(_as_target, name), is_structural=True)
