"""Points on worker processes of this machine, which may die.

A point can kill the process that computes it: memory may run out, a kernel may crash. One pool of N processes cannot
say which point it was, because the pool breaks as a whole. So each worker here is a pool of one process that computes
one point at a time: when a pool breaks, the point is known. The worker is started again, and the point is begun again,
`TRIES` times at most; then the point is a row with an error, and the other points continue.

A future in the table `busy` is either a start of a worker (without a point) or a point. The loop waits for any of them,
yields outcomes, and gives each idle worker the next point. Workers ignore Ctrl-C: the parent process ends them, and a
worker whose parent is gone ends by itself. Processes are spawned, because a fork after OpenMP has started hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import active_children, get_context, parent_process, resource_tracker
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from typing import Any

from qengine.analysis.sweep.points import Point
from qengine.analysis.sweep.row import Outcome
from qengine.analysis.sweep.work import Work, evaluate, opened
from qengine.errors import SweepError

TRIES = 3
"""Number of times that a point is begun whose worker dies."""

Outcomes = Generator[tuple[Point, Outcome], None, None]
"""Iterator of points with their outcomes, in the order in which they finish."""

_KILL_SECONDS = 10.0  # seconds until a killed process has ended


def in_turn(work: Work, points: Sequence[Point]) -> Outcomes:
    """Compute points in this process, one after the other."""
    for point in points:
        yield point, evaluate(work, point)


def in_processes(work: Work, points: Sequence[Point], jobs: int) -> Outcomes:
    """Compute points in worker processes, and yield each as it is finished.

    Closing the iterator ends the processes.

    Raises
    ------
    SweepError
        If workers cannot be started, or see another model or other data.
    """
    waiting, tries = deque(points), Counter[Point]()
    workers = [_Worker(work) for _ in range(min(jobs, len(points)))]
    busy: dict[Future[Any], tuple[_Worker, Point | None]] = {}
    try:
        for worker in workers:
            busy[worker.begin()] = (worker, None)
        while busy:
            done, _ = wait(busy, return_when=FIRST_COMPLETED)
            for future in done:
                worker, point = busy.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    end = worker.reap()
                    if point is not None:
                        tries[point] += 1
                        if tries[point] < TRIES:
                            waiting.appendleft(point)
                        else:
                            error = f"the worker process ended {TRIES} times while it computed this, last by {end}"
                            yield point, Outcome(error=error, tries=TRIES)
                    elif worker.starts >= TRIES:
                        raise SweepError(
                            f"worker processes end as they start, last by {end}; a script that runs a sweep needs "
                            "if __name__ == '__main__'"
                        ) from None
                    if waiting or point is None:
                        busy[worker.begin()] = (worker, None)
                    continue
                if point is not None:
                    yield point, replace(outcome, tries=tries[point] + 1)
                if waiting:
                    try:
                        future = worker.submit(waiting[0])
                        busy[future] = (worker, waiting.popleft())
                    except BrokenProcessPool:  # it died while it was idle
                        worker.stop()
                        busy[worker.begin()] = (worker, None)
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process that computes one point at a time."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._executor: ProcessPoolExecutor | None = None
        self._processes: set[BaseProcess] = set()
        self.starts = 0

    def begin(self) -> Future[Any]:
        """Start the process; the future is done when it can compute."""
        self.starts += 1
        self._executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)
        before = set(active_children())
        with without_interrupts():
            future = self._executor.submit(_open, self._work)
        self._processes = set(active_children()) - before
        return future

    def submit(self, point: Point) -> Future[Outcome]:
        """Return the future of a point, which the process computes."""
        assert self._executor is not None
        future = self._executor.submit(evaluate, self._work, point)
        self.starts = 0
        return future

    def reap(self) -> str:
        """Return the cause of the end of a process that has ended: its signal or its exit status."""
        self.stop()
        for process in self._processes:
            code = process.exitcode
            if code is not None and code < 0:
                with contextlib.suppress(ValueError):
                    return f"signal {-code} ({signal.Signals(-code).name})"
            return f"exit status {code}"
        return "an unknown cause"

    def stop(self) -> None:
        """Kill the process, and wait until it has ended."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join(_KILL_SECONDS)
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Block Ctrl-C in processes and threads that are started in this context: the parent process ends them."""
    if sys.platform == "win32":  # which has no masks: a process is deaf to Ctrl-C from `_begin` on
        yield
        return
    resource_tracker.ensure_running()  # which lets Ctrl-C through again where it is started later
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Prepare a worker process: it ignores Ctrl-C, and ends when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        wait_for([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _open(work: Work) -> None:
    opened(work)
