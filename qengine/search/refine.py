"""Better assignments beside a good one: measured, one tensor shorter, or one longer and another shorter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qengine.search.descent import Assignment, Choices
from qengine.search.evaluate import Evaluator
from qengine.search.result import Candidate


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


_AHEAD = 4


def refine(choices: Choices, start: Candidate, evaluate: Evaluator, least: float) -> Candidate:
    """Return a good assignment beside which there is no better one.

    No unit of it can have the next shorter word; and no unit the next shorter while another has the next longer, and
    the cost falls: each such neighbour was measured, and is not good enough.
    """
    best = start
    while True:
        best = _shortened(choices, best, evaluate, least)
        better = next(
            (one for neighbour in _exchanges(choices, best) if (one := evaluate(neighbour)).is_good(least)), None
        )
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
    ranked = []
    for longer in sorted(choices.cost.units):
        width = choices.higher(best.widths, longer)
        if width is None:
            continue
        raised = _with(best.widths, longer, width)
        for shorter in sorted(choices.cost.units - {longer}):
            below = choices.lower(raised, shorter)
            if below is None:
                continue
            neighbour = _with(raised, shorter, below)
            cost = choices.cost.total(neighbour)
            if cost < best.cost:
                ranked.append((choices.total_harm(neighbour), cost, neighbour))
    for _, _, neighbour in sorted(ranked):
        yield neighbour


def _with(widths: Assignment, unit: int, width: int) -> Assignment:
    return (*widths[:unit], width, *widths[unit + 1 :])
