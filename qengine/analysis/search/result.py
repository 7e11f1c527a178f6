"""The result of a search."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qengine.analysis.inspection.costs import Cost
from qengine.data.provenance import Provenance
from qengine.metrics.declaration import Metric
from qengine.metrics.drop import is_enough
from qengine.metrics.pareto import pareto
from qengine.metrics.thresholds import shown
from qengine.model.formats.files import write_formats
from qengine.results import Record, Result


@dataclass(frozen=True)
class Candidate:
    """An assignment of word lengths with its cost and its figure.

    Attributes
    ----------
    widths : word length of each unit, in the order of `SearchResult.units`.
    cost : sum of the terms of the cost, such as bits; see `qengine.analysis.inspection.costs`.
    value : figure of the metric on all data; None where there is no number.
    """

    widths: tuple[int, ...]
    cost: float
    value: float | None


@dataclass(frozen=True)
class Goal:
    """Figure that is good enough on some data.

    Attributes
    ----------
    metric : metric of the figures.
    reference : figure of float32 or, where that is infinite, of the longest words.
    reference_of : "float32" or "the longest words".
    least : figure that is good enough.
    """

    metric: Metric
    reference: float
    reference_of: str
    least: float

    def is_met(self, value: float | None) -> bool:
        """Whether a figure is good enough."""
        return is_enough(self.metric, value, self.least)


@dataclass(frozen=True)
class UnitInfo:
    """Tensors that share one format, and so one word length.

    Attributes
    ----------
    name : the tensor among them that a run computes first.
    kind : "constant", or "activation", inputs among them.
    tensors : names of all of them.
    bits : word length in the result.
    format : format in the result, as text.
    sensitivity : noise over signal that the unit alone brings to the output, by word length; empty for a unit that
        costs nothing, which has its longest word.
    role : role of a constant, such as "weights of /stem/Conv"; None for activations.
    """

    name: str
    kind: str
    tensors: tuple[str, ...]
    bits: int
    format: str
    sensitivity: Mapping[int, float]
    role: str | None = None


@dataclass(frozen=True)
class HeldOut:
    """Figure of the result on samples that the search did not see.

    Attributes
    ----------
    samples : number of samples.
    reference, least : see `SearchResult`, on these samples.
    value : figure of the metric in the formats of the result; None where there is no number.
    is_good : whether the figure is good enough here too.
    """

    samples: int
    reference: float
    least: float
    value: float | None
    is_good: bool


@dataclass(frozen=True, repr=False)
class SearchResult(Result):
    """Result of `search`.

    Attributes
    ----------
    formats : formats of the best assignment, as `InferenceSession(formats=...)` takes them.
    best : the cheapest assignment that is good enough.
    units : groups of tensors that got a word length each.
    goal : figure that is good enough, its metric and its reference.
    cost : cost that was minimized.
    uniform : assignments with one word length for all units that cost anything, by the word length.
    front : measured assignments that no other beats in both cost and figure, the cheapest first.
    runs : number of assignments that were measured.
    is_complete : whether the search ended by itself; otherwise the budget of runs or time was exhausted.
    evaluated_output : name of the output that the metric is about.
    held_out : figure on samples that the search did not see; None where none were held out.
    notes : further facts, one line each.
    provenance : the data, and how its pixels were read.
    """

    formats: dict[str, str | list[str]]
    best: Candidate
    units: tuple[UnitInfo, ...]
    goal: Goal
    cost: Cost
    uniform: Mapping[int, Candidate]
    front: tuple[Candidate, ...]
    runs: int
    is_complete: bool
    evaluated_output: str
    held_out: HeldOut | None
    notes: tuple[str, ...]
    provenance: Provenance | None = None

    @property
    def metric(self) -> Metric:
        """The metric of all figures."""
        return self.goal.metric

    @property
    def reference(self) -> float:
        """The figure of float32 or, where that is infinite, of the longest words."""
        return self.goal.reference

    @property
    def least(self) -> float:
        """The figure that is good enough."""
        return self.goal.least

    def is_good(self, candidate: Candidate) -> bool:
        """Whether an assignment is good enough."""
        return self.goal.is_met(candidate.value)

    @property
    def summary(self) -> str:
        """The result in one line."""
        figure = "no figure" if self.best.value is None else shown(self.metric, self.best.value)
        reference = f"{self.goal.reference_of}: {shown(self.metric, self.reference)}"
        return f"{self.cost.label} {self.best.cost / self.cost.scale:,.6g}, {self.metric} {figure} ({reference})"

    def records(self) -> list[Record]:
        """Return a row for each group of tensors with one format: its word length, format and sensitivity."""
        return [
            {**vars(one), "tensors": list(one.tensors), "sensitivity": one.sensitivity.get(one.bits)}
            for one in self.units
        ]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a formats file, whole or not at all, that says which data the formats come from.

        To a name that ends in .csv, the table of word lengths is written.

        Raises
        ------
        OptionError
            If it cannot be written.
        """
        if Path(path).suffix.lower() == ".csv":
            super().save(path)
            return
        write_formats(path, self.formats, self.provenance.record() if self.provenance else None)


def front_of(candidates: Iterable[Candidate], metric: Metric) -> tuple[Candidate, ...]:
    """Return the candidates that no other beats in cost and figure, the cheapest first; of equal ones the first."""
    known = list(candidates)
    return tuple(known[i] for i in pareto([(one.cost, metric.score(one.value)) for one in known]))


def cheapest(candidates: Sequence[Candidate], goal: Goal) -> Candidate | None:
    """Return the cheapest candidate that is good enough; of equal costs the one with the best figure."""
    good = [one for one in candidates if goal.is_met(one.value)]
    return min(good, key=lambda one: (one.cost, -goal.metric.score(one.value)), default=None)
