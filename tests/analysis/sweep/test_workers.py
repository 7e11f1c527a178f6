"""Sweeps on worker processes and on a Dask cluster, and sweeps that are killed: the same rows, to the bit."""

import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing, suppress

import deadly
import gated
import numpy as np
import pytest
from children import start
from gated import allow

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


def command(model, data, out, permits, *more):
    """Start a sweep that computes as many points as the test allows."""
    words = [sys.executable, gated.__file__, permits, "sweep", model, "--data", data, "-o", out, *WORDS, *more]
    return start(words)


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
        assert process is None or process.poll() is None, process.communicate()
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
    monkeypatch.setattr("qengine.analysis.sweep.cluster._CONNECT_SECONDS", 0.2)
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
        monkeypatch.setattr("qengine.analysis.sweep.work._opened", {})  # as in a process of its own
        return run(work, points)

    monkeypatch.setattr(module, "in_turn", changed)
    with pytest.raises(SweepError, match=r"a worker sees another model in .* or other data in"):
        qengine.sweep(model, tmp_path / "out", Grid(bits=[2]), data=data)


@pytest.mark.parametrize(("jobs", "kills"), [(1, 3), (2, 1)])
def test_killed_at_random_and_finished(classifier, tmp_path, undisturbed, jobs, kills):
    model, data = classifier
    out, permits, chance = tmp_path / "out", tmp_path / "permits", random.Random(jobs)
    before = 0
    for _ in range(kills):
        for left in permits.glob("*"):
            left.unlink()
        allow(permits, 4)  # of 15: it cannot end by itself
        process = command(model, data, out, permits, "--jobs", jobs)
        enough = before + chance.randint(1, 4)
        wait_until(lambda enough=enough: stored(out) >= enough, process)
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
    out, permits = tmp_path / "out", tmp_path / "permits"
    allow(permits, 3)
    process = command(model, data, out, permits, "--jobs", 2)
    try:
        wait_until(lambda: stored(out) == 3, process)
        os.killpg(process.pid, signal.SIGINT)
        printed, error = process.communicate(timeout=PATIENCE)
    except BaseException:
        end(process)
        raise
    assert process.returncode == 130
    assert printed == ""
    assert error == f"qengine: interrupted; {out} keeps the finished points: give the same command to continue\n"
    wait_until(lambda: nobody_is_left(process.pid))
    assert stored(out) == 3
    found = qengine.sweep(str(model), out, GRID, data=str(data))
    assert results(found) == undisturbed
    assert found.computed == 12
