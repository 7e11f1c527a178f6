"""The measured part of a search: a bisection of the path of assignments, and a local search around the best one.

The path of `descent` is ordered by predicted noise, so the last good assignment on it is found by bisection
(`bisect_path`): about log2(n) runs over the data instead of n. Metrics such as top-1 are not monotone in noise, so the
next few assignments after the first bad one are measured too (*look-ahead*).

The predictions are inexact, so the best assignment on the path can be improved (`refine`). Its *neighbours* are tried
in the order of their promise: one unit shorter; one unit longer and another shorter (an *exchange*), where the cost
falls; then up to two longer and up to two shorter (a *double exchange*). The first neighbour that is good enough
becomes the new start, until none is left. Then no single step and no exchange of two steps makes the result cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, combinations, islice, product

from qengine.analysis.search.descent import Assignment, Choices
from qengine.analysis.search.result import Candidate, Goal

Evaluate = Callable[[Assignment], Candidate]
"""Function that measures an assignment."""

_LOOK_AHEAD = 4  # assignments after the last good one of a path
_MAX_EXCHANGED_UNITS = 8  # units that are tried to be longer, or shorter, two at a time
_DOUBLE_EXCHANGES = 40  # double exchanges tried for one assignment


def bisect_path(path: Sequence[Assignment], evaluate: Evaluate, goal: Goal) -> None:
    """Measure assignments of a path until the last good one and the first bad one are neighbours, and the next few.

    Parameters
    ----------
    path
        Assignments by growing noise, of which the first is good enough.
    evaluate
        Function that measures an assignment and remembers it.
    goal
        Figure that is good enough.
    """
    good, bad = 0, len(path)
    while bad - good > 1:
        middle = (good + bad) // 2
        if goal.is_met(evaluate(path[middle]).value):
            good = middle
        else:
            bad = middle
    for ahead in path[bad + 1 : bad + _LOOK_AHEAD]:
        evaluate(ahead)


def refine(choices: Choices, start: Candidate, evaluate: Evaluate, goal: Goal) -> Candidate:
    """Return a good assignment without a cheaper good neighbour.

    No unit of it can have the next shorter word; and no unit the next shorter while another has the next longer, where
    the cost falls: each such neighbour was measured, and is not good enough. Of the double exchanges the most promising
    were measured.
    """
    best = start
    while True:
        best = _shortened(choices, best, evaluate, goal)
        neighbours = chain(_exchanges(choices, best), islice(_double_exchanges(choices, best), _DOUBLE_EXCHANGES))
        better = _first_good(neighbours, evaluate, goal)
        if better is None:
            return best
        best = better


def _first_good(assignments: Iterable[Assignment], evaluate: Evaluate, goal: Goal) -> Candidate | None:
    return next((one for widths in assignments if goal.is_met((one := evaluate(widths)).value)), None)


def _shortened(choices: Choices, best: Candidate, evaluate: Evaluate, goal: Goal) -> Candidate:
    """Shorten one unit after the other as long as that is good enough, first the largest saving for its noise."""
    while True:
        better = _first_good(_shorter(choices, best.widths), evaluate, goal)
        if better is None:
            return best
        best = better


def _shorter(choices: Choices, widths: Assignment) -> list[Assignment]:
    """Return the cheaper neighbours in which one unit is shorter, the least noise for the saving first."""
    ranked = []
    for unit in sorted(choices.cost.units):
        width = choices.lower(widths, unit)
        if width is not None and (saving := choices.cost.saving(widths, unit, width)) > 0:
            ranked.append((max(choices.added_noise(widths, unit, width), 0.0) / saving, unit, width))
    return [_with(widths, unit, width) for _, unit, width in sorted(ranked)]


def _exchanges(choices: Choices, best: Candidate) -> Iterator[Assignment]:
    """Yield cheaper neighbours in which one unit is longer and another shorter, the least noise first."""
    neighbours = []
    for longer in sorted(choices.cost.units):
        width = choices.higher(best.widths, longer)
        if width is not None:
            raised = _with(best.widths, longer, width)
            lower = [(unit, choices.lower(raised, unit)) for unit in sorted(choices.cost.units - {longer})]
            neighbours += [_with(raised, unit, width) for unit, width in lower if width is not None]
    yield from _by_noise(choices, best, neighbours)


def _double_exchanges(choices: Choices, best: Candidate) -> Iterator[Assignment]:
    """Yield cheaper neighbours in which up to two units are longer and up to two shorter, the least noise first.

    They are made of the few units that are best to lengthen, and best to shorten, for the cost.
    """
    longer: list[tuple[float, int, int]] = []
    shorter: list[tuple[float, int, int]] = []
    for unit in sorted(choices.cost.units):
        for width, moves in ((choices.higher(best.widths, unit), longer), (choices.lower(best.widths, unit), shorter)):
            if width is not None:
                price = abs(choices.cost.saving(best.widths, unit, width))
                noise = abs(choices.added_noise(best.widths, unit, width))
                moves.append((noise / price if price else 0.0, unit, width))
    longer = sorted(longer, reverse=True)[:_MAX_EXCHANGED_UNITS]  # most noise removed for the cost
    shorter = sorted(shorter)[:_MAX_EXCHANGED_UNITS]  # least noise added for the saving
    neighbours = set()
    for up, down in product((0, 1, 2), (1, 2)):
        for ups, downs in product(combinations(longer, up), combinations(shorter, down)):
            chosen = (*ups, *downs)
            if len({unit for _, unit, _ in chosen}) == up + down:
                neighbour = list(best.widths)
                for _, unit, width in chosen:
                    neighbour[unit] = width
                neighbours.add(tuple(neighbour))
    yield from _by_noise(choices, best, sorted(neighbours))


def _by_noise(choices: Choices, best: Candidate, neighbours: Iterable[Assignment]) -> Iterator[Assignment]:
    """Yield the neighbours that cost less, the least noise first."""
    ranked = [(choices.noise(one), choices.cost.total(one), one) for one in neighbours]
    yield from (one for _, cost, one in sorted(ranked) if cost < best.cost)


def _with(widths: Assignment, unit: int, width: int) -> Assignment:
    return (*widths[:unit], width, *widths[unit + 1 :])
