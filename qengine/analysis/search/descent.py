"""A path of assignments from the longest words to the shortest, from the sensitivity of each unit alone.

The problem: n units with k word lengths each have k^n assignments, and measuring one is a run over all data. The idea:
predict, and measure only what is promising. The *sensitivity* of a unit at a word length is the noise, in parts of the
signal, that the output has when this unit alone is rounded. Noises of independent roundings add, so the noise of an
assignment is about the sum over its units; and its cost is known exactly. So each step can be ranked without a run:
what it saves, divided by the noise it adds.

`descent` takes the best such step again and again. For a cost that is a sum over units this is the greedy solution of a
knapsack: every assignment on the path has the least cost for its noise, up to the size of one step. Where on the path
the model is still good enough is measured afterwards, in `refine`.

An *assignment* is a tuple with a word length for each unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from qengine.analysis.search.cost import CostModel

Assignment = tuple[int, ...]
"""A word length for each unit."""


@dataclass(frozen=True)
class Choices:
    """The word lengths to choose from, and the prediction of noise and cost.

    Attributes
    ----------
    widths : word lengths of each unit, from the shortest.
    sensitivity : noise over signal at the output that each unit alone brings, by word length; empty for a unit that
        costs nothing.
    cost : cost of an assignment.
    """

    widths: Sequence[tuple[int, ...]]
    sensitivity: Sequence[dict[int, float]]
    cost: CostModel

    @property
    def longest(self) -> Assignment:
        """The assignment of the longest words."""
        return tuple(widths[-1] for widths in self.widths)

    def uniform(self, bits: int) -> Assignment | None:
        """Return the assignment with one word length for all units that cost anything; None if a unit cannot have it.

        A unit without a choice, or without a cost, has its longest word.
        """
        free = [u for u in self.cost.units if len(self.widths[u]) > 1]
        if not free or any(bits not in self.widths[u] for u in free):
            return None
        return tuple(bits if u in free else widths[-1] for u, widths in enumerate(self.widths))

    def noise(self, assignment: Sequence[int]) -> float:
        """Return the predicted noise of an assignment: the sum of the sensitivities."""
        return sum(known[width] for known, width in zip(self.sensitivity, assignment, strict=True) if known)

    def added_noise(self, assignment: Sequence[int], unit: int, width: int) -> float:
        """Return the noise that another word length of one unit adds."""
        known = self.sensitivity[unit]
        return known[width] - known[assignment[unit]] if known else 0.0

    def lower(self, assignment: Sequence[int], unit: int) -> int | None:
        """Return the next shorter word length of a unit; None for the shortest."""
        shorter = [width for width in self.widths[unit] if width < assignment[unit]]
        return shorter[-1] if shorter else None

    def higher(self, assignment: Sequence[int], unit: int) -> int | None:
        """Return the next longer word length of a unit; None for the longest."""
        return next((width for width in self.widths[unit] if width > assignment[unit]), None)


def monotone(sensitivity: dict[int, float]) -> dict[int, float]:
    """Return sensitivities that never grow with the word length: where a shorter word seems better, that is chance."""
    smooth = dict(sensitivity)
    for longer, shorter in pairwise(sorted(sensitivity, reverse=True)):
        smooth[shorter] = max(smooth[shorter], smooth[longer])
    return smooth


def descent(choices: Choices) -> Iterator[Assignment]:
    """Yield the path of assignments, from the longest words to the shortest.

    Each step shortens one unit by one or several word lengths: the step of the largest saving for the noise it adds.
    """
    current = list(choices.longest)
    yield tuple(current)
    while (step := _best_step(choices, current)) is not None:
        unit, width = step
        current[unit] = width
        yield tuple(current)


def _best_step(choices: Choices, current: Sequence[int]) -> tuple[int, int] | None:
    best: tuple[int, int] | None = None
    most = (-inf, -inf)
    for unit in sorted(choices.cost.units):
        for width in choices.widths[unit]:
            if width >= current[unit]:
                break
            saving = choices.cost.saving(current, unit, width)
            added = choices.added_noise(current, unit, width)
            if saving <= 0:
                continue
            rank = (saving / added if added > 0 else inf, saving)
            if rank > most:
                best, most = (unit, width), rank
    return best
