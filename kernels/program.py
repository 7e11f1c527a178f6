"""Programs: lists of kernel calls that run without a return to Python, on one thread or several.

A run of a small network is some hundred calls of kernels, each of a few microseconds: calling them one by one from
Python would take longer than the work. So a program writes its calls into tables of 64-bit integers when it is made,
and a run calls one kernel, the `Runner`, once per thread: it goes through the thread's table. All arguments are known
by then except the addresses of the caller's arrays, which are `Slot`s: a run fills them in when it begins.

Each thread has a table of its own. A *barrier*, an entry at the same place of every table's order, makes the threads
wait for each other, so that a kernel can read what another thread wrote. The parts of a job must therefore run at the
same time: a pool of threads of exactly that size runs them, and jobs of one pool run one after the other.

Python raises KeyboardInterrupt in the main thread, between any two of its steps, while kernels know no interrupts. So
the threads of a pool do the work and the caller only waits: an interrupt is raised when all parts have ended, and the
arrays live until then. In a forked child the pool's threads do not exist; it starts new ones.
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
    """Specification of the kernel that calls the others."""

    emitter = "runner"
    arguments = ("calls", "count", "barrier", "threads")


@dataclass(frozen=True)
class Slot:
    """Address that is known when a run begins: `offset` bytes into the array of a name.

    Attributes
    ----------
    name : name of the array in the mapping that `Program.run` is given.
    offset : distance in bytes from the array's first element.
    """

    name: str
    offset: int = 0

    def __add__(self, more: int) -> "Slot":
        return Slot(self.name, self.offset + more)


@dataclass(frozen=True)
class Call:
    """Kernel and its arguments by name.

    Attributes
    ----------
    spec : specification of the kernel, a `Spec`.
    arguments : an integer, or a `Slot` for an address that is only known at run time, for each of `spec.arguments`.

    Raises
    ------
    ValueError
        If an argument is missing, or is not one of the kernel's.
    """

    spec: Any
    arguments: Mapping[str, int | Slot]

    def __post_init__(self) -> None:
        if set(self.arguments) != set(self.spec.arguments):
            missing = sorted(set(self.spec.arguments) - set(self.arguments))
            unknown = sorted(set(self.arguments) - set(self.spec.arguments))
            raise ValueError(f"the arguments of {self.spec}: {missing} are missing, {unknown} are unknown")


BARRIER = None
"""Entry in a list of calls that makes a thread wait for the others."""


class Program:
    """Calls of kernels, ready to run.

    Parameters
    ----------
    isa
        Instruction set that the kernels are compiled for.
    threads
        List of calls of each thread; all lists have the same number of barriers.
    """

    def __init__(self, isa: Isa, threads: Sequence[Sequence[Call | None]]) -> None:
        self.isa, self.calls = isa, threads
        self._memory: list[NDArray[np.int64]] = []
        self._slots: list[tuple[NDArray[np.int64], int, Slot]] = []
        self._barrier = np.array([0, 0, _yield_address()], np.int64)  # see `emit.runner`
        self._run = ENTRY(address(Runner(), isa))
        self._arguments = [self._table(calls, len(threads)) for calls in threads]
        self._may_be_running = False  # a run on several threads has begun, and is not known to have ended

    def _table(self, calls: Sequence[Call | None], threads: int) -> NDArray[np.int64]:
        """Write a thread's calls into a table; return the arguments of the runner."""
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
            self._memory.append(values)
            table[i] = address(call.spec, self.isa), values.ctypes.data
        self._memory.append(table)
        return np.array([table.ctypes.data, len(table), self._barrier.ctypes.data, threads], np.int64)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Run all calls; only one run at a time is allowed.

        Parameters
        ----------
        arrays
            Arrays of the slots by name: contiguous, and at least as large as the calls assume.
        """
        if self._may_be_running:
            # A run that was interrupted may still be running, or may never have reached the pool. It has ended when an
            # empty job that comes after it has.
            _pool(len(self._arguments)).run(_Job([_do_nothing] * len(self._arguments), None))
        self._barrier[0] = 0  # threads that do not exist in a forked child may have arrived at a barrier
        for values, position, slot in self._slots:
            values[position] = arrays[slot.name].ctypes.data + slot.offset
        if len(self._arguments) == 1:
            self._run_table(self._arguments[0])
            return
        # The job keeps the arrays until the last thread has ended, even if this thread is interrupted.
        job = _Job([partial(self._run_table, arguments) for arguments in self._arguments], arrays)
        self._may_be_running = True
        _pool(len(self._arguments)).run(job)
        self._may_be_running = False

    def _run_table(self, arguments: NDArray[np.int64]) -> None:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        self._run(ctypes.addressof(result), ctypes.addressof(exception), arguments.ctypes.data)


_FUNCTIONS: dict[tuple[Any, Isa], Any] = {}


def run_call(call: Call, isa: Isa) -> None:
    """Run one call on this thread, at once: for work on arrays that are there, which no program repeats."""
    key = (call.spec, isa)
    if key not in _FUNCTIONS:
        _FUNCTIONS[key] = ENTRY(address(call.spec, isa))
    values = np.array([call.arguments[name] for name in call.spec.arguments], np.int64)
    result, exception = ctypes.c_int64(), ctypes.c_void_p()
    _FUNCTIONS[key](ctypes.addressof(result), ctypes.addressof(exception), values.ctypes.data)


def _yield_address() -> int:
    """Return the address of a C function that gives the core to another thread, 0 if there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (AttributeError, OSError, TypeError):
        return 0


_POLL_SECONDS = 0.1
"""Seconds until a waiting thread checks again: another thread may have taken the lock that signals the end."""


def _do_nothing() -> None:
    """Do nothing. The end of a job of these parts shows that all earlier jobs have ended."""


class _Job:
    """Work for all threads of a pool, in parts that must run at the same time because they wait for each other.

    Attributes
    ----------
    parts : function that each thread calls.
    memory : objects that must live until all parts have ended.
    error : the first error that a part raised.
    """

    def __init__(self, parts: Sequence[Callable[[], None]], memory: Any) -> None:
        self.parts, self.memory = parts, memory
        self.error: BaseException | None = None
        self._process = os.getpid()
        self._has_ended = False
        # Not a threading.Event: an interrupt could leave its lock, which is taken in Python, taken forever.
        self._end = threading.Lock()
        self._end.acquire()

    def finish(self) -> None:
        """Wake the thread that waits."""
        self.memory = None
        self._has_ended = True
        self._end.release()

    def wait(self) -> None:
        """Wait until all parts have ended; then raise the interrupt that came meanwhile, or the error of a part."""
        interrupt: BaseException | None = None
        while not self._has_ended and self._process == os.getpid():  # a forked child has no threads to wait for
            try:
                self._end.acquire(timeout=_POLL_SECONDS)
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt
        if self.error is not None:
            raise self.error


class ThreadsError(RuntimeError):
    """The threads of a run cannot be started."""


class _ThreadPool:
    """Threads that run one job after the other, each thread one part of every job.

    The thread that requests a job only waits. It may be the main thread, where an interrupt can come between any two
    steps, and it must not be possible that only some of the parts have begun. So it hands the job to the first thread
    of the pool in one step; that thread hands out the parts, runs its own, and signals the end. None of the pool's
    threads ever sees an interrupt.
    """

    def __init__(self, threads: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._parts: list[SimpleQueue[Callable[[], None] | None]] = [SimpleQueue() for _ in range(threads - 1)]
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        work: list[Callable[[], None]] = [self._lead, *(partial(self._follow, parts) for parts in self._parts)]
        for count, target in enumerate(work):
            try:
                threading.Thread(target=target, name="qengine", daemon=True).start()
            except RuntimeError:
                self._jobs.put(None)  # those that have started end
                for parts in self._parts:
                    parts.put(None)
                raise ThreadsError(f"{threads} threads are needed, and {count} can be started") from None

    def run(self, job: _Job) -> None:
        """Run a job after the jobs before it, and wait for its end."""
        self._jobs.put(job)
        job.wait()

    def _lead(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            for parts, part in zip(self._parts, job.parts[1:], strict=True):
                parts.put(part)
            errors = [_outcome(job.parts[0]), *(self._ended.get() for _ in self._parts)]
            job.error = next((error for error in errors if error is not None), None)
            job.finish()

    def _follow(self, parts: "SimpleQueue[Callable[[], None] | None]") -> None:
        while (part := parts.get()) is not None:
            self._ended.put(_outcome(part))


def _outcome(part: Callable[[], None]) -> BaseException | None:
    """Return the error that a part raises, or None."""
    try:
        part()
    except BaseException as error:
        return error
    return None


_POOLS: dict[int, _ThreadPool] = {}
_POOLS_LOCK = Lock()


def _pool(threads: int) -> _ThreadPool:
    with _POOLS_LOCK.guard:
        if threads not in _POOLS:
            _POOLS[threads] = _ThreadPool(threads)
        return _POOLS[threads]


if hasattr(os, "register_at_fork"):
    # A forked child has only the thread that forked.
    os.register_at_fork(after_in_child=_POOLS.clear)
