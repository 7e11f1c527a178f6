"""Facts on accuracy: float32, the formats of the report, targets, and a curve over word lengths, by small sweeps.

All of them share one temporary folder, so that the model is observed once and float32 runs once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qengine.analysis.sweep import Grid, Row, Sweep, SweepOptions, sweep
from qengine.analysis.sweep.plots import metric_of
from qengine.errors import QEngineError
from qengine.html_report.facts import AccuracyFacts, MetricFacts, RunFacts
from qengine.html_report.gather.subject import Subject
from qengine.metrics.declaration import Metric, all_metrics
from qengine.metrics.pareto import pareto
from qengine.runtime.options import SessionOptions
from qengine.targets import Target
from qengine.targets.rules_mapping import rules_mapping

COST = "weight_bytes"
"""Column of the cost of the Pareto front."""

_PRODUCTS, _QUICK_PRODUCTS = 1e13, 1e12
_FEW = (4, 6, 8, 16)


def accuracy_facts(subject: Subject, folder: Path) -> tuple[AccuracyFacts, tuple[str, ...]]:
    """Return the facts on accuracy, and notes; results are kept in a folder.

    Raises
    ------
    QEngineError
        If float32 cannot be run or measured.
    """
    runs = _Sweeps(subject, folder)
    notes: list[str] = []
    fixed = runs.fixed(notes)
    widths = runs.widths(notes)
    curve = runs.of(Grid(bits=widths), notes) if widths else None
    targets = runs.targets(notes)
    known = fixed or curve or runs.any_result(notes)
    metric = metric_of(known, subject.options.metric)
    rows = known.rows[:1] + (curve.rows[1:] if curve else ()) + (fixed.rows[1:2] if fixed else ())
    points = tuple(_run(f"{row.point.width} bits", "", row) for row in curve.rows[1:]) if curve else ()
    label = subject.origin
    facts = AccuracyFacts(
        task=str(known.task),
        output=known.evaluated_output,
        samples=known.rows[0].samples,
        against=known.rows[0].outcome.measures.against,
        metric=_metric(metric),
        metrics=tuple(
            _metric(one)
            for one in all_metrics()
            if any(row.outcome.measures.figures.get(one.column) is not None for row in rows)
        ),
        float32=_run("float32", "", known.rows[0]),
        fixed=_run("fixed point", label, fixed.rows[1], runs.width()) if fixed else None,
        targets=targets,
        curve=points,
        front=_front(points, metric),
    )
    return facts, tuple(dict.fromkeys(notes))


def _metric(one: Metric) -> MetricFacts:
    return MetricFacts(one.name, one.column, one.label, str(one.unit.value), one.higher_is_better)


def _run(label: str, note: str, row: Row, bits: int | None = None) -> RunFacts:
    outcome = row.outcome
    return RunFacts(
        label,
        note,
        bits if bits is not None else row.point.width,
        dict(outcome.measures.figures),
        dict(outcome.costs),
        outcome.error,
    )


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
        """Return the results of a grid; None, with a note, where no point of it can be computed."""
        subject, options = self.subject, self.subject.options
        settings = subject.settings.in_float32()
        try:
            return sweep(
                subject.path,
                self.folder / "sweep",
                grid,
                SweepOptions(
                    data=subject.data,
                    inputs=options.inputs,
                    preprocessing=options.preprocessing,
                    batch=options.batch,
                    limit=options.limit,
                    ssim=not options.quick and _has_ssim(),
                    metric=options.metric,
                ),
                session=replace(settings, strict=subject.settings.strict),
                progress=subject.progress,
            )
        except QEngineError as error:
            if grid.bits is None and not grid.formats and not grid.targets:
                raise
            notes.append(f"not in the table of accuracy: {error}")
            return None

    def any_result(self, notes: list[str]) -> Sweep:
        """Return a sweep of a single point, for float32 alone."""
        found = self.of(Grid(bits=[8]), notes)
        if found is None:
            raise QEngineError(notes.pop())
        return found

    def fixed(self, notes: list[str]) -> Sweep | None:
        """Return the run in the formats of the report."""
        subject = self.subject
        if subject.fixed is None or subject.formats is None:
            return None
        path = self.folder / "formats.json"
        path.write_text(json.dumps(_plain(subject.formats)), encoding="utf-8")
        more: dict[str, Any] = {}
        settings, rules = subject.settings, subject.fixed.rules
        if settings.in_float32() != replace(settings, qformat=None, weight_qformat=None, formats=None):
            more = {
                "rules": rules_mapping(rules) or None,
                "roundings": [str(rules.rounding)],
                "overflows": [str(rules.overflow)],
            }
        return self.of(Grid(formats=[path], **more), notes)

    def width(self) -> int | None:
        """Return the word length that all activations of the report have; None for no single one."""
        assert self.subject.fixed is not None
        constants = self.subject.graph.constants
        widths = {fmt.bits for name, fmt in self.subject.fixed.formats.items() if name not in constants}
        return widths.pop() if len(widths) == 1 else None

    def widths(self, notes: list[str]) -> tuple[int, ...]:
        """Return the word lengths of the curve, fewer for much data."""
        subject = self.subject
        wanted = subject.options.widths
        most = _QUICK_PRODUCTS if subject.options.quick else _PRODUCTS
        total = subject.products() * len(subject.dataset or ()) * len(wanted)
        if subject.options.curve is None and total > most:
            notes.append(f"the curve has fewer word lengths, as the data is large: {_listed(_FEW)}; --curve gives others")
            return _FEW
        return wanted

    def targets(self, notes: list[str]) -> tuple[RunFacts, ...]:
        """Return a run for each target."""
        found: list[RunFacts] = []
        for one in self.subject.options.compared:
            target = Target.of(one)
            note = f"{target.description}; {target.status}" if target.description else str(target.status)
            result = self.of(Grid(targets=[one]), notes)
            rows = result.rows[1:] if result else ()
            found += [_run(target.name, note, row) for row in rows]
        return tuple(found)


def _plain(formats: Any) -> dict[str, Any]:
    return {name: fmt if isinstance(fmt, str) else [str(one) for one in fmt] for name, fmt in formats.items()}


def _listed(widths: Sequence[int]) -> str:
    return ", ".join(map(str, widths))


def _has_ssim() -> bool:
    try:
        import skimage  # noqa: F401
    except ImportError:
        return False
    return True


def known_targets(names: Sequence[str | os.PathLike[str]]) -> None:
    """Raise TargetError, before a run, where there is no target of a name."""
    for name in names:
        Target.of(name)
