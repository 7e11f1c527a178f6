"""Rows on disk: what goes in comes out, whole or not at all."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
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
    with pytest.raises(SweepError, match=r"text cannot be used \(.*not a database\): move it, or give another folder"):
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
    with pytest.raises(SweepError, match="has other columns than this qengine's results: give another folder"):
        Store(tmp_path / "results.sqlite")


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
