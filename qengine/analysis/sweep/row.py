"""A row of results: a point, what came of it, and what it was computed from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from qengine.analysis.sweep.measure import Measures
from qengine.analysis.sweep.points import Point

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Outcome:
    """What a worker answers for a point.

    Attributes
    ----------
    measures : how good it is.
    weight_bytes, bit_operations : what it costs; see `qengine.analysis.sweep.costs`.
    codes : a digest of the codes of all outputs on all data.
    seconds : how long it took.
    error : why it failed; None where it did not.
    tries : how often it was begun.
    """

    measures: Measures = field(default_factory=Measures)
    weight_bytes: float | None = None
    bit_operations: float | None = None
    codes: str | None = None
    seconds: float | None = None
    error: str | None = None
    tries: int = 1


@dataclass(frozen=True)
class Row:
    """A point with its outcome.

    Attributes
    ----------
    key : of the point; no two rows have one.
    sweep : the key of the model, the data and everything else that its points have in common.
    model, data : what they were called.
    samples : how many.
    version : of qengine.
    point, outcome : the rest.
    finished : when, in UTC, as ISO 8601 has it.
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

    @property
    def status(self) -> str:
        """Whether it was computed: "done", or "failed"."""
        return DONE if self.outcome.error is None else FAILED

    def record(self) -> dict[str, Any]:
        """Return the row flat, by column; see docs/sweeps.md."""
        outcome = {f.name: getattr(self.outcome, f.name) for f in fields(Outcome) if f.name != "measures"}
        return {
            "key": self.key,
            "sweep": self.sweep,
            "model": self.model,
            "data": self.data,
            "samples": self.samples,
            "version": self.version,
            **asdict(self.point),
            "status": self.status,
            **asdict(self.outcome.measures),
            **outcome,
            "finished": self.finished,
        }

    @classmethod
    def of(cls, record: dict[str, Any]) -> Row:
        """Return the row of a record."""

        def taken(kind: Any, **more: Any) -> Any:
            return kind(**{f.name: record[f.name] for f in fields(kind) if f.name in record}, **more)

        outcome = taken(Outcome, measures=taken(Measures))
        row: Row = taken(cls, point=taken(Point), outcome=outcome)
        return row

    def result(self) -> dict[str, Any]:
        """Return what a second sweep gives again to the bit: everything but when, how long and how often."""
        return {name: value for name, value in self.record().items() if name not in ("seconds", "finished", "tries")}


def _columns() -> tuple[str, ...]:
    return tuple(Row("", "", "", "", 0, "", Point(), Outcome(), "").record())


COLUMNS = _columns()
"""The columns of a row, in order."""
