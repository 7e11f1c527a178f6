"""The result of a sweep: its rows, where they are kept, and what was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qengine.analysis.sweep.differences import Difference
from qengine.analysis.sweep.row import FAILED, Row, columns
from qengine.data.applied import Applied
from qengine.metrics.declaration import all_metrics
from qengine.metrics.tasks import Task
from qengine.results import Record, Result

_ALWAYS = frozenset(
    ("weight_bits", "activation_bits", "qformat", "formats_name", "target", "weight_bytes", "bit_operations", "error")
)
"""Columns that text and HTML show wherever they have a value, as they do metrics."""

_NEVER = frozenset(
    [
        *("key", "sweep", "formats", "target_rules", "sqnr_by_output", "codes", "steps", "tries", "finished"),
        *("seconds", "inference_seconds", "compile_seconds"),
    ]
)
"""Columns that only files and data frames have."""


@dataclass(frozen=True, repr=False)
class Sweep(Result):
    """Result of a sweep.

    Attributes
    ----------
    rows : float32 and the points of the grid, in its order.
    computed : number of rows that are new.
    task : kind of the evaluated output.
    evaluated_output : name of the output that the metrics are about.
    folder : folder of the results.
    new_rows : rows that are new.
    seconds_before : time before the first point began: for reading the model and the data, and for float32.
    differences : number of codes that each two targets compute otherwise, in the same formats.
    pixels : conversion of the pixels of the data to numbers.
    written : files in the folder that hold the results.
    notes : reasons why something was not written, one line each.
    """

    rows: tuple[Row, ...]
    computed: int
    task: Task
    evaluated_output: str
    folder: Path
    new_rows: tuple[Row, ...] = ()
    seconds_before: float = 0.0
    differences: tuple[Difference, ...] = ()
    pixels: Applied = Applied()  # noqa: RUF009 - frozen
    written: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The result in one line."""
        first, failed = self.rows[0], sum(row.status == FAILED for row in self.rows)
        points = f"{len(self.rows)} points" + (f", {failed} of them failed" if failed else "")
        return f"{first.model} in {points} on {first.samples:,} samples of {first.data}"

    def shown_records(self) -> list[Record]:
        """Return the rows with formats, metrics and costs, and with what else differs between points."""
        rows = self.records()
        always = _ALWAYS | {metric.column for metric in all_metrics()}
        kept = []
        for name in columns():
            found = {repr(row[name]) for row in rows if row[name] not in (None, "")}
            if name not in _NEVER and len(found) > (0 if name in always else 1):
                kept.append(name)
        return [{name: row[name] for name in kept} for row in rows]

    def records(self) -> list[Record]:
        """Return a row for each point, under the columns of results.csv."""
        return [{name: record[name] for name in columns()} for record in (row.record() for row in self.rows)]
