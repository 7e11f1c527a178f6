"""Inputs of a linear operator that are computed from its weights: the largest sums, and ties.

The largest sum of an output has the largest code where the weight is positive and the least where it is negative. A tie
is a sum with the remainder 2^(s-1) when s bits are dropped. Of any window, one element with an odd weight w can be
changed so that the sum has that remainder: by the missing remainder times the inverse of w modulo 2^s. What lies in the
word is taken; of some hundred windows a few nearly always do. Weights that are multiples of a power of two are divided
by it first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.vectors.coverage import NEAR, TIES
from qengine.deploy.vectors.taps import NOWHERE, Taps
from qengine.kernels.reference.word import Word

Array = NDArray[Any]

_WINDOWS = 768
"""Random windows that are tried for ties of an output."""

_CHANNELS = 12
"""Outputs that are steered."""

_TRIED_TAPS = 4


@dataclass(frozen=True)
class Patch:
    """Some elements of an input.

    Attributes
    ----------
    elements : numbers of the elements.
    codes : codes of the elements.
    shows : name of the coverage that they give.
    """

    elements: NDArray[np.int64]
    codes: NDArray[np.int64]
    shows: str


def patches(taps: Taps, word: Word, ends: tuple[int, int], random: np.random.Generator) -> Iterator[Patch]:
    """Yield patches for the largest and least sums, and for each kind of tie, of different outputs and positions.

    Parameters
    ----------
    taps
        The operator.
    word
        Word of its input.
    ends
        Least and most code of its output.
    random
        Source of the windows.
    """
    for group, output in _strongest(taps):
        place = int(
            np.argmax((taps.elements[group] != NOWHERE).sum(axis=1) + 0.5 * random.random(len(taps.elements[group])))
        )
        inside = taps.elements[group, place] != NOWHERE
        numbers, weights = taps.elements[group, place][inside], taps.weights[group, output][inside]
        yield Patch(numbers, np.where(weights > 0, word.most, word.least), "most accumulator")
        yield Patch(numbers, np.where(weights < 0, word.most, word.least), "least accumulator")
        bias, shift = int(taps.bias[group, output, place]), int(taps.shift[group, output, place])
        for name, codes in ties(weights, bias, shift, word, ends, random).items():
            yield Patch(numbers, codes, name)
        for order in taps.orders:
            own = order[inside[order]]
            for codes in turning(taps.weights[group, output][own], bias, shift, word, ends):
                yield Patch(taps.elements[group, place][own], codes, "a sum that turns")


def turning(weights: Array, bias: int, shift: int, word: Word, ends: tuple[int, int]) -> Iterator[Array]:
    """Yield codes of a window whose sum rises, then falls to a code that the output shows, and the other way round.

    A register that stops at its rails ends with another sum then, unless the rails are beyond the turn.
    """
    upper, lower = np.where(weights > 0, word.most, word.least), np.where(weights < 0, word.most, word.least)
    middle = ((ends[0] + ends[1]) << max(shift, 0)) // 2 if shift < 40 else 0
    for first, then in ((upper, lower), (lower, upper)):
        begun = np.concatenate([[0], np.cumsum(first * weights)])
        left = np.concatenate([np.cumsum((then * weights)[::-1])[::-1], [0]])
        cut = int(np.argmin(np.abs(begun + left + bias - middle)))
        yield np.concatenate([first[:cut], then[cut:]])


def _strongest(taps: Taps) -> list[tuple[int, int]]:
    """Return groups and outputs: those with the largest sums, and some that are evenly spread."""
    groups, outputs, _ = taps.weights.shape
    strength = (np.abs(taps.weights).sum(axis=2) + np.abs(taps.bias).max(axis=2)).reshape(-1)
    first = np.argsort(-strength, kind="stable")[: _CHANNELS // 3]
    spread = np.linspace(0, groups * outputs - 1, min(groups * outputs, _CHANNELS)).astype(int)
    chosen = list(dict.fromkeys([*first.tolist(), *spread.tolist()]))[:_CHANNELS]
    return [divmod(index, outputs) for index in chosen]


def ties(
    weights: Array, bias: int, shift: int, word: Word, ends: tuple[int, int], random: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Return codes of windows whose sums are ties that the output shows, or just below, by the kind of tie."""
    found: dict[str, NDArray[np.int64]] = {}
    if not 1 <= shift <= 40 or not weights.any():
        return found
    low, high = ends
    windows = random.integers(word.least, word.most + 1, (_WINDOWS, len(weights)))
    windows >>= random.integers(0, word.bits, (_WINDOWS, 1))
    sums = windows @ weights + bias
    trailing = np.array([int(w) & -int(w) if w else 1 << 62 for w in weights])
    half = 1 << (shift - 1)
    for tap in np.argsort(trailing, kind="stable")[:_TRIED_TAPS]:
        for remainder in (half, half - 1) if shift > 1 else (half,):
            solved, is_inside = _solved(windows[:, tap], sums, int(weights[tap]), shift, remainder, word)
            floor = (sums + (solved - windows[:, tap]) * int(weights[tap])) >> shift
            shown = is_inside & (floor >= low) & (floor < high)
            for name, mask in _kinds(floor, remainder == half).items():
                rows = np.flatnonzero(shown & mask)
                if name not in found and len(rows):
                    window = windows[rows[0]].copy()
                    window[tap] = solved[rows[0]]
                    found[name] = window
    return found


def _kinds(floor: Array, is_tie: bool) -> dict[str, Array]:
    """Return which sums, of one remainder, are of which kind."""
    below, odd = floor < 0, (floor & 1).astype(bool)
    if not is_tie:
        return {NEAR[0]: ~below, NEAR[1]: below}
    return dict(zip(TIES, (~below & ~odd, ~below & odd, below & ~odd, below & odd), strict=True))


def _solved(codes: Array, sums: Array, weight: int, shift: int, remainder: int, word: Word) -> tuple[Array, Array]:
    """Return codes of one tap with which the sums have a remainder, and where there are any in the word."""
    factor = (weight & -weight).bit_length() - 1 if weight else shift
    if factor >= shift:
        return codes, sums % (1 << shift) == remainder
    modulus = 1 << (shift - factor)
    inverse = pow(weight >> factor, -1, modulus)
    missing = remainder - sums
    fits = missing % (1 << factor) == 0
    step = (((missing >> factor) % modulus) * inverse) % modulus
    solved = word.least + (codes + step - word.least) % modulus
    # Of all codes with the remainder, one near the middle of the word leaves most room.
    room = np.maximum((word.most - solved) // modulus, 0)
    solved = solved + modulus * (room // 2)
    return solved, fits & (solved <= word.most)
