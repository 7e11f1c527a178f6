"""A search from beginning to end."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from qengine.analysis.inspection.costs import Workload, find_cost
from qengine.analysis.search.cost import cost_model
from qengine.analysis.search.descent import Choices, descent
from qengine.analysis.search.evaluate import BudgetExhausted, Evaluator, ModelEvaluator, goal_on
from qengine.analysis.search.memory import MemorizedModel, Memory, context_of, seconds_left
from qengine.analysis.search.options import SearchKeywords, SearchOptions, check_session_options, default_widths
from qengine.analysis.search.refine import bisect_path, refine
from qengine.analysis.search.result import Candidate, Goal, HeldOut, SearchResult, UnitInfo, cheapest, front_of
from qengine.analysis.search.sensitivity import measure_sensitivity
from qengine.analysis.search.split import split
from qengine.analysis.search.units import ACTIVATION, CONSTANT, Units, formats_of, units_of
from qengine.analysis.sweep.shared_results import Float32Outputs, ensure_float32
from qengine.data.datasets import Dataset, graph_of, in_fast_batches, open_dataset, provenance_of
from qengine.data.datasets.runs import Runs, feeds_of
from qengine.data.scale_check import notes_on_runs
from qengine.errors import OptionError, UnsupportedError
from qengine.keywords import check_keywords, options_with
from qengine.metrics.declaration import find_metric
from qengine.metrics.drop import Drop
from qengine.metrics.tasks import check_labels, task_of
from qengine.model.constant_roles import constant_roles
from qengine.model.graph import Graph
from qengine.model.ops.operator import NeedsRun
from qengine.progress import Progress, working
from qengine.quantization.calibration import CalibrationOptions, observe
from qengine.quantization.calibration.options import listed_bits
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession
from qengine.targets import Target

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

_MAX_FRONT_RUNS = 8  # assignments of the path that are measured for the front


def search(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    data: Any,
    options: SearchOptions | None = None,
    *,
    session: SessionOptions | None = None,
    calibration: CalibrationOptions | None = None,
    progress: Progress | None = None,
    **keywords: Unpack[SearchKeywords],
) -> SearchResult:
    """Return formats of the fewest bits in which a model is still good enough on data.

    Every tensor may have a word length of its own; tensors that share a format have one together. The sensitivity of
    the output to each at each word length is measured alone. From the longest words the search follows the assignments
    that save most for the noise that they add, measures the model itself, and then tries single tensors shorter and
    longer. The same call returns the same result, unless `seconds` end it.

    Parameters
    ----------
    model
        See `InferenceSession`.
    data
        The data, as `qengine.open_dataset` takes it.
    options
        Goal, choices, budget, and how the data is read; None for the defaults.
    session
        Options of every session: rounding, overflow, accumulator_bits, strict, isa, threads and the limits.
    calibration
        Options by which the formats of a word length are chosen; their word lengths are ignored.
    progress
        Function that is called with the progress.
    keywords
        Single fields of `SearchOptions` and `SessionOptions`, such as ``max_drop="1%"``; they replace those of
        `options` and `session`.

    Returns
    -------
    SearchResult
        The formats, the word length of each tensor, and the front of what was measured.

    Raises
    ------
    OptionError
        If an option has no meaning, or even the longest words are not good enough.
    QEngineError
        If the model, or a run of it, fails.

    Examples
    --------
    >>> import qengine
    >>> digits = qengine.zoo.path_of("digits")
    >>> result = qengine.search(digits, "digits", limit=100, metric="agreement", max_drop=2, activation_bits=[8])
    >>> result.best.value >= 0.98, result.best.cost < result.uniform[5].cost
    (True, True)
    >>> session = qengine.InferenceSession(digits, formats=result.formats)
    """
    check_keywords("search", keywords, SearchKeywords)
    settings = options_with(SearchOptions, options, keywords)
    session = options_with(SessionOptions, session, keywords)
    check_session_options(session)
    graph = graph_of(model)
    dataset = open_dataset(
        data,
        graph,
        labels=settings.labels,
        preprocessing=None if isinstance(data, Dataset) else settings.preprocessing,
        batch=settings.batch,
        limit=settings.limit,
        max_elements=session.max_elements,
    )
    if not isinstance(data, Dataset):
        dataset = in_fast_batches(dataset, graph, settings.batch)
    with tempfile.TemporaryDirectory(prefix="qengine-") as folder:
        job = _SearchRun(
            graph, dataset, settings, session, _OutputFolder(graph, session, Path(folder), progress or working)
        )
        with job.memory:
            try:
                choices = job.choices(calibration or CalibrationOptions())
            except NeedsRun as reason:
                raise UnsupportedError(
                    f"the data decides how this model runs ({reason}), and no tensor can be rounded alone; "
                    "choose word lengths for all at once instead (qengine sweep MODEL -o results)"
                ) from None
            found = job.search(choices)
    notes, _ = notes_on_runs(graph, dataset, session)
    return replace(found, notes=(*notes, *found.notes))


@dataclass(frozen=True)
class _OutputFolder:
    """Temporary folder of the outputs in float32.

    Attributes
    ----------
    graph, options : the model, and the options of its sessions.
    path : path of the folder.
    progress : function that is called with the progress.
    """

    graph: Graph
    options: SessionOptions
    path: Path
    progress: Progress

    def outputs(self, name: str, runs: Runs) -> Float32Outputs:
        """Run a model in float32 on data, and return its outputs."""
        reference = InferenceSession(self.graph, self.options.in_float32()).in_float32()
        with self.progress(name, runs.samples) as advance, np.errstate(all="ignore"):
            return ensure_float32(self.path, name, reference, runs, advance)


class _SearchRun:
    """A call of `search`: its model and data, and the steps that it takes."""

    def __init__(
        self, graph: Graph, dataset: Dataset, settings: SearchOptions, options: SessionOptions, folder: _OutputFolder
    ) -> None:
        self._until = inf if settings.seconds is None else time.monotonic() + settings.seconds
        self._graph, self._settings, self._options, self._folder = graph, settings, options, folder
        self._progress = folder.progress
        self._cost = find_cost(settings.cost)
        self._scale = settings.preprocessing or dataset.preprocessing
        self._provenance = provenance_of(graph.name, dataset)
        self._runs, self._held_out = Runs(dataset.batches, len(dataset)), None
        if settings.hold_out is not None:
            self._runs, self._held_out = split(dataset, graph, settings.hold_out)
        self._exact = folder.outputs("float32", self._runs)
        first, has_labels = next(iter(self._exact)), dataset.labels is not None
        task, self._output = task_of(
            first, has_labels=has_labels, targets=self._runs.first.targets, preprocessing=self._scale
        )
        if first[self._output].dtype.kind != "f":
            raise UnsupportedError(
                f"output '{self._output}' holds no real numbers, in which the noise of a tensor could be measured: "
                "give the model without the operators that make whole numbers of them, or choose among formats by "
                "qengine sweep"
            )
        self._others = [name for name, array in first.items() if name != self._output and array.dtype.kind == "f"]
        check_labels(task, self._output, first, dataset.labels)
        self._metric = find_metric(settings.metric, task, has_labels=has_labels)
        if self._metric.check is not None:
            self._metric.check()
        allowed = self._metric.default_drop if settings.max_drop is None else settings.max_drop
        self._drop = Drop.parse(allowed, self._metric)
        self._units, self._calibration = Units(), CalibrationOptions()
        path, context = None, ""
        if settings.keep is not None:
            path = Path(settings.keep)
            context = context_of(graph, dataset, settings, options, self._metric, self._output)
        self.memory = Memory(path, context)

    def choices(self, calibration: CalibrationOptions) -> Choices:
        """Return the word lengths to choose from, with the sensitivity and the cost of each.

        Raises
        ------
        NeedsRun
            If the data decides how a run continues.
        """
        settings, options, runs = self._settings, self._options, self._runs
        calibration = calibration.for_runs(options)
        with self._progress("calibrating|samples", runs.samples) as advance, np.errstate(all="ignore"):
            observation = observe(self._graph, feeds_of(runs, advance), calibration.for_observing(options))
        self._calibration = calibration
        constraints = calibration.constraints
        weight_bits = settings.bits if settings.weight_bits is None else settings.weight_bits
        activation_bits = settings.bits if settings.activation_bits is None else settings.activation_bits
        self._units = units = units_of(
            observation,
            calibration,
            default_widths(constraints.weight_bits) if weight_bits is None else weight_bits,
            default_widths(constraints.activation_bits) if activation_bits is None else activation_bits,
            options,
        )
        unit_of = {name: u for u, unit in enumerate(units) for name in unit.tensors}
        session = InferenceSession(self._graph, options, formats=self._longest(), isa="reference")
        samples = min(settings.sensitivity_samples, runs.samples)
        cost = cost_model(self._cost, Workload(session, runs.first.feeds, runs.first.count), unit_of)
        with self._progress("measuring tensors|samples", samples) as advance:
            try:
                sensitivity = measure_sensitivity(
                    session, self._output, units, cost.units, runs, samples, advance, self.memory, self._until
                )
            except BudgetExhausted:  # only the longest words, and what was measured before, are left
                sensitivity = [{} for _ in units]
        return Choices([unit.widths for unit in units], sensitivity, cost)

    def _longest(self) -> dict[str, str | list[str]]:
        return formats_of(self._units, [unit.widths[-1] for unit in self._units])

    def _model(self, runs: Runs, exact: Float32Outputs, part: str) -> MemorizedModel:
        model = ModelEvaluator(self._graph, runs, exact, self._output, self._scale, self._metric, self._options)
        return MemorizedModel(model, self.memory, part)

    def _goal(self, model: MemorizedModel) -> Goal:
        return goal_on(model, self._longest(), self._drop, self._settings.least)

    def search(self, choices: Choices) -> SearchResult:
        """Return the cheapest good assignment among the choices."""
        settings = self._settings
        model = self._model(self._runs, self._exact, "searched")
        goal = self._goal(model)
        held_out = None
        if self._held_out is not None:
            other = self._model(self._held_out, self._folder.outputs("held out", self._held_out), "held out")
            held_out = other, self._goal(other)
        with self._progress("searching|assignments", settings.max_runs) as advance:
            evaluate = Evaluator(
                *(model, self._units, choices.cost, settings.max_runs, seconds_left(self._until), advance, model.knows)
            )
            start = evaluate(choices.longest)
            model.until = self._until
            if not goal.is_met(start.value):
                raise OptionError(_too_much(goal, start))
            best, is_complete = best_assignment(choices, evaluate, goal)
        checked = None
        if held_out is not None and self._held_out is not None:
            other, other_goal = held_out
            value = other.in_formats(formats_of(self._units, best.widths))
            checked = HeldOut(
                self._held_out.samples, other_goal.reference, other_goal.least, value, other_goal.is_met(value)
            )
        roles = constant_roles(self._graph)
        units = tuple(
            UnitInfo(
                *(unit.name, unit.kind, unit.tensors, width, unit.spelled(width), dict(each), roles.get(unit.name))
            )
            for unit, width, each in zip(self._units, best.widths, choices.sensitivity, strict=True)
        )
        return SearchResult(
            formats=formats_of(self._units, best.widths),
            best=best,
            units=units,
            goal=goal,
            cost=self._cost,
            uniform=_uniform(choices, evaluate),
            front=front_of(evaluate.measured.values(), self._metric),
            runs=len(evaluate.measured),
            is_complete=is_complete,
            evaluated_output=self._output,
            held_out=checked,
            notes=tuple(self._notes(choices, is_complete, checked)),
            provenance=self._provenance,
        )

    def _notes(self, choices: Choices, is_complete: bool, checked: HeldOut | None) -> list[str]:
        free = [unit for u, unit in enumerate(self._units) if u not in choices.cost.units and len(unit.widths) > 1]
        notes = list(self._target_notes())
        if self._others:
            listed = ", ".join(f"'{name}'" for name in self._others)
            notes.append(
                f"only output '{self._output}' is measured, and the others ({listed}) may lose more: see them with "
                "qengine run --data and these formats"
            )
        if free:
            tensors, have = ("1 tensor adds", "has") if len(free) == 1 else (f"{len(free)} tensors add", "have")
            notes.append(f"{tensors} nothing to {self._cost.label}, and {have} the longest word")
        if not is_complete:
            notes.append(
                "the budget of runs or time was exhausted before the search ended: there may be better formats"
            )
        if checked is not None and not checked.is_good:
            notes.append(
                "not good enough on the samples that were held out: allow a smaller drop, or search on more data"
            )
        return notes

    def _target_notes(self) -> Iterator[str]:
        """Yield a note on word lengths that are given and that the target does not have."""
        target, constraints = self._calibration.target, self._calibration.constraints
        for kind, allowed in ((CONSTANT, constraints.weight_bits), (ACTIVATION, constraints.activation_bits)):
            given = {width for unit in self._units if unit.kind == kind for width in unit.widths}
            if isinstance(target, Target) and allowed is not None and (others := sorted(given - set(allowed))):
                words = ", ".join(map(str, others))
                yield f"{kind}s were tried with {words} bits, as given; target {target.name} has {listed_bits(allowed)}"


def best_assignment(choices: Choices, evaluate: Evaluator, goal: Goal) -> tuple[Candidate, bool]:
    """Return the cheapest good assignment, and whether the search for it ended before the budget was exhausted.

    The longest words were measured, and are good.
    """

    def best() -> Candidate:
        candidate = cheapest(list(evaluate.measured.values()), goal)
        assert candidate is not None
        return candidate

    try:
        for bits in sorted({width for widths in choices.widths for width in widths}, reverse=True):
            if (assignment := choices.uniform(bits)) is not None:
                evaluate(assignment)
        path = list(descent(choices))
        bisect_path(path, evaluate, goal)
        refine(choices, best(), evaluate, goal)
        current = best()
        for place in np.linspace(0, len(path) - 1, _MAX_FRONT_RUNS).round().astype(int):
            evaluate(path[place])
        # An assignment that was measured for the front may be cheaper still.
        while (other := best()) is not current:
            current = other
            refine(choices, current, evaluate, goal)
    except BudgetExhausted:
        return best(), False
    return current, True


def _uniform(choices: Choices, evaluate: Evaluator) -> dict[int, Candidate]:
    """Return the measured assignments with one word length for all, by the word length."""
    widths: Sequence[int] = sorted({width for each in choices.widths for width in each})
    return {bits: evaluate.measured[a] for bits in widths if (a := choices.uniform(bits)) in evaluate.measured}


def _too_much(goal: Goal, start: Candidate) -> str:
    reached = "no number" if start.value is None else f"{start.value:.4g}"
    needed = f"{goal.least:.4g} is required: allow a larger drop"
    return f"even with the longest words {goal.metric} is {reached}, and {needed}"
