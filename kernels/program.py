"""Calls of kernels, run one after the other without coming back to Python; several threads, where there are several.

Each thread has a list of calls of its own. A barrier in all of the lists is where the threads wait for each other.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import ENTRY, address
from .isa import Isa
from .locks import Lock


@dataclass(frozen=True)
class Runner:
    """The kernel that calls the others."""

    emitter = "runner"
    arguments = ("calls", "count", "meeting", "threads")


@dataclass(frozen=True)
class Slot:
    """An address that is known when a run begins: some bytes into an array of that name."""

    name: str
    offset: int = 0

    def __add__(self, more: int) -> "Slot":
        return Slot(self.name, self.offset + more)


@dataclass(frozen=True)
class Call:
    """A kernel and its arguments, by name.

    Attributes
    ----------
    spec : specification of the kernel, a `Spec`.
    arguments : integers, or a `Slot` where an address is only known at run time.
    """

    spec: Any
    arguments: Mapping[str, int | Slot]

    def __post_init__(self) -> None:
        if set(self.arguments) != set(self.spec.arguments):
            odd = sorted(set(self.arguments) ^ set(self.spec.arguments))
            raise ValueError(f"{self.spec} is not called with {odd}")


BARRIER = None
"""In a list of calls: wait for the other threads."""


class Program:
    """Calls that are ready to run.

    Parameters
    ----------
    isa
        What the kernels are compiled for.
    threads
        For each thread its calls; barriers are as many in each.
    """

    def __init__(self, isa: Isa, threads: Sequence[Sequence[Call | None]]) -> None:
        self.isa, self.calls = isa, threads
        self._alive: list[NDArray[np.int64]] = []
        self._slots: list[tuple[NDArray[np.int64], int, Slot]] = []
        self._meeting = np.array([0, 0, _yield_address()], np.int64)
        self._run = ENTRY(address(Runner(), isa))
        self._entries = [self._table(calls, len(threads)) for calls in threads]
        self._is_open = False  # a run on several threads has begun, and is not known to have ended

    def _table(self, calls: Sequence[Call | None], threads: int) -> NDArray[np.int64]:
        table = np.zeros((len(calls), 2), np.int64)
        for i, call in enumerate(calls):
            if call is None:
                continue
            values = np.zeros(len(call.spec.arguments), np.int64)
            for j, name in enumerate(call.spec.arguments):
                value = call.arguments[name]
                if isinstance(value, Slot):
                    self._slots.append((values, j, value))
                else:
                    values[j] = value
            self._alive.append(values)
            table[i] = address(call.spec, self.isa), values.ctypes.data
        self._alive.append(table)
        return np.array([table.ctypes.data, len(table), self._meeting.ctypes.data, threads], np.int64)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Run all calls; one run at a time.

        Parameters
        ----------
        arrays
            What the slots are of: contiguous, and at least as large as the calls believe.
        """
        if self._is_open:
            # A run that was interrupted may not have ended, or never have come to the crew: what comes after it has.
            _crew(len(self._entries)).run(_Job([_nothing] * len(self._entries), None))
        self._meeting[0] = 0  # in a forked child, threads that are no more may have come to a barrier
        for values, place, slot in self._slots:
            values[place] = arrays[slot.name].ctypes.data + slot.offset
        if len(self._entries) == 1:
            self._enter(self._entries[0])
            return
        # The arrays stay until the last thread is done with them, whatever becomes of this one.
        job = _Job([partial(self._enter, entry) for entry in self._entries], arrays)
        self._is_open = True
        _crew(len(self._entries)).run(job)
        self._is_open = False

    def _enter(self, entry: NDArray[np.int64]) -> None:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        self._run(ctypes.addressof(result), ctypes.addressof(exception), entry.ctypes.data)


def _yield_address() -> int:
    """Return the address of a function that gives the core to another thread, 0 where there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (AttributeError, OSError, TypeError):
        return 0


_OTHERS_TOO = 0.1  # seconds until one who waits looks again: another one may have taken the lock that tells the end


def _nothing() -> None:
    """Be a part of a job that only comes after another."""


class _Job:
    """Parts that must run at the same time, as they wait for each other.

    Attributes
    ----------
    parts : one for each thread.
    kept : what must live as long as they run.
    """

    def __init__(self, parts: Sequence[Callable[[], None]], kept: Any) -> None:
        self.parts, self.kept = parts, kept
        self.error: BaseException | None = None
        self._process = os.getpid()
        self._has_ended = False
        # Not a threading.Event: its lock, which is taken in Python, an interrupt could leave taken for ever.
        self._end = threading.Lock()
        self._end.acquire()

    def finish(self) -> None:
        """Let whoever waits go on."""
        self.kept = None
        self._has_ended = True
        self._end.release()

    def wait(self) -> None:
        """Wait until all parts have run. An interrupt that comes meanwhile is raised then, and not before."""
        interrupt: BaseException | None = None
        while not self._has_ended and self._process == os.getpid():  # a forked child has no threads to wait for
            try:
                self._end.acquire(timeout=_OTHERS_TOO)
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt
        if self.error is not None:
            raise self.error


class _Crew:
    """Threads that do one job after the other, all of them each.

    The thread that asks for a job only waits. It may be the main thread, where an interrupt can come between any two
    steps; that a job has begun must not depend on it. So the first thread of the crew gets the job in one step, tells
    the others, and tells when it is done. None of them ever sees an interrupt.
    """

    def __init__(self, threads: int) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._parts: list[SimpleQueue[Callable[[], None]]] = [SimpleQueue() for _ in range(threads - 1)]
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        work: list[Callable[[], None]] = [self._lead, *(partial(self._follow, parts) for parts in self._parts)]
        for target in work:
            threading.Thread(target=target, name="qengine", daemon=True).start()

    def run(self, job: _Job) -> None:
        """Run a job after those before it."""
        self._jobs.put(job)
        job.wait()

    def _lead(self) -> None:
        while True:
            job = self._jobs.get()
            for parts, part in zip(self._parts, job.parts[1:], strict=True):
                parts.put(part)
            errors = [_outcome(job.parts[0]), *(self._ended.get() for _ in self._parts)]
            job.error = next((error for error in errors if error is not None), None)
            job.finish()

    def _follow(self, parts: "SimpleQueue[Callable[[], None]]") -> None:
        while True:
            self._ended.put(_outcome(parts.get()))


def _outcome(part: Callable[[], None]) -> BaseException | None:
    try:
        part()
    except BaseException as error:
        return error
    return None


_CREWS: dict[int, _Crew] = {}
_CREWS_LOCK = Lock()


def _crew(threads: int) -> _Crew:
    with _CREWS_LOCK.held:
        if threads not in _CREWS:
            _CREWS[threads] = _Crew(threads)
        return _CREWS[threads]


if hasattr(os, "register_at_fork"):
    # A forked child has no threads but the one that forked.
    os.register_at_fork(after_in_child=_CREWS.clear)
