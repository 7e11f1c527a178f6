"""Facts on accuracy: float32 and the formats of the report over all samples, targets, and a curve over word lengths.

The first two are an evaluation; targets and the curve are small sweeps that share one temporary folder, so that the
model is observed once and float32 runs once.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qengine.analysis.evaluation import Evaluation, evaluate
from qengine.analysis.inspection.costs import Workload, all_costs
from qengine.analysis.sweep import Grid, Row, Sweep, SweepOptions, sweep
from qengine.errors import QEngineError
from qengine.html_report.facts import AccuracyFacts, ConfusionFacts, MetricFacts, RunFacts
from qengine.html_report.gather.subject import Subject
from qengine.metrics.declaration import Metric, Reference, find_metric
from qengine.metrics.pareto import pareto
from qengine.runtime.session import InferenceSession
from qengine.targets import Target

COST = "weight_bytes"
"""Column of the cost of the Pareto front."""

_PRODUCTS, _QUICK_PRODUCTS = 1e13, 1e12
_FEW = (4, 6, 8, 16)
_MAX_CLASSES = 20  # of a table of classes


def evaluated(subject: Subject) -> Evaluation:
    """Return the figures of float32, and of the formats of the report, on all samples.

    Raises
    ------
    QEngineError
        If a run fails, or the data does not have the metric of the report.
    """
    options = subject.options
    return evaluate(
        subject.fixed or subject.float32,
        subject.dataset,
        metrics=(options.metric,) if options.metric else (),
        progress=subject.progress,
    )


def accuracy_facts(subject: Subject, evaluation: Evaluation) -> tuple[AccuracyFacts, tuple[str, ...]]:
    """Return the facts on accuracy of an evaluation, with targets and word lengths, and notes."""
    metric = _metric_of(subject, evaluation)
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="qengine-report-") as folder:
        runs = _Sweeps(subject, Path(folder))
        widths = runs.widths(notes)
        curve = runs.of(Grid(bits=widths), notes) if widths else None
        targets = runs.targets(notes)
    points = tuple(_run(f"{row.point.width} bits", "", row) for row in curve.rows[1:]) if curve else ()
    against = next((one.reference for one in evaluation.metrics if one.metric.reference is Reference.TARGET), None)
    facts = AccuracyFacts(
        task=str(evaluation.task),
        output=evaluation.evaluated_output,
        samples=evaluation.samples,
        against=None if against is None else str(against),
        metric=_metric(metric),
        metrics=tuple(_metric(one.metric) for one in evaluation.metrics),
        float32=_own("float32", "", evaluation.float32, evaluation, subject.float32, subject),
        fixed=None
        if subject.fixed is None
        else _own("fixed point", subject.origin, evaluation.fixed, evaluation, subject.fixed, subject),
        targets=targets,
        curve=points,
        front=_front(points, metric),
        confusion=_confusion(evaluation),
    )
    return facts, tuple(dict.fromkeys(notes))


def _confusion(evaluation: Evaluation) -> ConfusionFacts | None:
    """Return the counts of classes, where they are few enough to be read."""
    found = evaluation.confusion
    counts = None if found is None else found.float32 if found.fixed is None else found.fixed
    if found is None or counts is None or len(counts) > _MAX_CLASSES:
        return None
    named = evaluation.classes if len(evaluation.classes) == len(counts) else range(len(counts))
    rows = tuple(tuple(map(int, row)) for row in counts)
    return ConfusionFacts(str(found.reference), tuple(map(str, named)), rows)


def _metric_of(subject: Subject, evaluation: Evaluation) -> Metric:
    """Return the metric of the summary: the one that was named, or the first that has a figure."""
    if subject.options.metric is not None:
        has_labels = subject.dataset is not None and subject.dataset.labels is not None
        return find_metric(subject.options.metric, evaluation.task, has_labels=has_labels)
    return evaluation.metrics[0].metric


def _metric(one: Metric) -> MetricFacts:
    return MetricFacts(one.name, one.column, one.label, str(one.unit.value), one.higher_is_better)


def _own(
    label: str,
    note: str,
    figures: Mapping[str, float | None],
    evaluation: Evaluation,
    session: InferenceSession,
    subject: Subject,
) -> RunFacts:
    """Return the row of float32 or of the formats of the report."""
    columns = {one.metric.name: one.metric.column for one in evaluation.metrics}
    found = {columns[name]: value for name, value in figures.items()}
    if label == "float32":  # what compares with float32 loses nothing in it
        exact = {"share": 1.0, "dB": math.inf}
        for one in evaluation.metrics:
            if found.get(one.metric.column) is None and one.reference is Reference.FLOAT32:
                found[one.metric.column] = exact.get(str(one.metric.unit.value))
    work = Workload(session, subject.feeds_of_one, 1)
    costs: dict[str, float | None] = {}
    for cost in all_costs():
        try:
            costs[cost.column] = cost.total(work)
        except QEngineError:
            costs[cost.column] = None
    return RunFacts(label, note, _width(session), found, costs)


def _width(session: InferenceSession) -> int | None:
    """Return the word length that all tensors have, constants too; None for no single one, and in float32."""
    widths = {fmt.bits for fmt in session.formats.values()}
    return widths.pop() if len(widths) == 1 else None


def _run(label: str, note: str, row: Row) -> RunFacts:
    outcome = row.outcome
    return RunFacts(label, note, row.point.width, dict(outcome.measures.figures), dict(outcome.costs), outcome.error)


def _front(curve: Sequence[RunFacts], metric: Metric) -> tuple[int, ...]:
    """Return the places of the runs of a curve that no other run beats, the cheapest first."""
    sign = 1.0 if metric.higher_is_better else -1.0
    places, points = [], []
    for i, run in enumerate(curve):
        cost, value = run.costs.get(COST), run.figures.get(metric.column)
        if cost is not None and value is not None:
            places.append(i)
            points.append((cost, sign * value))
    return tuple(places[i] for i in pareto(points))


@dataclass
class _Sweeps:
    """Sweeps of a subject into one folder."""

    subject: Subject
    folder: Path

    def of(self, grid: Grid, notes: list[str]) -> Sweep | None:
        """Return the results of a grid; None, with a note, where it cannot be computed."""
        subject, options = self.subject, self.subject.options
        settings = replace(subject.settings.in_float32(), strict=subject.settings.strict)
        try:
            return sweep(
                subject.path,
                self.folder / "sweep",
                grid,
                self._options(ssim=not options.quick and _has_ssim()),
                session=settings,
                progress=subject.progress,
            )
        except QEngineError as error:
            notes.append(f"not among the word lengths and targets: {error}")
            return None

    def _options(self, *, ssim: bool) -> SweepOptions:
        """Return the data as the sweep opens it by itself, or as it is in memory."""
        subject, options = self.subject, self.subject.options
        if subject.data is None:
            return SweepOptions(data=subject.dataset, ssim=ssim)
        return SweepOptions(
            data=subject.data,
            labels=options.labels,
            inputs=options.inputs,
            preprocessing=options.preprocessing,
            batch=options.batch,
            limit=options.limit,
            ssim=ssim,
        )

    def widths(self, notes: list[str]) -> tuple[int, ...]:
        """Return the word lengths of the curve, fewer for much data."""
        subject = self.subject
        wanted = subject.options.widths
        most = _QUICK_PRODUCTS if subject.options.quick else _PRODUCTS
        total = subject.products() * len(subject.dataset or ()) * len(wanted)
        if subject.options.curve is None and total > most:
            listed = ", ".join(map(str, _FEW))
            notes.append(f"the curve has the word lengths {listed} alone, as the data is large; --curve gives others")
            return _FEW
        return wanted

    def targets(self, notes: list[str]) -> tuple[RunFacts, ...]:
        """Return a run for each target."""
        found: list[RunFacts] = []
        for one in self.subject.options.compared:
            target = Target.of(one)
            note = f"{target.description}; {target.status}" if target.description else str(target.status)
            result = self.of(Grid(targets=[one]), notes)
            found += [_run(target.name, note, row) for row in (result.rows[1:] if result else ())]
        return tuple(found)


def _has_ssim() -> bool:
    try:
        import skimage  # noqa: F401
    except ImportError:
        return False
    return True
