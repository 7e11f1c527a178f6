"""What a search found."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from qengine.analysis.search.cost import Cost
from qengine.analysis.search.metric import Metric
from qengine.analysis.sweep.front import pareto
from qengine.model.formats.files import write_formats

_ROUNDING = 1e-9  # 0.07 - 0.01 is more than 0.06


def is_enough(value: float | None, least: float) -> bool:
    """Whether a figure is as large as is asked for; None is no number."""
    return value is not None and value >= least - _ROUNDING


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
        return is_enough(self.value, least)


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
class HeldOut:
    """What was found, on samples that were not searched on.

    Attributes
    ----------
    samples : how many.
    reference, least : as of `Found`, on them.
    value : of the metric, in the formats that were found; None where it is no number.
    """

    samples: int
    reference: float
    least: float
    value: float | None

    @property
    def is_good(self) -> bool:
        """Whether the figure is large enough there too."""
        return is_enough(self.value, self.least)


@dataclass(frozen=True)
class Found:
    """What `search` found.

    Attributes
    ----------
    formats : of the best assignment: what `InferenceSession(formats=...)` takes.
    best : it has the least cost of all that are good enough.
    units : what was chosen for.
    metric, cost : what was asked for.
    reference : the figure of float32 or, where that is infinite, of the longest words: which one, `reference_of` tells.
    least : the figure that is good enough.
    uniform : the assignments with one word length for all that cost anything, by that.
    front : of all that were measured those that nothing beats in both cost and figure, the cheapest first.
    runs : how many assignments were measured.
    is_complete : whether the search ended by itself; otherwise runs or time were spent.
    judged : the output by which the model is judged.
    held_out : the figure on samples that were not searched on; None where none were held out.
    notes : what there is to know, one line each.
    """

    formats: dict[str, str | list[str]]
    best: Candidate
    units: tuple[UnitInfo, ...]
    metric: Metric
    cost: Cost
    reference: float
    reference_of: str
    least: float
    uniform: Mapping[int, Candidate]
    front: tuple[Candidate, ...]
    runs: int
    is_complete: bool
    judged: str
    held_out: HeldOut | None
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
    known = list(candidates)
    points = [(one.cost, -inf if one.value is None else one.value) for one in known]
    return tuple(known[i] for i in pareto(points))


def cheapest(candidates: Sequence[Candidate], least: float) -> Candidate | None:
    """Return the good one of the least cost, of those the one of the best figure."""
    good = [one for one in candidates if one.is_good(least)]
    return min(good, key=lambda one: (one.cost, -(one.value or 0.0)), default=None)
