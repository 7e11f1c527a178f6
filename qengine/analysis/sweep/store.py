"""Results on disk: one SQLite file to which finished points are added, and a lock on its folder."""

from __future__ import annotations

import fcntl
import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from qengine.analysis.sweep.row import Row, columns, cost_columns, metric_columns
from qengine.errors import SweepError

SCHEMA = 2
"""Version of the table."""

_INTEGERS = ("samples", "weight_bits", "activation_bits", "accumulator_bits", "tries")
_BOOLEAN = ("per_channel", "unsigned", "tie_joins")
_REALS = ("percentile", "headroom", "seconds")
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
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise SweepError(f"cannot write to folder {folder}: {error.strerror or error}") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SweepError(f"another sweep is at work in {folder}: wait for it, or give another folder") from None
        except OSError as error:
            raise SweepError(f"folder {folder} cannot be locked: {error.strerror or error}") from None
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
        If the file is not such a table, or has another version or other columns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._errors():
            self._names = columns()
            self._connection = sqlite3.connect(path, isolation_level=None)
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0 and not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                types = ", ".join(f'"{name}" {_type(name)}' for name in self._names)
                self._connection.executescript(
                    f"BEGIN; CREATE TABLE points ({types}, PRIMARY KEY (key)); PRAGMA user_version = {SCHEMA}; COMMIT"
                )
            elif version != SCHEMA:
                self._connection.close()
                raise SweepError(f"{path} is of version {version}, and this qengine writes version {SCHEMA}: move it")
            elif self._stored() != self._names:
                self._connection.close()
                raise SweepError(f"{path} has other columns than this qengine's results: give another folder")

    def _stored(self) -> tuple[str, ...]:
        return tuple(name for _, name, *_ in self._connection.execute("PRAGMA table_info(points)"))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise errors of SQLite as errors that name the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise SweepError(f"{self._path} cannot be used ({error}): move it, or give another folder") from None

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, row: Row) -> None:
        """Add a finished point, in one transaction: after a crash it is there as a whole or not at all."""
        record = {name: _plain(value) for name, value in row.record().items()}
        names, marks = ", ".join(f'"{name}"' for name in self._names), ", ".join("?" for _ in self._names)
        with self._errors():
            self._connection.execute(
                f"INSERT INTO points ({names}) VALUES ({marks})",
                [record[name] for name in self._names],
            )

    def forget(self, keys: Iterable[str]) -> None:
        """Delete the rows of some keys, in one transaction."""
        with self._errors():
            self._connection.execute("BEGIN")
            try:
                self._connection.executemany("DELETE FROM points WHERE key = ?", [(key,) for key in keys])
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sweep: str | None = None) -> dict[str, Row]:
        """Return the rows of a sweep, or of all, by key, in the order in which they were added."""
        names = ", ".join(f'"{name}"' for name in self._names)
        query, values = f"SELECT {names} FROM points", tuple[str, ...]()
        if sweep is not None:
            query, values = f"{query} WHERE sweep = ?", (sweep,)
        with self._errors(), closing(self._connection.cursor()) as cursor:
            cursor.execute(f"{query} ORDER BY rowid", values)
            records = [dict(zip(self._names, one, strict=True)) for one in cursor.fetchall()]
        return {record["key"]: Row.of(_restored(record)) for record in records}


def _type(column: str) -> str:
    """Return the type of a column in SQLite."""
    if column in _INTEGERS or column in _BOOLEAN:
        return "INTEGER"
    return "REAL" if column in (*_REALS, *metric_columns(), *cost_columns()) else "TEXT"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps({name: spelled(one) for name, one in value.items()})
    return int(value) if isinstance(value, bool) else value


def _restored(record: dict[str, Any]) -> dict[str, Any]:
    known = json.loads(record[_BY_OUTPUT])
    by_output = {name: math.inf if value == "inf" else value for name, value in known.items()}
    return record | {name: bool(record[name]) for name in _BOOLEAN} | {_BY_OUTPUT: by_output}


def spelled(value: Any) -> Any:
    """Return a value that JSON and CSV can hold: an infinite ratio is "inf"."""
    return "inf" if isinstance(value, float) and math.isinf(value) else value
