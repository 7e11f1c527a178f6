"""The oracle of these tests: rounding and overflow of exact fractions, spelled out one number at a time."""

from fractions import Fraction
from math import ceil, floor

import pytest

from qengine.kernels.reference.word import Word


def _round_exact(v, rounding):
    below, above = floor(v), ceil(v)
    if rounding == "floor":
        return below
    if rounding == "trunc":
        return below if v > 0 else above
    twice = 2 * v
    if twice != below + above or below == above:
        return below if twice < below + above else above
    match rounding:
        case "half_up":
            return above
        case "half_away":
            return above if v > 0 else below
        case "half_even":
            return below if below % 2 == 0 else above
    raise AssertionError(rounding)


def _code(v, word):
    whole = _round_exact(Fraction(v), word.rounding)
    low = -(2 ** (word.bits - 1)) if word.signed else 0
    high = low + 2**word.bits - 1
    if word.overflow == "saturate":
        return min(max(whole, low), high)
    return (whole - low) % 2**word.bits + low


@pytest.fixture(scope="session")
def round_exact():
    """(Fraction, rounding) -> int."""
    return _round_exact


@pytest.fixture(scope="session")
def code_of():
    """(exact value in units of the last place, Word) -> code."""
    return _code


ROUNDINGS = ("half_even", "half_up", "half_away", "floor", "trunc")
WORDS = [
    *[Word(8, True, rounding, overflow) for rounding in ROUNDINGS for overflow in ("saturate", "wrap")],
    *[
        Word(bits, signed, rounding, overflow)
        for bits, signed in [(8, False), (16, True), (3, True)]
        for rounding, overflow in [("half_even", "saturate"), ("half_up", "wrap"), ("trunc", "saturate")]
    ],
]


@pytest.fixture(scope="session", params=ROUNDINGS)
def rounding(request):
    """Each of the five."""
    return request.param


@pytest.fixture(scope="session", params=WORDS, ids=lambda w: "-".join(map(str, w)))
def word(request):
    """Each rounding and overflow at 8 bits, and some in other words."""
    return request.param
