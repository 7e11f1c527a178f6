"""Sets of characters as sorted ranges of code points, and the classes of RE2 that have names."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import groupby

Ranges = tuple[tuple[int, int], ...]
"""Code points from the first number to the second, both included; sorted, and with gaps in between."""

LAST = 0x10FFFF
ANY: Ranges = ((0, LAST),)
DIGIT: Ranges = ((0x30, 0x39),)
SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
POSIX: dict[str, Ranges] = {
    "alnum": ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)),
    "alpha": ((0x41, 0x5A), (0x61, 0x7A)),
    "ascii": ((0, 0x7F),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": DIGIT,
    "graph": ((33, 126),),
    "lower": ((0x61, 0x7A),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((0x41, 0x5A),),
    "word": WORD,
    "xdigit": ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)),
}
"""Classes that are written as [:alpha:], all of ASCII."""

_FEW = 64
_LAST_CASED = 0x1FFFF
"""Code point above which no letter has a case."""


def union(*parts: Iterable[tuple[int, int]]) -> Ranges:
    """Return the characters of all the sets."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(one for part in parts for one in part):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return tuple(result)


def complement(ranges: Ranges) -> Ranges:
    """Return the characters that a set does not have."""
    result, start = [], 0
    for low, high in ranges:
        if start < low:
            result.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        result.append((start, LAST))
    return tuple(result)


def contains(ranges: Ranges, code: int) -> bool:
    """Whether a set has a code point."""
    at = bisect_right(ranges, (code, LAST)) - 1
    return at >= 0 and ranges[at][0] <= code <= ranges[at][1]


@lru_cache(maxsize=256)
def folded(ranges: Ranges) -> Ranges:
    """Return a set with the other cases of its letters."""
    groups = _cases()
    if sum(high - low + 1 for low, high in ranges) < _FEW:
        found = {groups.get(code, ()) for low, high in ranges for code in range(low, high + 1)}
    else:
        found = {codes for codes in groups.values() if any(contains(ranges, code) for code in codes)}
    return union(ranges, ((code, code) for codes in found for code in codes))


@cache
def _cases() -> dict[int, tuple[int, ...]]:
    """Return the code points that differ in case alone from a letter, by Unicode's folding of single characters."""
    groups: dict[str, set[int]] = {}
    for code in range(_LAST_CASED + 1):
        c = chr(code)
        forms = {c.lower(), c.upper(), c.casefold()} - {c}
        if any(len(form) == 1 for form in forms):
            key = c.casefold() if len(c.casefold()) == 1 else c.lower()
            groups.setdefault(key if len(key) == 1 else c, set()).add(code)
    # Turkish letters with and without a dot have no simple pair in RE2.
    whole = [tuple(sorted({ord(key), *codes})) for key, codes in groups.items() if not codes & {0x130, 0x131}]
    return {code: codes for codes in whole for code in codes}


@cache
def category(name: str) -> Ranges | None:
    """Return the characters of a general category of Unicode, such as L or Lu; None where there is none."""
    if name == "Any":
        return ANY
    if not name or name[0] not in "CLMNPSZ" or name == "Cn":
        return None
    return union(*(ranges for own, ranges in _categories().items() if own.startswith(name) and own != "Cn")) or None


@cache
def _categories() -> dict[str, list[tuple[int, int]]]:
    """Return the characters of each general category of two letters."""
    result: dict[str, list[tuple[int, int]]] = {}
    start = 0
    for name, run in groupby(map(unicodedata.category, map(chr, range(LAST + 1)))):
        end = start + sum(1 for _ in run)
        result.setdefault(name, []).append((start, end - 1))
        start = end
    return result
