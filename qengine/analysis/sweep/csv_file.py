"""Rows as a CSV file."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path

from qengine.analysis.sweep.differences import Difference
from qengine.analysis.sweep.row import Row, columns
from qengine.results import csv_text, write_text


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows under their columns, whole or not at all; see `qengine.results.csv_cell`.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    write_text(path, csv_text([row.record() for row in rows], columns()))


def write_differences(path: Path, differences: Sequence[Difference]) -> None:
    """Write the differences of targets, one line for each two, whole or not at all; see `write_csv`."""
    write_text(path, csv_text([one.record() for one in differences], [field.name for field in fields(Difference)]))
