"""Faults of overflow: another rule, a word that is narrower, or a word of the other sign."""

from collections.abc import Iterator
from functools import partial

from qengine.deploy.hypotheses.hypothesis import Hypothesis
from qengine.deploy.hypotheses.variant import Variant
from qengine.qformat import Overflow


def _overflow(name: Overflow, variant: Variant) -> Variant | None:
    if variant.arithmetic.overflow is name or variant.step.kind in ("move", "picking"):
        return None
    return variant.with_modes(overflow=name)


def _narrower(bits: int, variant: Variant) -> Variant | None:
    if variant.exact is None or variant.own_epilogue.word.bits - bits < 2:
        return None
    word = variant.own_epilogue.word
    return variant.with_epilogue(word=word._replace(bits=word.bits - bits))


def _other_sign(variant: Variant) -> Variant | None:
    if variant.exact is None:
        return None
    word = variant.own_epilogue.word
    return variant.with_epilogue(word=word._replace(signed=not word.signed))


def hypotheses() -> Iterator[Hypothesis]:
    """Yield the family."""
    for name in Overflow:
        rank = 20 if name in (Overflow.SATURATE, Overflow.WRAP) else 21
        yield Hypothesis(f"overflow:{name}", f"overflow {name} instead of {{overflow}}", rank, partial(_overflow, name))
    for bits in (1, 2, 3, 4):
        yield Hypothesis(
            f"overflow:{bits}_bits_less",
            f"a word of {bits} bit{'s' * (bits > 1)} less, with overflow {{overflow}}",
            60 + bits,
            partial(_narrower, bits),
        )
    yield Hypothesis("overflow:sign", "a result that is fitted into a word of the other sign", 62, _other_sign)
