"""Teams: followers that spin, sleep, take turns, and return; what cannot be had; the end of a process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from qengine.kernels import team
from qengine.kernels.build import addresses
from qengine.kernels.isa import available
from qengine.kernels.packing import Fill
from qengine.kernels.program import BARRIER, Call, Program, Slot
from qengine.kernels.team import ThreadsError

ISA = available()[0]


def program(threads):
    """A program of which every thread writes one item, waits for the others, and writes another one."""

    def calls(thread):
        places = (Slot("y", thread), Slot("y", threads + thread))
        fills = [
            Call(Fill(1), {"y": y, "y_plane": 0, "planes": 1, "items": 1, "code": thread + 1 + 10 * i})
            for i, y in enumerate(places)
        ]
        return [fills[0], BARRIER, fills[1]]

    return Program(ISA, [calls(thread) for thread in range(threads)])


def expected(threads):
    return [*range(1, threads + 1), *range(11, threads + 11)]


def assert_runs(made, threads):
    y = np.zeros(2 * threads, np.uint8)
    made.run({"y": y})
    assert y.tolist() == expected(threads)


@pytest.mark.parametrize("threads", [2, 3, 6])
@pytest.mark.parametrize("pause", [0, 0.0002, 0.02], ids=["spinning", "about to sleep", "asleep"])
def test_a_run_finds_its_followers(threads, pause):
    made = program(threads)
    for _ in range(200 if pause < 0.001 else 10):
        assert_runs(made, threads)
        time.sleep(pause)


def test_followers_sleep_between_runs():
    made = program(2)
    assert_runs(made, 2)
    time.sleep(0.3)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.2
    assert_runs(made, 2)


def team_kernels():
    """Machine code of `Lead` and `Follow`."""
    return addresses([team.Lead(), team.Follow()], ISA)


def test_followers_return():
    codes = team_kernels()
    own = team.Team(3, *codes)
    assert all(thread.is_alive() for thread in own._threads)
    own.stop()
    assert not any(thread.is_alive() for thread in own._threads)


def test_a_team_that_computes_is_not_stopped(monkeypatch):
    codes = team_kernels()
    own = team.Team(2, *codes)
    monkeypatch.setattr(team, "_STOP_SECONDS", 0.01)
    with own.turn.guard:
        own.stop()
        assert own._threads[0].is_alive()
    own.stop()


def test_threads_that_cannot_be_started(monkeypatch):
    """Those that have started return, and a later run may have as many."""
    start, started = threading.Thread.start, []

    def refuse_the_fourth(self):
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    made = program(7)
    monkeypatch.setattr(threading.Thread, "start", refuse_the_fourth)
    with pytest.raises(ThreadsError, match="7 threads are needed, and 4 can be had"):
        made.run({"y": np.zeros(14, np.uint8)})
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()
    monkeypatch.setattr(threading.Thread, "start", start)
    assert_runs(made, 7)


def test_a_system_without_condition_variables(monkeypatch):
    monkeypatch.setattr(team, "_functions", lambda: (0,) * 5)
    with pytest.raises(ThreadsError, match="no condition variables: give 1 thread"):
        team.Team(2, 0, 0)


END = """
import threading
import numpy as np
from qengine import InferenceSession, zoo
s = InferenceSession(str(zoo.find("digits").path), threads=3)
x = {s.get_inputs()[0].name: np.zeros((1, 1, 28, 28), np.float32)}
def work():
    while True:
        s.run(None, x)
if IN_BACKGROUND:
    threading.Thread(target=work, daemon=True).start()
for _ in range(20):
    s.run(None, x)
"""


@pytest.mark.parametrize("in_background", [False, True], ids=["idle", "while others run"])
def test_a_process_ends_at_once(in_background):
    script = END.replace("IN_BACKGROUND", str(in_background))
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
