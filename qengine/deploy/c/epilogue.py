"""The numbers of `struct net_epilogue`: rounding, overflow and bounds of a result."""

from __future__ import annotations

from qengine.deploy.c.ir import Parameters
from qengine.kernels.reference.rounding_table import rounding_rule
from qengine.kernels.reference.word import Word

MOST_SHIFT = 62
"""Bits that a sum of up to 60 bits drops; with more, the result is the same."""

_FITTING = {"saturate": 0, "wrap": 1, "zero": 2}


def epilogue(word: Word, shift: int, low: int | None = None, high: int | None = None) -> Parameters:
    """Return the fields of the struct.

    Parameters
    ----------
    word
        Word of the result, with its rounding and overflow.
    shift
        Bits that a sum drops; negative for a multiplication.
    low, high
        Bounds of a fused activation as codes, which may lie outside of the word; None for none.
    """
    rule = rounding_rule(word.rounding)
    least = word.lowest if word.fitting == "saturate" else word.least
    most = word.most if high is None else min(max(high, word.least), word.most)
    if low is not None:
        least = max(least, min(max(low, word.least), word.most))
    return {
        "shift": min(shift, MOST_SHIFT),
        "halves": rule.base.halves,
        "ones": rule.base.ones,
        "twos": rule.base.twos,
        "parity": rule.parity.ones,
        "negative_halves": rule.negative.halves,
        "negative_ones": rule.negative.ones,
        "negative_twos": rule.negative.twos,
        "fitting": _FITTING[word.fitting],
        "bits": word.bits,
        "is_signed": word.signed,
        "low": min(least, most),
        "high": most,
    }


def room(bound: int, shift: int) -> int:
    """Return an upper limit of the magnitude of a sum while it is rounded: a type that holds it is wide enough."""
    return bound + (1 << min(shift, MOST_SHIFT) if shift > 0 else 0)
