"""Measurement of assignments: the model runs on all data in their formats, and a metric is computed.

Sensitivities only predict; the figure of a result is measured. A run over all data is what a search spends its time on.
So an assignment is measured once and remembered (`Evaluator.measured`), and the number of runs and the time are a
budget: when it is exhausted, `BudgetExhausted` ends the search wherever it is, and the best assignment so far is the
result.

`ModelEvaluator` computes the figure of a model in some formats; `goal_on` turns the allowed drop into a figure that is
good enough; `Evaluator` is the memory and the budget around them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from qengine.analysis.search.cost import CostModel
from qengine.analysis.search.descent import Assignment
from qengine.analysis.search.result import Candidate, Goal
from qengine.analysis.search.units import FormatText, Unit, formats_of
from qengine.data.datasets import Batch
from qengine.data.datasets.runs import Runs
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError, QEngineError
from qengine.metrics.declaration import EvaluatedBatch, Metric
from qengine.metrics.drop import Drop
from qengine.metrics.tasks import Outputs
from qengine.model.graph import Graph
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession


class BudgetExhausted(Exception):  # noqa: N818 - no error: it ends a search as planned
    """The allowed number of runs was made, or the allowed time has passed."""


@dataclass(frozen=True)
class ModelEvaluator:
    """Computation of a metric of a model on data, in float32 or in formats.

    Attributes
    ----------
    graph : the model.
    runs : the data.
    exact : outputs in float32, run by run; can be iterated again.
    output : name of the evaluated output.
    preprocessing : scale between pixels and numbers.
    metric : metric to compute.
    options : options of every session, without formats.
    """

    graph: Graph
    runs: Runs
    exact: Iterable[Outputs]
    output: str
    preprocessing: Preprocessing
    metric: Metric
    options: SessionOptions

    @cached_property
    def _float32(self) -> InferenceSession:
        """The session that those in formats share the model and the passes with."""
        return InferenceSession(self.graph, self.options.in_float32())

    def in_float32(self) -> float | None:
        """Return the figure of float32."""
        return self._figure(lambda _, exact: exact[self.output])

    def in_formats(self, formats: Mapping[str, FormatText], until: float = math.inf) -> float | None:
        """Return the figure in formats by tensor; None where there is no number.

        Raises
        ------
        BudgetExhausted
            If the time `until` of `time.monotonic` comes before the end.
        """
        session = self._float32.with_options(replace(self.options, formats=formats))
        return self._figure(lambda batch, _: session.run([self.output], batch.feeds)[0], until)

    def _figure(self, output_of: Callable[[Batch, Outputs], Any], until: float = math.inf) -> float | None:
        accumulator, name = self.metric.accumulator(), self.output
        with np.errstate(all="ignore"):
            for batch, exact in zip(self.runs, self.exact, strict=True):
                if time.monotonic() >= until:
                    raise BudgetExhausted
                real = output_of(batch, exact)
                target = batch.targets.get(name)
                accumulator.add(EvaluatedBatch(real, exact[name], batch.labels, target, self.preprocessing))
        value = accumulator.value()
        return None if value is None or math.isnan(value) else value


class FiguresOfModel(Protocol):
    """The figures of a model, computed or remembered."""

    @property
    def metric(self) -> Metric:
        """The metric of the figures."""

    def in_float32(self) -> float | None:
        """Return the figure of float32."""

    def in_formats(self, formats: Mapping[str, FormatText]) -> float | None:
        """Return the figure in formats by tensor; None where there is no number."""


def goal_on(model: FiguresOfModel, longest: Mapping[str, FormatText], drop: Drop, least: float | None) -> Goal:
    """Return the figure that is good enough: `least`, or the figure of the reference less the drop.

    The reference is float32 or, where its figure is infinite, the longest words.

    Raises
    ------
    OptionError
        If the reference has no figure.
    """
    name, reference = "float32", model.in_float32()
    if reference is None or not math.isfinite(reference):
        name, reference = "the longest words", model.in_formats(longest)
    if reference is None:
        raise OptionError(f"{model.metric} has no value in the longest words, and no drop below it can be allowed")
    limit = drop.limit(reference, model.metric) if least is None else least
    return Goal(model.metric, reference, name, limit)


class Evaluator:
    """Measured assignments, each measured once, until the budget of runs or time is exhausted.

    Parameters
    ----------
    model
        Computation of the figure.
    units, cost
        Units of the assignments, and the cost of an assignment.
    max_runs
        Number of assignments that are measured at most.
    seconds
        Time after which no other is measured; None for no limit.
    advance
        Function that is called after each.
    is_known
        Function that tells whether the figure in formats needs no run: then no time has to be left for it.
    """

    def __init__(
        self,
        model: FiguresOfModel,
        units: Sequence[Unit],
        cost: CostModel,
        max_runs: int,
        seconds: float | None,
        advance: Callable[[float], None],
        is_known: Callable[[Mapping[str, FormatText]], bool] = lambda _: False,
    ) -> None:
        self._is_known = is_known
        self._model, self._units, self._cost = model, units, cost
        self._left, self._advance = max_runs, advance
        self._until = math.inf if seconds is None else time.monotonic() + seconds
        self.measured: dict[Assignment, Candidate] = {}

    def __call__(self, assignment: Assignment) -> Candidate:
        """Return an assignment with its cost and its figure.

        Raises
        ------
        BudgetExhausted
            If it was not measured before, and the budget is exhausted. The first assignment is always measured.
        """
        known = self.measured.get(assignment)
        if known is not None:
            return known
        formats = formats_of(self._units, assignment)
        is_late = time.monotonic() >= self._until and not self._is_known(formats)
        if self.measured and (not self._left or is_late):
            raise BudgetExhausted
        try:
            value = self._model.in_formats(formats)
        except QEngineError as error:
            names = ", ".join(f"{unit.name} {width}" for unit, width in zip(self._units, assignment, strict=True))
            raise error.about(f"in the word lengths {names}") from None
        candidate = Candidate(assignment, self._cost.total(assignment), value)
        self.measured[assignment] = candidate
        self._left -= 1
        self._advance(1)
        return candidate
