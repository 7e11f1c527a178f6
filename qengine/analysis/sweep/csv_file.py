"""Rows as a CSV file."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from qengine.analysis.sweep.differences import Difference
from qengine.analysis.sweep.row import Row, columns
from qengine.analysis.sweep.store import spelled
from qengine.atomic_files import replacing


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows under their columns, whole or not at all; None is an empty cell, and booleans are 0 and 1.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    names = columns()
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in rows:
            record = row.record()
            writer.writerow([_cell(record[name]) for name in names])


def write_differences(path: Path, differences: Sequence[Difference]) -> None:
    """Write the differences of targets, one line for each two, whole or not at all; see `write_csv`."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Difference)])
        writer.writeheader()
        writer.writerows(one.record() for one in differences)


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps({name: spelled(one) for name, one in value.items()})
    return int(value) if isinstance(value, bool) else spelled(value)
