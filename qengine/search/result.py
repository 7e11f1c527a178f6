"""What a search found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from qengine.formats import write_formats
from qengine.search.cost import Cost
from qengine.search.metric import Metric

_ROUNDING = 1e-9  # 0.07 - 0.01 is more than 0.06


@dataclass(frozen=True)
class Candidate:
    """Word lengths, what they cost, and how good the model is in them.

    Attributes
    ----------
    widths : of each unit, in the order of `Found.units`.
    cost : see `Cost`.
    value : of the metric, on all data; None where it is no number.
    """

    widths: tuple[int, ...]
    cost: float
    value: float | None

    def is_good(self, least: float) -> bool:
        """Whether the figure is large enough."""
        return self.value is not None and self.value >= least - _ROUNDING


@dataclass(frozen=True)
class UnitInfo:
    """Tensors that have one format, and so one word length.

    Attributes
    ----------
    name : of the tensor among them that a run computes first.
    kind : "weights", which any constant is, or "activations", inputs among them.
    tensors : all of them.
    bits : the word length that was found.
    format : and the format of it, as text.
    harm : by word length, the noise over signal that the unit alone brings to the output; nothing where it costs
        nothing, and so has its longest word.
    """

    name: str
    kind: str
    tensors: tuple[str, ...]
    bits: int
    format: str
    harm: Mapping[int, float]


@dataclass(frozen=True)
class Found:
    """What `search` found.

    Attributes
    ----------
    formats : of the best assignment: what `InferenceSession(formats=...)` takes.
    best : it has the least cost of all that are good enough.
    units : what was chosen for.
    metric, cost : what was asked for.
    reference : the figure of float32 or, where that is infinite, of the longest words.
    least : the figure that is good enough.
    uniform : the assignments with one word length for all that cost anything, by that.
    front : of all that were measured those that nothing beats in both cost and figure, the cheapest first.
    runs : how many assignments were measured.
    is_complete : whether the search ended by itself; otherwise runs or time were spent.
    judged : the output by which the model is judged.
    notes : what there is to know, one line each.
    """

    formats: dict[str, str | list[str]]
    best: Candidate
    units: tuple[UnitInfo, ...]
    metric: Metric
    cost: Cost
    reference: float
    least: float
    uniform: Mapping[int, Candidate]
    front: tuple[Candidate, ...]
    runs: int
    is_complete: bool
    judged: str
    notes: tuple[str, ...]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a formats file, whole or not at all.

        Raises
        ------
        OptionError
            If it cannot be written.
        """
        write_formats(path, self.formats)


def front_of(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return those that no other beats in cost and figure, the cheapest first; of equal ones the first."""
    found: list[Candidate] = []
    best = -inf
    for one in sorted(candidates, key=lambda one: (one.cost, -inf if one.value is None else -one.value)):
        if one.value is not None and one.value > best:
            found.append(one)
            best = one.value
    return tuple(found)


def cheapest(candidates: Sequence[Candidate], least: float) -> Candidate | None:
    """Return the good one of the least cost, of those the one of the best figure."""
    good = [one for one in candidates if one.is_good(least)]
    return min(good, key=lambda one: (one.cost, -(one.value or 0.0)), default=None)
