"""Faults of rounding: another rule, or rounding in two stages."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.qformat import Rounding

_COMMON = (Rounding.FLOOR, Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.HALF_AWAY, Rounding.TRUNC)


def _rounded(name: Rounding, variant: Variant) -> Variant | None:
    if variant.arithmetic.rounding is name or not rounds(variant):
        return None
    return variant.with_modes(rounding=name)


def _twice(bits: int, variant: Variant) -> Variant | None:
    exact = variant.exact
    if exact is None or not np.any(np.asarray(exact.shift) > bits):
        return None
    return variant.with_epilogue(first_shift=bits)


def rounds(variant: Variant) -> bool:
    """Whether an operator may round at all."""
    exact = variant.exact
    return variant.step.kind not in ("move", "picking") if exact is None else exact.rounds


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for name in Rounding:
        rank = 10 + (_COMMON.index(name) if name in _COMMON else len(_COMMON))
        plain = " (bits are dropped, nothing is added)" if name is Rounding.FLOOR else ""
        yield Hypothesis(
            f"rounding:{name}", f"rounding {name}{plain} instead of {{rounding}}", rank, partial(_rounded, name)
        )
    for bits in range(1, 17):
        sentence = f"rounding {{rounding}} in two stages, by {bits} bits first"
        yield Hypothesis(f"rounding:twice_{bits}", sentence, 70 + bits, partial(_twice, bits))
