"""The nearest of some names to a name that was mistyped.

The distance of two names is the number of mistakes of a person who types: a letter left out, added or replaced, or two
neighbours exchanged (Damerau's four mistakes, optimal string alignment). Names are compared without case and without
the marks between their words, which people mix up: `half-even`, `HalfEven` and `half_even` have the distance 0. A name
that was begun and not finished, or of which one of several words was typed, is near too, however much is missing. Of
equally near names the one with the same beginning wins, then the one of the nearest length, and then the first.
"""

from collections.abc import Iterable

_MARKS = str.maketrans("", "", "-_ ./:\\")
_BEGUN, _PROLONGED, _SAME_BEGINNING, _CONTAINED = 1.5, 2.5, 3.0, 3.5
"""Numbers of mistakes that count for an unfinished name, a longer one, one with another end, and a part of one."""

_MAX_LENGTH = 200  # of a name that is compared; longer ones are not typed


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most probably meant; None where none is near enough."""
    typed = _plain(name)
    if not typed or len(typed) > _MAX_LENGTH:
        return None
    found = ((_rank(typed, _plain(one)), one) for one in names if 0 < len(one) <= _MAX_LENGTH)
    near = [(rank, one) for rank, one in found if rank is not None]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def distance(one: str, other: str, most: int | None = None) -> int:
    """Return the number of mistakes between two texts: a letter left out, added or replaced, or neighbours exchanged.

    Parameters
    ----------
    one, other
        The texts.
    most
        Largest number that is counted; beyond it the result is `most + 1`. None for no limit.
    """
    limit = len(one) + len(other) if most is None else most
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return min(last[-1], limit + 1)


def _plain(text: str) -> str:
    return text.casefold().translate(_MARKS) or text


def _rank(typed: str, known: str) -> tuple[float, bool, int] | None:
    """Return how far two plain names are apart, smallest for the nearest; None where they are not near.

    One mistake in three letters is near, and rounded up where the first letter is right.
    """
    length, differs, apart = max(len(typed), len(known)), typed[:1] != known[:1], abs(len(typed) - len(known))
    most = max(1, length // 3 if differs else -(-length // 3))
    if len(typed) < 3:
        most = 1
    mistakes = distance(typed, known, most)
    is_begun = len(typed) >= 3 and known.startswith(typed)
    if mistakes <= most and mistakes < length and not (is_begun and mistakes > _BEGUN):
        return float(mistakes), differs, apart
    if is_begun:
        return _BEGUN, False, apart
    if len(known) >= 3 and typed.startswith(known):
        return _PROLONGED + apart / 5, False, apart
    if len(typed) >= 5 and known.startswith(typed[: -(-2 * len(typed) // 3)]):
        return _SAME_BEGINNING, False, apart
    if len(typed) >= 4 and (typed in known or (len(known) >= 4 and known in typed)):
        return _CONTAINED, True, apart
    return None
