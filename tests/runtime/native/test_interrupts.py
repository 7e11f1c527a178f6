"""Interrupts, forks and threads that come and go: nothing hangs, and the next run is right."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
from children import start
from runtime.native.native import ISAS
from runtime.native.test_networks import MIXED

from qengine import InferenceSession

COMMON = """
import os, signal, sys, threading, time
import numpy as np
from qengine import InferenceSession, zoo
path = str(zoo.find("digits").path)
def session():
    return InferenceSession(path, isa=sys.argv[1], threads=2, qformat="Q3.4")
x = np.random.default_rng(0).random((8, 1, 28, 28), dtype=np.float32)
def run(s):
    return s.run(None, {s.get_inputs()[0].name: x}, raw=True)[0]
"""

INTERRUPTED = """
s = session()
expected, caught, armed, stop = run(s), 0, False, []
def raise_once(*_):  # nothing is raised where nobody would catch it
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt
signal.signal(signal.SIGINT, raise_once)
def interrupt():
    while not stop:
        time.sleep(0.0007)
        os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
while caught < 40:
    try:
        armed = True
        while True:
            assert (run(s) == expected).all()
    except KeyboardInterrupt:
        caught += 1
stop.append(1)
assert (run(s) == expected).all()
print("caught", caught)
"""

FORKED = """
mine, other = session(), session()
expected = run(mine)
at_work = threading.Barrier(3)
def work(s):
    run(s)
    at_work.wait()
    while True:
        run(s)
for s in (mine, other):
    threading.Thread(target=work, args=(s,), daemon=True).start()
at_work.wait()
for _ in range(25):
    child = os.fork()
    if child == 0:
        right = (run(mine) == expected).all() and (run(session()) == expected).all()
        os._exit(0 if right else 3)
    end = time.time() + 20
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.time() > end:
            os.kill(child, signal.SIGKILL)
            sys.exit("a child hangs")
        time.sleep(0.002)
print("done")
"""


def process(script):
    child = start([sys.executable, "-W", "ignore", "-c", COMMON + script, ISAS[0]])
    try:
        output, error = child.communicate(timeout=180)
    finally:
        child.kill()
    return child.returncode, output, error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_interrupts_at_any_time():
    status, output, error = process(INTERRUPTED)
    assert (status, output) == (0, "caught 40\n"), error


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_while_others_run():
    status, output, error = process(FORKED)
    assert (status, output) == (0, "done\n"), error


def test_threads_do_not_pile_up():
    feeds = {"x": np.ones((2, 3, 6, 7), np.float32)}
    InferenceSession(MIXED, isa=ISAS[0], threads=2, qformat="Q2.5").run(None, feeds)
    before = threading.active_count()
    for _ in range(5):
        InferenceSession(MIXED, isa=ISAS[0], threads=2, qformat="Q2.5").run(None, feeds)
    assert threading.active_count() == before
