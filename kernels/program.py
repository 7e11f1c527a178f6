"""Calls of kernels, run one after the other without coming back to Python; several threads, where there are several.

Each thread has a list of calls of its own. A barrier in all of the lists is where the threads wait for each other.
"""

import ctypes
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import ENTRY, address
from .isa import Isa


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
    spec : the kernel.
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
        self._result, self._exception = ctypes.c_int64(), ctypes.c_void_p()

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
        for values, place, slot in self._slots:
            values[place] = arrays[slot.name].ctypes.data + slot.offset
        if len(self._entries) == 1:
            self._enter(self._entries[0])
        else:
            _crew(len(self._entries)).run([lambda e=e: self._enter(e) for e in self._entries])

    def _enter(self, entry: NDArray[np.int64]) -> None:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        self._run(ctypes.addressof(result), ctypes.addressof(exception), entry.ctypes.data)


def _yield_address() -> int:
    """Return the address of a function that gives the core to another thread, 0 where there is none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (AttributeError, OSError, TypeError):
        return 0


class _Crew:
    """Threads that run one program at a time: threads that wait for each other must all be running."""

    def __init__(self, threads: int) -> None:
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="qengine")

    def run(self, parts: Sequence[Any]) -> None:
        """Run the parts, the first in this thread."""
        with self._lock:
            others = [self._pool.submit(part) for part in parts[1:]]
            parts[0]()
            for other in others:
                other.result()


_CREWS: dict[int, _Crew] = {}
_CREWS_LOCK = threading.Lock()


def _crew(threads: int) -> _Crew:
    with _CREWS_LOCK:
        if threads not in _CREWS:
            _CREWS[threads] = _Crew(threads)
        return _CREWS[threads]


if hasattr(os, "register_at_fork"):
    # A forked child has no threads but the one that forked.
    os.register_at_fork(after_in_child=_CREWS.clear)
