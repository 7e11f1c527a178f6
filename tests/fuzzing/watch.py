"""Workers that run cases, and a parent that sees when one dies, hangs, or gives a wrong outcome.

A worker is a forked process. It announces the number of each case through a pipe before it runs the case. Where it dies
or takes longer than the limit, the parent counts the announced case as a crash or a hang, and starts another worker at
the next case.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from time import monotonic

from .model_cases import Outcome

RunCase = Callable[[int], Outcome]
"""(number of the case) -> outcome."""


@dataclass
class Summary:
    """Counts and failures of a run.

    Attributes
    ----------
    counts : number of cases by kind of outcome.
    failures : number of the case, and its outcome, for each case that is not right.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, Outcome]] = field(default_factory=list)

    def add(self, number: int, outcome: Outcome) -> None:
        """Count an outcome."""
        self.counts[outcome.kind] += 1
        if not outcome.is_right or outcome.kind in ("crash", "hang"):
            self.failures.append((number, outcome))


class _Worker:
    """A forked process that runs cases in ascending order.

    Attributes
    ----------
    number : case that runs now.
    began : time at which it began, in seconds.
    """

    def __init__(self, numbers: range, run_case: RunCase, memory: int) -> None:
        self.numbers, self.run_case, self.memory = numbers, run_case, memory
        self._start(numbers)

    def _start(self, numbers: range) -> None:
        self.connection, theirs = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_work, args=(theirs, numbers, self.run_case, self.memory), daemon=True)
        self.process.start()
        theirs.close()
        self.number, self.began = numbers.start, monotonic()

    def restart_after(self, number: int) -> bool:
        """End the process and start another one after a case; whether there are cases left."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        rest = self.numbers[self.numbers.index(number) + 1 :]
        if rest:
            self._start(rest)
        return bool(rest)


def _work(connection: Connection, numbers: Iterable[int], run_case: RunCase, memory: int) -> None:
    import resource

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - a descriptor for dup2
        os.dup2(nothing.fileno(), 2)  # libraries write there what a user never reads
    for number in numbers:
        connection.send((number, None))
        connection.send((number, run_case(number)))
    connection.send(None)


def run(
    numbers: range, run_case: RunCase, *, jobs: int, limit: float, memory: int, report: Callable[[int], None]
) -> Summary:
    """Run cases in worker processes, and return the summary.

    Parameters
    ----------
    numbers
        Numbers of the cases.
    run_case
        Function that runs one; it is called in a forked process.
    jobs
        Number of processes.
    limit
        Seconds after which a case counts as a hang.
    memory
        Bytes of address space of a process.
    report
        Function that is called with the number of finished cases.
    """
    summary = Summary()
    workers = [_Worker(numbers[k::jobs], run_case, memory) for k in range(min(jobs, len(numbers)))]
    while workers:
        ready = wait([worker.connection for worker in workers], timeout=1)
        for worker in list(workers):
            if worker.connection in ready:
                alive = _receive(worker, summary)
            elif monotonic() - worker.began > limit:
                summary.add(worker.number, Outcome("hang", f"longer than {limit:g} s"))
                alive = worker.restart_after(worker.number)
            else:
                alive = True
            if not alive:
                workers.remove(worker)
        report(summary.counts.total())
    return summary


def _receive(worker: _Worker, summary: Summary) -> bool:
    """Take one message of a worker; whether it has cases left."""
    try:
        message = worker.connection.recv()
    except EOFError:
        worker.process.join()
        summary.add(worker.number, Outcome("crash", f"exit status {worker.process.exitcode}"))
        return worker.restart_after(worker.number)
    if message is None:
        worker.process.join()
        return False
    number, outcome = message
    worker.number, worker.began = number, monotonic()
    if outcome is not None:
        summary.add(number, outcome)
    return True
