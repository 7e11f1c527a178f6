"""Sweeps on worker processes and on a Dask cluster, and sweeps that are killed: the same rows, to the bit."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress

import deadly
import numpy as np
import pytest

import qengine
from qengine.analysis.sweep import Grid, processes
from qengine.analysis.sweep import run as module
from qengine.analysis.sweep.store import locked
from qengine.errors import SweepError

GRID = Grid(bits=range(2, 9), roundings=["half_even", "floor"])
WORDS = ("--bits", "2-8", "--rounding", "half_even,floor")
PATIENCE = 60.0


def results(found):
    return [row.result() for row in found.rows]


@pytest.fixture
def undisturbed(classifier, tmp_path):
    model, data = classifier
    return results(qengine.sweep(str(model), tmp_path / "undisturbed", GRID, data=str(data)))


def command(model, data, out, *more):
    words = [sys.executable, "-m", "qengine", "sweep", model, "--data", data, "-o", out, *WORDS, *more]
    # A session of its own: its process group is the command and its workers.
    return subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def end(process):
    """Leave nothing of a command behind, whatever the test found."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def stored(out):
    try:
        with closing(sqlite3.connect(f"file:{out}/results.sqlite?mode=rw", uri=True, timeout=30)) as connection:
            return connection.execute("SELECT count(*) FROM points").fetchone()[0]
    except sqlite3.OperationalError as error:
        if "unable to open" in str(error) or "no such table" in str(error):  # not there yet
            return 0
        raise


def wait_until(condition, process=None):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        if process is not None and process.poll() is not None:
            return
        time.sleep(0.005)


def nobody_is_left(group):
    with suppress(ProcessLookupError):
        os.killpg(group, 0)
        return False
    return True


def test_worker_processes_give_the_same(classifier, tmp_path, undisturbed):
    model, data = classifier
    found = qengine.sweep(str(model), tmp_path / "out", GRID, data=str(data), jobs=2)
    assert results(found) == undisturbed
    assert found.computed == 15


def test_worker_processes_correct_alike(normalized, tmp_path):
    model, data = map(str, normalized)
    grid = Grid(bits=[4, 6], recipes=["none", "best", "fold+analytic"])
    one = qengine.sweep(model, tmp_path / "one", grid, data=data)
    two = qengine.sweep(model, tmp_path / "two", grid, data=data, jobs=2)
    assert results(one) == results(two)
    assert {row.status for row in one.rows} == {"done"}


def test_a_dask_cluster_gives_the_same(classifier, tmp_path, undisturbed):
    model, data = classifier
    found = qengine.sweep(str(model), tmp_path / "out", GRID, data=str(data), scheduler="local", jobs=1)
    assert results(found) == undisturbed
    assert found.computed == 15


def test_a_cluster_that_is_not_there(classifier, tmp_path, monkeypatch):
    model, data = classifier
    monkeypatch.setattr("qengine.analysis.sweep.cluster._PATIENCE", 0.2)
    with pytest.raises(SweepError, match=r"the Dask cluster tcp://127\.0\.0\.1:1 does not answer"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data, scheduler="tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SweepError, match=r"needs distributed: pip install 'qengine\[dask\]'"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[4]), data=data, scheduler="local")


def test_workers_that_die(classifier, tmp_path, monkeypatch):
    model, data = classifier
    expected = results(qengine.sweep(model, tmp_path / "whole", Grid(bits=[4, 3, 2]), data=data))
    monkeypatch.setattr(processes, "evaluate", deadly.evaluate)
    found = qengine.sweep(model, tmp_path / "out", Grid(bits=[4, 3, 2]), data=data, jobs=2)
    # The worker of 4 bits dies once, and is replaced; that of 3 bits dies as often as it is tried.
    assert [row.outcome.tries for row in found.rows] == [1, 2, 3, 1]
    assert [row.status for row in found.rows] == ["done", "done", "failed", "done"]
    assert [row for i, row in enumerate(results(found)) if i != 2] == [r for i, r in enumerate(expected) if i != 2]
    reason = "the worker process ended 3 times while it computed this, last by signal 9 (SIGKILL)"
    assert found.rows[2].outcome.error == reason


def test_workers_that_cannot_start(classifier, tmp_path, monkeypatch):
    model, data = classifier
    monkeypatch.setattr(processes, "_open", deadly.at_start)
    monkeypatch.setattr(processes, "TRIES", 2)
    with pytest.raises(SweepError, match=r"end as they start, last by exit status 7; .* if __name__ == '__main__'"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[2]), data=data, jobs=2)


def test_workers_refuse_what_has_changed(classifier, tmp_path, monkeypatch):
    model, data = classifier
    run = module.in_turn

    def changed(work, points):
        np.savez(data, x=np.ones((12, 1, 6, 6), np.float32), labels=np.zeros(12, np.int64))
        return run(work, points)

    monkeypatch.setattr(module, "in_turn", changed)
    with pytest.raises(SweepError, match=r"a worker sees another model in .* or other data in"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[2]), data=data)


@pytest.mark.parametrize(("jobs", "kills"), [(1, 3), (2, 1)])
def test_killed_at_random_and_finished(classifier, tmp_path, undisturbed, jobs, kills):
    model, data = classifier
    out, chance = tmp_path / "out", random.Random(jobs)
    before = 0
    for _ in range(kills):
        process = command(model, data, out, "--jobs", jobs)
        wait_until(lambda enough=before: stored(out) > enough, process)
        time.sleep(chance.uniform(0, 0.1))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        try:
            wait_until(lambda group=process.pid: nobody_is_left(group))  # workers see that their parent is gone
        finally:
            end(process)
        before = stored(out)
        assert before > 0
        with locked(out):
            pass
    found = qengine.sweep(str(model), out, GRID, data=str(data))
    assert results(found) == undisturbed
    assert found.computed == 15 - before


def test_ctrl_c_keeps_what_is_done(classifier, tmp_path, undisturbed):
    model, data = classifier
    out = tmp_path / "out"
    process = command(model, data, out, "--jobs", 2, "--accumulator-bits", "12-40,all")
    wait_until(lambda: stored(out) > 2, process)
    os.killpg(process.pid, signal.SIGINT)
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        end(process)
        raise
    assert process.returncode == 130
    assert out == ""
    assert err == f"qengine: interrupted; {out} keeps the finished points: give the same command to continue\n"
    wait_until(lambda: nobody_is_left(process.pid))
    done = stored(out)
    assert 2 < done < 1 + 14 * 30
    assert results(qengine.sweep(str(model), out, GRID, data=str(data))) == undisturbed
