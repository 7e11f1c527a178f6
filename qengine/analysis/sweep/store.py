"""Results on disk: one SQLite file to which finished points are added, and a lock on its folder."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qengine.analysis.sweep.row import TIMES, Row, columns, cost_columns, metric_columns
from qengine.analysis.sweep.table import Table
from qengine.errors import SweepError
from qengine.kernels.file_locks import is_file_locked

SCHEMA = 7
"""Version of the table."""

_INTEGERS = ("samples", "weight_bits", "activation_bits", "accumulator_bits", "tries")
_BOOLEAN = ("per_channel", "unsigned", "tie_joins")
_REALS = ("percentile", "headroom", *TIMES)
_BY_OUTPUT = "sqnr_by_output"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder, and lock it against other sweeps; the lock ends with the process, however that ends.

    Raises
    ------
    SweepError
        If the folder cannot be made or written to, or another sweep is at work in it.
    """
    try:
        folder.mkdir(exist_ok=True)
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise SweepError(f"cannot write to folder {folder}: {error.strerror or error}") from None
    try:
        try:
            is_ours = is_file_locked(file)
        except OSError as error:
            raise SweepError(f"folder {folder} cannot be locked: {error.strerror or error}") from None
        if not is_ours:
            raise SweepError(f"another sweep is at work in {folder}: wait for it, or give another folder")
        yield
    finally:
        os.close(file)


class Store:
    """Table of the rows of a folder, of any number of sweeps. Only one process writes, under the lock.

    Parameters
    ----------
    path
        Path of the SQLite file, which is made if it is not there.

    Raises
    ------
    SweepError
        If the file cannot be used or is damaged, or has another version or other columns.
    """

    def __init__(self, path: Path) -> None:
        self._table = Table(path, "points", {name: _type(name) for name in columns()}, SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, row: Row) -> None:
        """Add a finished point, in one transaction: after a crash it is there as a whole or not at all."""
        self._table.add(row.record() | {_BY_OUTPUT: _spelled(row.outcome.measures.sqnr_by_output)})

    def forget(self, keys: Iterable[str]) -> None:
        """Delete the rows of some keys, in one transaction."""
        self._table.forget(keys)

    def rows(self, sweep: str | None = None) -> dict[str, Row]:
        """Return the rows of a sweep, or of all, by key, in the order in which they were added."""
        rows = self._table.rows().items()
        return {key: Row.of(_restored(record)) for key, record in rows if sweep in {None, record["sweep"]}}


def _type(column: str) -> str:
    """Return the type of a column in SQLite."""
    if column in _INTEGERS or column in _BOOLEAN:
        return "INTEGER"
    return "REAL" if column in (*_REALS, *metric_columns(), *cost_columns()) else "TEXT"


def _spelled(ratios: dict[str, float | None]) -> str:
    return json.dumps({name: spelled(one) for name, one in ratios.items()})


def _restored(record: dict[str, Any]) -> dict[str, Any]:
    known = json.loads(record[_BY_OUTPUT])
    by_output = {name: math.inf if value == "inf" else value for name, value in known.items()}
    return record | {name: bool(record[name]) for name in _BOOLEAN} | {_BY_OUTPUT: by_output}


def spelled(value: Any) -> Any:
    """Return a value that JSON and CSV can hold: an infinite ratio is "inf"."""
    return "inf" if isinstance(value, float) and math.isinf(value) else value
