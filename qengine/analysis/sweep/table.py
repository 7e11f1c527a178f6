"""A SQLite file with one table, of which every row has a checksum: rows come back as they were added, or not at all.

SQLite notices damage to the structure of a file, and no damage to a value in it. So a second table has a digest of the
values of each row. A file is checked as a whole when it is opened: that it can be written, that its tables are those
that are made here, that its structure is sound, and that every row has its checksum. All that can be wrong is one error
that names the file, what was found, and what to do.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from qengine.errors import SweepError, first_line

_CHECKSUMS = 'CREATE TABLE checksums ("key" TEXT, "checksum" TEXT, PRIMARY KEY ("key"))'
_TYPES: dict[str, type] = {"TEXT": str, "INTEGER": int, "REAL": float}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_LEAST_BYTES = 512
_WAIT_SECONDS = 5.0  # for another program that holds the file


class Table:
    """A table in a SQLite file. Only one process writes.

    Parameters
    ----------
    path
        Path of the file, which is made if it is not there.
    name
        Name of the table.
    types
        Type of each column, "TEXT", "INTEGER" or "REAL", in order; the first is the key, and no two rows have the
        same.
    version
        Version of the table, 1 or more.
    is_exclusive
        Whether no other program can open the file until it is closed.

    Raises
    ------
    SweepError
        If the file cannot be used, is damaged, or holds another table.
    """

    def __init__(
        self, path: Path, name: str, types: Mapping[str, str], version: int, *, is_exclusive: bool = False
    ) -> None:
        self._path, self._name, self._types, self._key = path, name, dict(types), next(iter(types))
        with self._errors():
            self._refuse_no_file()
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_SECONDS)
            try:
                if is_exclusive:
                    self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                self._open(version)
                self._checked = dict(self._rows())
            except BaseException:
                self._connection.close()
                raise

    def _refuse_no_file(self) -> None:
        """Refuse a folder, a pipe or a device, which SQLite would wait for."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from None
        if not stat.S_ISREG(status.st_mode):
            raise self._unusable("a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        if 0 < status.st_size < _LEAST_BYTES:  # which SQLite takes for an empty file
            raise self._unusable("the file is not a database")

    def _open(self, version: int) -> None:
        """Make the table in an empty file; check that of any other."""
        run = self._connection.execute
        run("PRAGMA trusted_schema = OFF")
        run("PRAGMA cell_size_check = ON")
        columns = ", ".join(f'"{name}" {kind}' for name, kind in self._types.items())
        tables = {
            self._name: f'CREATE TABLE {self._name} ({columns}, PRIMARY KEY ("{self._key}"))',
            "checksums": _CHECKSUMS,
        }
        wanted = [
            entry
            for name, sql in tables.items()
            for entry in (("table", name, sql), ("index", f"sqlite_autoindex_{name}_1", None))
        ]
        with self._transaction():
            (found,) = run("PRAGMA user_version").fetchone()
            schema = run("SELECT type, name, sql FROM sqlite_master ORDER BY rowid").fetchall()
            if not schema and not found:
                for sql in tables.values():
                    run(sql)
            elif found != version:
                raise SweepError(
                    f"{self._path} is of version {found}, and this qengine writes version {version}: move it, or give "
                    "another path"
                )
            elif schema != wanted:
                raise SweepError(f"{self._path} has other columns than this qengine's results: give another path")
            elif (sound := run("PRAGMA integrity_check(1)").fetchone()) != ("ok",):
                raise self._damaged(first_line(ValueError(str(sound and sound[0]))))
            # A file that cannot be written raises here, and not after the first computation.
            run(f"PRAGMA user_version = {version}")

    def _rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield every row by its key, after the check of its checksum."""
        run = self._connection.execute
        with closing(run("SELECT key, checksum FROM checksums")) as cursor:
            checksums = dict(cursor.fetchall())
        with closing(run(f"SELECT rowid, * FROM {self._name} ORDER BY rowid")) as cursor:
            for number, *values in cursor:
                checksum = checksums.pop(values[0], None)
                if checksum is None or checksum != _checksum(values):
                    raise self._damaged(f"row {number} is not as it was written")
                yield values[0], dict(zip(self._types, values, strict=True))
        if checksums:
            raise self._damaged(f"{len(checksums)} of its rows are gone")

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return all rows as values by column, by their key, in the order in which they were added."""
        return dict(self._checked)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, in one transaction: after a crash it is there as a whole or not at all.

        A number that is NaN is left out, as None is.
        """
        values = [_plain(row[name], kind) for name, kind in self._types.items()]
        marks = ", ".join("?" for _ in values)
        with self._transaction() as connection:
            connection.execute(f"INSERT INTO {self._name} VALUES ({marks})", values)
            connection.execute("INSERT INTO checksums VALUES (?, ?)", (values[0], _checksum(values)))
        self._checked[values[0]] = dict(zip(self._types, values, strict=True))

    def forget(self, keys: Iterable[str]) -> None:
        """Delete the rows of some keys, in one transaction."""
        gone = [(key,) for key in keys]
        with self._transaction() as connection:
            connection.executemany(f'DELETE FROM {self._name} WHERE "{self._key}" = ?', gone)
            connection.executemany("DELETE FROM checksums WHERE key = ?", gone)
        for (key,) in gone:
            self._checked.pop(key, None)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block does, or undo it."""
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _unusable(self, reason: str) -> SweepError:
        return SweepError(f"{self._path} cannot be used ({reason}): move it, or give another path")

    def _damaged(self, reason: str) -> SweepError:
        return SweepError(
            f"{self._path} is damaged ({reason}): move it away and compute again, or take it from a backup"
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise errors of SQLite as errors that name the file."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code is not None and code & 0xFF in _BUSY:
                raise SweepError(
                    f"{self._path} is in use by another program: close that program, or give another path"
                ) from None
            if code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT:
                raise self._damaged(first_line(error)) from None
            raise self._unusable(first_line(error)) from None
        except (UnicodeDecodeError, MemoryError) as error:  # a damaged name in a message of SQLite; a damaged length
            raise self._damaged(type(error).__name__) from None


def _plain(value: Any, kind: str) -> Any:
    """Return a value as SQLite gives it back from a column of a type."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return _TYPES[kind](value)


def _checksum(values: Iterable[Any]) -> str | None:
    """Return a digest of the values of a row; None for values that no row has."""
    plain = list(values)
    if not all(value is None or type(value) in _TYPES.values() for value in plain):
        return None
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()
