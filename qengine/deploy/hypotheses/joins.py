"""Faults of operators on several tensors: alignment of an Add, order and formats of a Concat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.steps import Combine, Join, Tensor
from qengine.model.steps.combine import Operation


def _with_bits(tensor: Tensor, n: int) -> Tensor:
    return replace(tensor, format=tensor.one_format.with_fraction_bits(n))


def _terms(variant: Variant) -> tuple[Tensor, ...] | None:
    step = variant.step
    if isinstance(step, Combine) and step.operation in ("add", "subtract"):
        return step.terms
    return step.joined if isinstance(step, Join) else None


def _with_terms(variant: Variant, terms: tuple[Tensor, ...]) -> Variant:
    name = "terms" if isinstance(variant.step, Combine) else "joined"
    return replace(variant, step=replace(variant.step, **{name: terms}))  # type: ignore[type-var]


def _not_aligned(of: str, variant: Variant) -> Variant | None:
    """Return the variant that takes the codes of all terms as if they had one number of fraction bits."""
    terms = _terms(variant)
    if terms is None:
        return None
    n = [t.fraction_bits for t in terms]
    one = {"output": variant.output.fraction_bits, "most": max(n), "least": min(n), "first": n[0]}[of]
    if all(m == one for m in n):
        return None
    return _with_terms(variant, tuple(_with_bits(t, one) for t in terms))


def _term_off(index: int, by: int, variant: Variant) -> Variant | None:
    terms = _terms(variant)
    if terms is None or index >= len(terms):
        return None
    other = _with_bits(terms[index], terms[index].fraction_bits + by)
    return _with_terms(variant, (*terms[:index], other, *terms[index + 1 :]))


def _aligned_first(variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Combine) or step.operation not in ("add", "subtract"):
        return None
    return variant.with_rules(aligns=not variant.arithmetic.aligns)


def _missing(index: int, variant: Variant) -> Variant | None:
    step = variant.step
    if not isinstance(step, Combine) or step.operation not in ("add", "subtract") or index >= len(step.terms):
        return None
    return variant.with_operand(index, np.zeros_like(variant.operands[index]))


def _other_operation(variant: Variant) -> Variant | None:
    step = variant.step
    other: dict[str, Operation] = {"add": "subtract", "subtract": "add"}
    if not isinstance(step, Combine) or step.operation not in other or len(step.terms) != 2:
        return None
    return replace(variant, step=replace(step, operation=other[step.operation]))


def _reordered(by: int | None, variant: Variant) -> Variant | None:
    """Return the variant whose inputs are rotated, or reversed for None."""
    step = variant.step
    if not isinstance(step, Join) or len(step.joined) < 2:
        return None
    if by is not None and (len(step.joined) == 2 or by % len(step.joined) == 0):
        return None
    leads, joined = len(step.lead), list(range(len(step.joined)))
    order = joined[::-1] if by is None else joined[by:] + joined[:by]
    arrays = variant.operands
    operands = (*arrays[:leads], *(arrays[leads + i] for i in order))
    return replace(variant, step=replace(step, joined=tuple(step.joined[i] for i in order)), operands=operands)


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for rank, (of, words) in enumerate(
        (
            ("output", "that all have the output's fraction bits"),
            ("most", "that all have the most fraction bits of any"),
            ("least", "that all have the fewest fraction bits of any"),
            ("first", "that all have the fraction bits of the first"),
        ),
        30,
    ):
        sentence = f"inputs that are not aligned: codes {words}"
        yield Hypothesis(f"add:not_aligned_{of}", sentence, rank, partial(_not_aligned, of), is_structural=True)
    sentence = "inputs that are brought to the output's format before they are added"
    yield Hypothesis("add:aligned_first", sentence, 35, _aligned_first, is_structural=True)
    for index, name in enumerate(("first", "second", "third")):
        for by in (1, -1, 2, -2):
            sentence = f"a {name} input that is shifted {abs(by)} too far to the {'left' if by < 0 else 'right'}"
            change = partial(_term_off, index, by)
            yield Hypothesis(f"add:{name}_shift{by:+d}", sentence, 45 + abs(by), change, is_structural=True)
        yield Hypothesis(
            f"add:no_{name}", f"a {name} input that is left out", 44, partial(_missing, index), is_structural=True
        )
    sentence = "a sum in place of a difference, or a difference in place of a sum"
    yield Hypothesis("add:sign", sentence, 46, _other_operation, is_structural=True)
    yield Hypothesis("concat:reversed", "inputs in reverse order", 40, partial(_reordered, None), is_structural=True)
    for by in (1, 2, 3):
        sentence = f"inputs that are rotated by {by}"
        yield Hypothesis(f"concat:rotated_{by}", sentence, 42, partial(_reordered, by), is_structural=True)
