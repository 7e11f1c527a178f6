"""A row of results: a point, its outcome, and the data that it was computed from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from qengine.analysis.inspection.costs import all_costs
from qengine.analysis.sweep.measure import Figures, Measures
from qengine.analysis.sweep.points import Point
from qengine.metrics.declaration import all_metrics

DONE, FAILED = "done", "failed"
TIMES = ("seconds", "inference_seconds", "compile_seconds")
"""Columns that differ from one computation of a point to the next."""


@dataclass(frozen=True)
class Outcome:
    """Result of a worker for one point.

    Attributes
    ----------
    measures : figures of how good the point is.
    costs : costs by column, such as `weight_bytes`; see `qengine.analysis.inspection.costs`.
    codes : digest of the codes of all outputs on all data.
    seconds : time that the point took, without compiling.
    inference_seconds : time of it that the runs took; 0 in float32, whose outputs are known.
    compile_seconds : time that compiling kernels took, and loading compiled ones, where no point before used them.
    error : reason why the point failed; None where it did not.
    tries : number of times that the point was begun.
    steps : verdict on each step of a guarded recipe, in words; None for other recipes.
    """

    measures: Measures = field(default_factory=Measures.of)
    costs: Figures = field(default_factory=lambda: Figures(dict.fromkeys(cost_columns())))
    codes: str | None = None
    seconds: float | None = None
    inference_seconds: float | None = None
    compile_seconds: float | None = None
    error: str | None = None
    tries: int = 1
    steps: str | None = None


@dataclass(frozen=True)
class Row:
    """A point with its outcome.

    Attributes
    ----------
    key : key of the point; no two rows have the same.
    sweep : key of the model, the data and everything else that the points of a sweep have in common.
    model, data : names of the model and the data, as the caller typed them.
    samples : number of samples.
    version : version of qengine.
    point, outcome : the point, and its result.
    finished : time of the result in UTC, by ISO 8601.
    preprocessing : conversion of the pixels of the data, a record of `Preprocessing` as JSON; None without pixels.
    """

    key: str
    sweep: str
    model: str
    data: str
    samples: int
    version: str
    point: Point
    outcome: Outcome
    finished: str
    preprocessing: str | None = None

    @property
    def status(self) -> str:
        """Whether the point was computed: "done", or "failed"."""
        return DONE if self.outcome.error is None else FAILED

    @property
    def inference_share(self) -> float | None:
        """The share of the point's time that its runs took; None where it ran nothing."""
        seconds, inference = self.outcome.seconds, self.outcome.inference_seconds
        return inference / seconds if seconds and inference else None

    def record(self) -> dict[str, Any]:
        """Return the row as values by column; see docs/how-to/sweeps.md."""
        outcome, measures = self.outcome, self.outcome.measures
        return {
            "key": self.key,
            "sweep": self.sweep,
            "model": self.model,
            "data": self.data,
            "samples": self.samples,
            "version": self.version,
            "preprocessing": self.preprocessing,
            **asdict(self.point),
            "status": self.status,
            **{name: measures.figures.get(name) for name in metric_columns()},
            "sqnr_by_output": dict(measures.sqnr_by_output),
            "against": measures.against,
            **{name: outcome.costs.get(name) for name in cost_columns()},
            **{name: getattr(outcome, name) for name in ("codes", "steps", *TIMES, "error", "tries")},
            "finished": self.finished,
        }

    @classmethod
    def of(cls, record: dict[str, Any]) -> Row:
        """Return the row of a record."""

        def fields_of(kind: Any, **more: Any) -> Any:
            return kind(**{f.name: record[f.name] for f in fields(kind) if f.name in record}, **more)

        figures = Figures({name: record[name] for name in metric_columns()})
        costs = Figures({name: record[name] for name in cost_columns()})
        outcome = fields_of(Outcome, measures=fields_of(Measures, figures=figures), costs=costs)
        row: Row = fields_of(cls, point=fields_of(Point), outcome=outcome)
        return row

    def result(self) -> dict[str, Any]:
        """Return the record without the time, duration and number of tries: equal in every sweep of the same inputs."""
        return {name: value for name, value in self.record().items() if name not in (*TIMES, "finished", "tries")}


def metric_columns() -> tuple[str, ...]:
    """Return the columns of the metrics, in order."""
    return tuple(one.column for one in all_metrics())


def cost_columns() -> tuple[str, ...]:
    """Return the columns of the costs, in order."""
    return tuple(one.column for one in all_costs())


def columns() -> tuple[str, ...]:
    """Return the columns of a row, in order."""
    return tuple(Row("", "", "", "", 0, "", Point(), Outcome(), "").record())
