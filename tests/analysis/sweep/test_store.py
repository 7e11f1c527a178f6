"""Rows on disk: what goes in comes out, whole or not at all."""

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

from qengine.analysis.sweep import Measures, Outcome, Point, Row, columns
from qengine.analysis.sweep.measure import Figures
from qengine.analysis.sweep.store import SCHEMA, Store, locked
from qengine.errors import SweepError

POINT = Point(
    weight_bits=4,
    activation_bits=8,
    method="percentile",
    percentile=99.5,
    headroom=1.5,
    per_channel=True,
    unsigned=True,
    rounding="floor",
    overflow="wrap",
    accumulator_bits=20,
    recipe="fold+bias",
)
MEASURES = Measures.of(
    {"y": math.inf, "z": None, "v": 3.25},
    "target",
    sqnr_db=math.inf,
    top1=0.1,
    agreement=1 / 3,
    psnr_db=30.123456789012345,
    ssim=0.9,
)
COSTS = Figures(weight_bytes=10.5, activation_bytes=None, bit_operations=1e12)
ROW = Row("k1", "s", "m", "d", 12, "0.1.0", POINT, Outcome(MEASURES, COSTS, "abc", 0.25), "2026-01-01")
FAILED = Row("k2", "s", "m", "d", 12, "0.1.0", Point(formats='{"x": "Q4.3"}'), Outcome(error="no", tries=3), "2026")


def test_rows_come_back(tmp_path):
    path = tmp_path / "results.sqlite"
    with Store(path) as store:
        store.add(ROW)
        store.add(FAILED)
        store.add(replace(ROW, key="k3", sweep="another"))
    with Store(path) as store:
        assert store.rows("s") == {"k1": ROW, "k2": FAILED}
        assert list(store.rows()) == ["k1", "k2", "k3"]
        assert [row.status for row in store.rows("s").values()] == ["done", "failed"]
        store.forget(["k2"])
    with Store(path) as store:
        assert store.rows("s") == {"k1": ROW}


def test_the_columns_are_in_the_file(tmp_path):
    with Store(tmp_path / "results.sqlite") as store:
        store.add(ROW)
    with sqlite3.connect(tmp_path / "results.sqlite") as connection:
        cursor = connection.execute("SELECT * FROM points")
        assert tuple(column[0] for column in cursor.description) == columns()
        record = dict(zip(columns(), cursor.fetchone(), strict=True))
    connection.close()
    assert record["sqnr_db"] == math.inf
    assert record["sqnr_by_output"] == '{"y": "inf", "z": null, "v": 3.25}'
    assert (record["per_channel"], record["status"], record["psnr_db"]) == (1, "done", 30.123456789012345)


def test_nothing_is_there_twice(tmp_path):
    with Store(tmp_path / "results.sqlite") as store:
        store.add(ROW)
        with pytest.raises(SweepError, match="UNIQUE"):
            store.add(replace(ROW, model="other"))
        assert store.rows() == {"k1": ROW}


def test_a_result_leaves_out_what_differs_from_run_to_run():
    other = replace(ROW, finished="later", outcome=replace(ROW.outcome, seconds=9.0, tries=2))
    assert other.result() == ROW.result()
    assert replace(ROW, outcome=replace(ROW.outcome, codes="abd")).result() != ROW.result()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("hello, this is no database at all, but a text that is long enough")
    with pytest.raises(SweepError, match=r"text cannot be used \(.*not a database\): move it, or give another path"):
        Store(tmp_path / "text")
    with Store(tmp_path / "results.sqlite"):
        pass
    connection = sqlite3.connect(tmp_path / "results.sqlite")
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(SweepError, match=f"is of version {SCHEMA + 1}"):
        Store(tmp_path / "results.sqlite")


def test_a_table_of_other_columns_is_refused(tmp_path):
    with Store(tmp_path / "results.sqlite"):
        pass
    connection = sqlite3.connect(tmp_path / "results.sqlite")
    connection.execute("ALTER TABLE points DROP COLUMN recipe")
    connection.close()
    with pytest.raises(SweepError, match="has other columns than this qengine's results: give another path"):
        Store(tmp_path / "results.sqlite")


WRONG = {"TEXT": (5, 0.5, b"x", None), "INTEGER": ("x", 0.5, b"x", 7), "REAL": ("x", b"x", 0.25)}
BY_OUTPUT = ("[]", "{", '{"y": "x"}', "5", "")


def stored(path):
    with Store(path) as store:
        store.add(ROW)
        store.add(FAILED)
    return path


def opened(path):
    with Store(path) as store:
        return store.rows()


def changed(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for words in statements:
            connection.execute(*words)


@pytest.mark.parametrize("column", columns())
def test_a_value_that_was_changed_is_refused_in_every_column(tmp_path, column):
    path = stored(tmp_path / "results.sqlite")
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        types = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA table_info(points)")}
    values = [*WRONG[types[column]], *(BY_OUTPUT if column == "sqnr_by_output" else ())]
    for value in values:
        path.write_bytes(whole)
        query = f"SELECT {column} IS ? FROM points WHERE rowid = 1"
        changed(path, (f"UPDATE points SET {column} = ? WHERE rowid = 1", (value,)))
        with closing(sqlite3.connect(path)) as connection:
            (is_same,) = connection.execute(query, (row_value(column),)).fetchone()
        if not is_same:
            with pytest.raises(SweepError, match=r"results\.sqlite is damaged \(.*\): move it away and compute again"):
                opened(path)


def row_value(column):
    value = ROW.record()[column]
    return '{"y": "inf", "z": null, "v": 3.25}' if column == "sqnr_by_output" else value


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE points"],
        ["DROP TABLE checksums"],
        ["ALTER TABLE points RENAME TO dots"],
        ["ALTER TABLE points ADD COLUMN more"],
        ["CREATE TRIGGER t AFTER INSERT ON points BEGIN DELETE FROM points; END"],
        ["DROP TABLE points", "CREATE TABLE points (key, sweep)"],
        ["DROP TABLE points", "CREATE VIEW points AS SELECT 1 AS key"],
    ],
)
def test_another_schema_is_refused(tmp_path, statements):
    path = stored(tmp_path / "results.sqlite")
    changed(path, *((one,) for one in statements))
    with pytest.raises(SweepError, match="has other columns than this qengine's results: give another path"):
        opened(path)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM points WHERE key = 'k1'", "1 of its rows are gone"),
        ("DELETE FROM checksums", "row 1 is not as it was written"),
        ("UPDATE points SET key = 'k3' WHERE key = 'k2'", "row 2 is not as it was written"),
    ],
)
def test_rows_that_came_or_went_are_noticed(tmp_path, statement, reason):
    path = stored(tmp_path / "results.sqlite")
    changed(path, (statement,))
    with pytest.raises(SweepError, match=f"is damaged \\({reason}"):
        opened(path)


def test_a_store_of_another_program_is_refused(tmp_path):
    changed(tmp_path / "other.sqlite", ("CREATE TABLE notes (text)",))
    with pytest.raises(SweepError, match=r"other\.sqlite is of version 0"):
        opened(tmp_path / "other.sqlite")


def offsets(path):
    """Return some offsets of a file, and all others of bytes other than 0 if all tests run."""
    data = path.read_bytes()
    return data, [i for i, byte in enumerate(data) if byte or i % 64 == 0]


@pytest.mark.parametrize("part", [0, *(pytest.param(i, marks=pytest.mark.exhaustive) for i in range(1, 16))])
@pytest.mark.parametrize("damage", ["flipped", "one bit", "cut"])
def test_damaged_bytes_are_refused_or_do_no_harm(tmp_path, damage, part):
    path = stored(tmp_path / "results.sqlite")
    data, places = offsets(path)
    whole = {"k1": ROW, "k2": FAILED}
    refused = []
    for place in places[part::16]:
        for leftover in tmp_path.glob("results.sqlite-*"):
            leftover.unlink()
        mask = {"flipped": 0xFF, "one bit": 1, "cut": 0}[damage]
        broken = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
        path.write_bytes(data[: max(place, 1)] if damage == "cut" else broken)
        try:
            assert opened(path) == whole, place
        except SweepError as error:
            refused.append(str(error))
    assert len(refused) > len(places[part::16]) // 4
    assert all(str(path) in text and re.search(r"move it|give another path", text) for text in refused)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in {"folder": "a folder", "pipe": "not a regular file", "loop": "Too many levels"}.items():
        with pytest.raises(SweepError, match=rf"{name} cannot be used \({reason}.*\): move it, or give another path"):
            Store(tmp_path / name)


def test_a_store_that_another_program_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("qengine.analysis.sweep.table._WAIT_SECONDS", 0.01)
    path = stored(tmp_path / "results.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SweepError, match="is in use by another program: close that program"):
            Store(path)
    assert len(opened(path)) == 2


def test_a_store_that_cannot_be_written_is_refused_before_any_point(tmp_path, monkeypatch):
    """As root every file can be written; SQLite opens one to be read where it cannot."""
    path = stored(tmp_path / "results.sqlite")
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda given, **options: connect(f"file:{given}?mode=ro", uri=True, **options)
    )
    with pytest.raises(SweepError, match=r"cannot be used \(attempt to write a readonly database\)"):
        Store(path)


def test_one_sweep_at_a_time(tmp_path):
    again = locked(tmp_path / "out")
    with locked(tmp_path / "out"), pytest.raises(SweepError, match="another sweep is at work in"), again:
        pass
    with locked(tmp_path / "out"):
        pass


def test_a_lock_ends_with_its_process(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from qengine.analysis.sweep.store import locked\n"
        "with locked(Path(sys.argv[1])): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(SweepError, match="another sweep"), locked(tmp_path):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "none" / "out"):
        with pytest.raises(SweepError, match="cannot write to folder"), locked(folder):
            pass
