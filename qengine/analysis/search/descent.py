"""From the longest words to the shortest, by what is known of each unit alone."""

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
    """What there is to choose, and what is known of it.

    Attributes
    ----------
    widths : of each unit the word lengths that it may have, from the shortest.
    harm : of each unit, by word length, the noise over signal that it alone brings to the output.
    cost : of word lengths.
    """

    widths: Sequence[tuple[int, ...]]
    harm: Sequence[dict[int, float]]
    cost: CostModel

    @property
    def longest(self) -> Assignment:
        """The assignment of the longest words."""
        return tuple(widths[-1] for widths in self.widths)

    def uniform(self, bits: int) -> Assignment | None:
        """Return the assignment with one word length for all that cost anything; None where a unit cannot have it.

        What has no choice, or costs nothing, has its longest.
        """
        free = [u for u in self.cost.units if len(self.widths[u]) > 1]
        if not free or any(bits not in self.widths[u] for u in free):
            return None
        return tuple(bits if u in free else widths[-1] for u, widths in enumerate(self.widths))

    def total_harm(self, assignment: Sequence[int]) -> float:
        """Return the noise of all units together, if that of one does not depend on the others."""
        return sum(harm[width] for harm, width in zip(self.harm, assignment, strict=True) if harm)

    def extra_harm(self, assignment: Sequence[int], unit: int, width: int) -> float:
        """Return how much more noise another word length of one unit brings."""
        harm = self.harm[unit]
        return harm[width] - harm[assignment[unit]] if harm else 0.0

    def lower(self, assignment: Sequence[int], unit: int) -> int | None:
        """Return the next shorter word length of a unit."""
        shorter = [width for width in self.widths[unit] if width < assignment[unit]]
        return shorter[-1] if shorter else None

    def higher(self, assignment: Sequence[int], unit: int) -> int | None:
        """Return the next longer word length of a unit."""
        return next((width for width in self.widths[unit] if width > assignment[unit]), None)


def monotone(harm: dict[int, float]) -> dict[int, float]:
    """Return harms that a longer word never makes larger: what seems so is chance, and a shorter word not better."""
    widths = sorted(harm, reverse=True)
    found = dict(harm)
    for longer, shorter in pairwise(widths):
        found[shorter] = max(found[shorter], found[longer])
    return found


def descent(choices: Choices) -> Iterator[Assignment]:
    """Yield assignments from the longest words to the shortest, each of which saves most for the noise that it adds.

    Each step shortens one unit by one or several word lengths: the one of the largest saving for the noise. For costs
    that are sums over units these are the best assignments of their noise, up to the size of one step.
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
            extra = choices.extra_harm(current, unit, width)
            if saving <= 0:
                continue
            rank = (saving / extra if extra > 0 else inf, saving)
            if rank > most:
                best, most = (unit, width), rank
    return best
