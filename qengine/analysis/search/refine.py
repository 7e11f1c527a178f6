"""Better assignments beside a good one: measured, one tensor shorter, or one longer and another shorter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, islice, product

from qengine.analysis.search.descent import Assignment, Choices
from qengine.analysis.search.evaluate import Evaluator
from qengine.analysis.search.result import Candidate

_AHEAD = 4  # behind the first bad assignment of a descent
_MOVES = 8  # units that are tried to be longer, or shorter, two at a time
_DOUBLE = 40  # double exchanges beside one assignment


def along(path: Sequence[Assignment], evaluate: Evaluator, least: float) -> None:
    """Measure assignments of ever more noise until the last good one and the first bad one are neighbours.

    Where more noise is not always worse, there may be good ones behind: the next few are looked at.
    """
    low, high = 0, len(path)
    while high - low > 1:
        middle = (low + high) // 2
        if evaluate(path[middle]).is_good(least):
            low = middle
        else:
            high = middle
    for ahead in path[high + 1 : high + _AHEAD]:
        evaluate(ahead)


def refine(choices: Choices, start: Candidate, evaluate: Evaluator, least: float) -> Candidate:
    """Return a good assignment beside which there is no better one.

    No unit of it can have the next shorter word; and no unit the next shorter while another has the next longer, and
    the cost falls: each such neighbour was measured, and is not good enough. Of those in which up to two units are
    longer and two shorter, the most promising were.
    """
    best = start
    while True:
        best = _shortened(choices, best, evaluate, least)
        neighbours = chain(_exchanges(choices, best), islice(_double_exchanges(choices, best), _DOUBLE))
        better = next((one for widths in neighbours if (one := evaluate(widths)).is_good(least)), None)
        if better is None:
            return best
        best = better


def _shortened(choices: Choices, best: Candidate, evaluate: Evaluator, least: float) -> Candidate:
    """Shorten one unit after the other as long as that is good enough, first what saves most for its noise."""
    while True:
        better = next(
            (one for neighbour in _shorter(choices, best.widths) if (one := evaluate(neighbour)).is_good(least)), None
        )
        if better is None:
            return best
        best = better


def _shorter(choices: Choices, widths: Assignment) -> list[Assignment]:
    ranked = []
    for unit in sorted(choices.cost.units):
        width = choices.lower(widths, unit)
        if width is not None and (saving := choices.cost.saving(widths, unit, width)) > 0:
            ranked.append((max(choices.extra_harm(widths, unit, width), 0.0) / saving, unit, width))
    return [_with(widths, unit, width) for _, unit, width in sorted(ranked)]


def _exchanges(choices: Choices, best: Candidate) -> Iterator[Assignment]:
    """Yield cheaper neighbours in which one unit is longer and another shorter, those of the least noise first."""
    found = []
    for longer in sorted(choices.cost.units):
        width = choices.higher(best.widths, longer)
        if width is not None:
            raised = _with(best.widths, longer, width)
            lower = [(unit, choices.lower(raised, unit)) for unit in sorted(choices.cost.units - {longer})]
            found += [_with(raised, unit, width) for unit, width in lower if width is not None]
    yield from _by_harm(choices, best, found)


def _double_exchanges(choices: Choices, best: Candidate) -> Iterator[Assignment]:
    """Yield cheaper neighbours in which up to two units are longer and up to two shorter, the least noise first.

    They are made of the few units that are the best to lengthen, and to shorten, for what it costs.
    """
    longer: list[tuple[float, int, int]] = []
    shorter: list[tuple[float, int, int]] = []
    for unit in sorted(choices.cost.units):
        for width, moves in ((choices.higher(best.widths, unit), longer), (choices.lower(best.widths, unit), shorter)):
            if width is not None:
                price = abs(choices.cost.saving(best.widths, unit, width))
                moves.append((abs(choices.extra_harm(best.widths, unit, width)) / price if price else 0.0, unit, width))
    longer = sorted(longer, reverse=True)[:_MOVES]  # most noise gone for the cost
    shorter = sorted(shorter)[:_MOVES]  # least noise for the saving
    found = set()
    for up, down in product((0, 1, 2), (1, 2)):
        for ups, downs in product(combinations(longer, up), combinations(shorter, down)):
            every = (*ups, *downs)
            if len({unit for _, unit, _ in every}) == up + down:
                neighbour = list(best.widths)
                for _, unit, width in every:
                    neighbour[unit] = width
                found.add(tuple(neighbour))
    yield from _by_harm(choices, best, sorted(found))


def _by_harm(choices: Choices, best: Candidate, neighbours: Iterable[Assignment]) -> Iterator[Assignment]:
    """Yield those that cost less, the least noise first."""
    ranked = [(choices.total_harm(one), choices.cost.total(one), one) for one in neighbours]
    yield from (one for _, cost, one in sorted(ranked) if cost < best.cost)


def _with(widths: Assignment, unit: int, width: int) -> Assignment:
    return (*widths[:unit], width, *widths[unit + 1 :])
