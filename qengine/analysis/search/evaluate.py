"""A model in an assignment of word lengths, run on all data: the figure that counts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qengine.analysis.search.cost import CostModel
from qengine.analysis.search.descent import Assignment
from qengine.analysis.search.metric import Drop, Metric
from qengine.analysis.search.result import Candidate
from qengine.analysis.search.units import Given, Unit, assigned
from qengine.analysis.sweep.measure import Meter, Outputs, Task
from qengine.data.datasets import Batch
from qengine.data.datasets.runs import Runs
from qengine.data.images import PixelScale
from qengine.errors import OptionError, QEngineError
from qengine.model.graph import Graph
from qengine.runtime.session import InferenceSession


class SpentError(Exception):
    """As many runs were made as are allowed, or as much time has passed."""


class Judge:
    """Runs a model on data, in float32 or with formats, and says how good it is.

    Parameters
    ----------
    graph
        The model.
    runs
        The data.
    exact
        What float32 gives, run by run; can be iterated again.
    task, judged
        As of `qengine.analysis.sweep.measure.task_of`.
    pixel_scale
        How pixels and numbers go together.
    metric
        The figure.
    options
        What `InferenceSession` is told beside the formats.
    """

    def __init__(
        self,
        graph: Graph,
        runs: Runs,
        exact: Iterable[Outputs],
        task: Task,
        judged: str,
        pixel_scale: PixelScale,
        metric: Metric,
        **options: Any,
    ) -> None:
        self._graph, self._runs, self._exact, self._options = graph, runs, exact, options
        self._task, self._judged, self._pixel_scale, self._metric = task, judged, pixel_scale, metric

    def of_float32(self) -> float | None:
        """Return the figure of float32 itself."""
        return self._figure(lambda _, exact: exact[self._judged])

    def of(self, formats: Mapping[str, Given]) -> float | None:
        """Return the figure in formats; None where it is no number."""
        session = InferenceSession(self._graph, formats=formats, **self._options)
        return self._figure(lambda batch, _: session.run([self._judged], batch.feeds)[0])

    def _figure(self, answer: Callable[[Batch, Outputs], Any]) -> float | None:
        meter = Meter(self._task, self._judged, self._pixel_scale, ssim=False)
        name = self._judged
        with np.errstate(all="ignore"):
            for batch, exact in zip(self._runs, self._exact, strict=True):
                meter.add(batch, {}, {name: answer(batch, exact)}, {name: exact[name]})
        found = self._metric.of(meter.measures())
        return None if found is None or math.isnan(found) else found


@dataclass(frozen=True)
class Goal:
    """What is good enough on some data.

    Attributes
    ----------
    judge : measures there.
    reference : the figure of float32 or, where that is infinite, of the longest words.
    reference_of : which of the two.
    least : the figure that is good enough.
    """

    judge: Judge
    reference: float
    reference_of: str
    least: float


def goal_of(judge: Judge, longest: Mapping[str, Given], metric: Metric, drop: Drop, least: float | None) -> Goal:
    """Return what is good enough: a figure, or so much less than the reference.

    Raises
    ------
    OptionError
        If the reference is no number.
    """
    of, reference = "float32", judge.of_float32()
    if reference is None or not math.isfinite(reference):
        of, reference = "the longest words", judge.of(longest)
    if reference is None:
        raise OptionError(f"{metric} is no number in the longest words, so that nothing can be below it")
    return Goal(judge, reference, of, drop.below(reference, metric) if least is None else least)


class Evaluator:
    """Measures assignments, each once, until runs or time are spent.

    Parameters
    ----------
    judge
        Runs the model.
    units, cost
        What the assignments are of, and what they cost.
    max_runs
        So many assignments are measured at most.
    seconds
        After so much time no other is measured; None for no limit.
    advance
        Told of each.
    """

    def __init__(
        self,
        judge: Judge,
        units: Sequence[Unit],
        cost: CostModel,
        max_runs: int,
        seconds: float | None,
        advance: Callable[[float], None],
    ) -> None:
        self._judge, self._units, self._cost = judge, units, cost
        self._left, self._advance = max_runs, advance
        self._until = math.inf if seconds is None else time.monotonic() + seconds
        self.measured: dict[Assignment, Candidate] = {}

    def __call__(self, assignment: Assignment) -> Candidate:
        """Return an assignment with its figure.

        Raises
        ------
        SpentError
            If it is not known, and nothing more may be measured; the first always is.
        """
        known = self.measured.get(assignment)
        if known is not None:
            return known
        if self.measured and (not self._left or time.monotonic() >= self._until):
            raise SpentError
        try:
            value = self._judge.of(assigned(self._units, assignment))
        except QEngineError as error:
            names = ", ".join(f"{unit.name} {width}" for unit, width in zip(self._units, assignment, strict=True))
            raise error.about(f"in the word lengths {names}") from None
        found = Candidate(assignment, self._cost.total(assignment), value)
        self.measured[assignment] = found
        self._left -= 1
        self._advance(1)
        return found
