"""Faults of the register that holds the sums: too narrow, with rails, or with the rounding constant inside."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.model.rules import AccumulatorRule
from qengine.model.steps import Linear

_WIDTHS = range(12, 41)
_ORDERED = (16, 18, 20, 24, 32)


def _fits(variant: Variant, bits: int) -> bool:
    """Whether every sum fits a register, so that it changes nothing."""
    exact = variant.exact
    return exact is None or int(np.abs(exact.total).max(initial=0)) < (1 << (bits - 1))


def _register(bits: int, saturates: bool, variant: Variant) -> Variant | None:
    if not isinstance(variant.step, Linear) or _fits(variant, bits):
        return None
    return variant.with_epilogue(accumulator_bits=bits, saturates=saturates)


def _inside(bits: int, variant: Variant) -> Variant | None:
    exact = variant.exact
    if not isinstance(variant.step, Linear) or exact is None:
        return None
    half = 1 << max(int(np.max(exact.shift)) - 1, 0)
    if int(np.abs(exact.total).max(initial=0)) + half < 1 << (bits - 1):
        return None
    return variant.with_epilogue(accumulator_bits=bits, rounds_inside=True)


def _in_order(bits: int, order: str, variant: Variant) -> Variant | None:
    if not isinstance(variant.step, Linear) or not _may_leave(variant, bits):
        return None
    return variant.with_rules(accumulator=AccumulatorRule(bits, "saturate", order))  # type: ignore[arg-type]


def _may_leave(variant: Variant, bits: int) -> bool:
    """Whether the sum of some products alone may leave a register."""
    step, operands = variant.step, variant.operands
    assert isinstance(step, Linear)
    x, w = (np.abs(a.astype(np.int64)) for a in operands[:2])
    weights = w.sum(axis=step.summed) if step.summed else w
    return int(x.max(initial=0)) * int(weights.max(initial=0)) >= 1 << (bits - 1)


def _cut_products(bits: int, variant: Variant) -> Variant | None:
    """Return the variant whose register has some fraction bits fewer than the products."""
    step = variant.step
    if not isinstance(step, Linear) or not step.summed:
        return None
    n = step.x.fraction_bits + int(np.max(step.weight_fraction_bits())) - bits
    return variant.with_rules(accumulator=replace(variant.arithmetic.accumulator, fraction_bits=n))


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for bits in _WIDTHS:
        usual = bits in (16, 20, 24, 32, 40)
        for name, verb, saturates in (("wrap", "wraps", False), ("saturate", "saturates", True)):
            sentence = f"an accumulator of {bits} bits that {verb}"
            rank = (50 if usual else 54) + saturates
            yield Hypothesis(f"accumulator:{name}_{bits}", sentence, rank, partial(_register, bits, saturates))
    for bits in _ORDERED:
        sentence = f"an accumulator of {bits} bits into which the rounding constant is added before it wraps"
        yield Hypothesis(f"accumulator:inside_{bits}", sentence, 58, partial(_inside, bits))
        for order in ("channels_first", "channels_last"):
            sentence = f"an accumulator of {bits} bits that saturates at every step, {order.replace('_', ' ')}"
            name = f"accumulator:saturate_{bits}_{order}"
            yield Hypothesis(name, sentence, 59, partial(_in_order, bits, order), is_structural=True)
    for bits in range(1, 9):
        sentence = f"products that are cut by {bits} bit{'s' * (bits > 1)} before they are added"
        yield Hypothesis(f"accumulator:cut_{bits}", sentence, 64, partial(_cut_products, bits), is_structural=True)
