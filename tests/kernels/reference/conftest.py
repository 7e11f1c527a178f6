"""The oracle of these tests: rounding and overflow of exact fractions, spelled out one number at a time."""

from fractions import Fraction
from math import ceil, floor

import pytest
from oracle import ROUNDINGS

from qengine.kernels.reference.word import Word


def _round_exact(v, rounding, shift=0):
    """Return v rounded to an integer; `shift` bits are dropped, which tflite and ruy do in two steps."""
    if rounding in ("tflite", "ruy"):
        then = "half_up" if rounding == "ruy" or shift == 1 else "half_away"
        if shift < 2:
            return _round_exact(v, then)
        first = _round_exact(v * 2 ** (shift - 1), "half_up")
        return _round_exact(Fraction(first, 2 ** (shift - 1)), then)
    below, above = floor(v), ceil(v)
    toward_zero, away = (below, above) if v > 0 else (above, below)
    whole = {"floor": below, "ceil": above, "trunc": toward_zero, "away": away}
    if rounding in whole:
        return whole[rounding]
    if 2 * v != below + above or below == above:
        return below if 2 * v < below + above else above
    even = below if below % 2 == 0 else above
    return {"half_up": above, "half_down": below, "half_away": away, "half_zero": toward_zero, "half_even": even}[
        rounding
    ]


def _code(v, word, shift=0):
    whole = _round_exact(Fraction(v), word.rounding, shift)
    low = -(2 ** (word.bits - 1)) if word.signed else 0
    high = low + 2**word.bits - 1
    match word.overflow:
        case "saturate":
            return min(max(whole, low), high)
        case "symmetric":
            return min(max(whole, low + word.signed), high)
        case "zero":
            return whole if low <= whole <= high else 0
    return (whole - low) % 2**word.bits + low


@pytest.fixture(scope="session")
def round_exact():
    """(Fraction, rounding, bits dropped by a shift = 0) -> int."""
    return _round_exact


@pytest.fixture(scope="session")
def code_of():
    """(exact value in units of the last place, Word, bits dropped by a shift = 0) -> code."""
    return _code


WORDS = [
    *[Word(8, True, rounding, overflow) for rounding in ROUNDINGS for overflow in ("saturate", "wrap")],
    *[Word(8, True, rounding, overflow) for rounding in ("half_even", "tflite") for overflow in ("symmetric", "zero")],
    *[
        Word(bits, signed, rounding, overflow)
        for bits, signed in [(8, False), (16, True), (3, True)]
        for rounding, overflow in [
            *[("half_even", "saturate"), ("half_up", "wrap"), ("trunc", "saturate")],
            *[("half_zero", "symmetric"), ("away", "zero")],
        ]
    ],
]


@pytest.fixture(scope="session", params=ROUNDINGS)
def rounding(request):
    """Each of them."""
    return request.param


@pytest.fixture(scope="session", params=WORDS, ids=lambda w: "-".join(map(str, w)))
def word(request):
    """Each rounding and overflow at 8 bits, and some in other words."""
    return request.param
