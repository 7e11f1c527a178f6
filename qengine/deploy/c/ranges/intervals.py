"""Interval arithmetic of exact integers and codes: the ends of a result, given those of its parts.

All roundings never give a smaller integer for a larger number, and neither does saturation or the bound of an
activation. So the ends of a result are the results of the ends. Only an overflow that wraps, or that gives 0, is not in
order: then an interval that leaves the word becomes the whole word, or gets the 0.

Ends are Python integers, which do not overflow.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from qengine.kernels.reference.rounding import divide, shift_right
from qengine.kernels.reference.word import Word

Ends = tuple[int, int]
"""The least and the largest of some integers."""


def hull(parts: Iterable[Ends]) -> Ends:
    """Return the smallest interval that holds all intervals."""
    found = list(parts)
    return min(low for low, _ in found), max(high for _, high in found)


def with_zero(ends: Ends) -> Ends:
    """Return the smallest interval that holds an interval and 0."""
    return min(ends[0], 0), max(ends[1], 0)


def scaled(ends: Ends, factor: int) -> Ends:
    """Return the ends of the products with a factor of any sign."""
    return min(e * factor for e in ends), max(e * factor for e in ends)


def plus(one: Ends, other: Ends) -> Ends:
    """Return the ends of the sums."""
    return one[0] + other[0], one[1] + other[1]


def multiplied(one: Ends, other: Ends) -> Ends:
    """Return the ends of the products."""
    products = [a * b for a in one for b in other]
    return min(products), max(products)


def shifted(ends: Ends, shift: int, rounding: str) -> Ends:
    """Return the ends of the numbers times 2^-shift, rounded."""
    low, high = (_shifted(e, shift, rounding) for e in ends)
    return low, high


def _shifted(value: int, shift: int, rounding: str) -> int:
    if shift <= 0:
        return value << -shift
    return int(shift_right(np.array(value, object), shift, rounding))


def quotient(numerator: int, denominator: int, rounding: str) -> int:
    """Return the rounded quotient; the denominator is positive."""
    return int(divide(np.array(numerator, object), denominator, rounding))


def fitted(ends: Ends, word: Word, low: int | None = None, high: int | None = None) -> Ends:
    """Return the ends of rounded numbers in a word, within the bounds of an activation; see `requantize.fit`."""
    first, last = ends
    if word.fitting == "saturate":
        first, last = (min(max(e, word.lowest), word.most) for e in ends)
    elif first < word.least or last > word.most:
        first, last = _overflowed(ends, word)
    if low is not None:
        first, last = (max(e, min(max(low, word.least), word.most)) for e in (first, last))
    if high is not None:
        first, last = (min(e, min(max(high, word.least), word.most)) for e in (first, last))
    return first, last


def _overflowed(ends: Ends, word: Word) -> Ends:
    """Return the ends of numbers of which some do not fit: their low bits, or 0."""
    first, last = ends
    if word.fitting == "wrap":
        return wrapped(ends, word.least, word.most)
    first, last = max(first, word.least), min(last, word.most)
    return with_zero((first, last)) if first <= last else (0, 0)


def wrapped(ends: Ends, least: int, most: int) -> Ends:
    """Return the ends of numbers that wrap into a word: moved as a whole, or the whole word where they pass its end."""
    size = most - least + 1
    turns = (ends[0] - least) // size
    if turns == (ends[1] - least) // size:
        return ends[0] - turns * size, ends[1] - turns * size
    return least, most


def requantized(ends: Ends, shift: int, word: Word, low: int | None = None, high: int | None = None) -> Ends:
    """Return the ends of the codes of exact numbers; see `requantize.requantize`."""
    return fitted(shifted(ends, shift, word.rounding), word, low, high)
