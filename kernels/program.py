"""Programs: lists of kernel calls that run without a return to Python, on one thread or several.

A run of a small network is some hundred calls of kernels, each of a few microseconds: calling them one by one from
Python would take longer than the work. So a program writes its calls into tables of 64-bit integers when it is made,
and a run calls one kernel, the `Runner`, once per thread: it goes through the thread's table. All arguments are known
by then except the addresses of the caller's arrays, which are `Slot`s: a run fills them in when it begins.

Each thread has a list of calls. A *barrier*, an entry at the same place of every list's order, makes the threads wait
for each other, so that a kernel can read what another thread wrote. Barriers cut the lists into *sections*, and a
section has a *part* for each thread. What must be done before the next section is all parts, but not by all threads: a
thread takes its own part first, and then those that nobody has taken yet. So where the system has given a thread's core
to another process, the others do its parts, and wait only for what it has begun. The threads are those of a `team`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import addresses
from .isa import Isa
from .spec import Spec
from .team import Follow, Lead, call, team, yield_address


@dataclass(frozen=True)
class Runner:
    """Specification of the kernel that calls the others, on one thread of a run."""

    emitter = "runner"
    arguments = ("sections", "threads", "spans", "taken", "done", "yield_core", "own")


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

_LINE = 8
"""Numbers of a cache line."""


class Program:
    """Calls of kernels. Their machine code is found by `load`, for many programs at once, or when the first run begins.

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
        self._kernels: tuple[int, ...] = ()  # machine code of the runner and the team, once it is loaded
        # Rows of machine code and arguments: the calls of the first thread, then those of the second.
        self._table = np.array([(0, self._values(c)) for calls in threads for c in calls if c is not None], np.int64)
        self._spans = self._table_spans()
        sections, count = self._spans.shape[:2]
        self._state = np.zeros(_LINE + sections * count, np.int64)  # sections that are done; parts that are taken
        done = self._state.ctypes.data
        shared = (sections, count, self._spans.ctypes.data, done + 8 * _LINE, done, yield_address())
        self._arguments = np.array([(*shared, part) for part in range(count)], np.int64)
        self._parts = self._arguments.ctypes.data + np.arange(count) * self._arguments.strides[0]

    def _values(self, call: Call) -> int:
        """Return the address of a call's arguments, as far as they are known."""
        values = np.zeros(len(call.spec.arguments), np.int64)
        for i, name in enumerate(call.spec.arguments):
            value = call.arguments[name]
            if isinstance(value, Slot):
                self._slots.append((values, i, value))
            else:
                values[i] = value
        self._memory.append(values)
        return int(values.ctypes.data)

    def _table_spans(self) -> NDArray[np.int64]:
        """Return the address of the first row and the number of rows of each part: (sections, threads, 2)."""
        lengths = []
        for calls in self.calls:
            ends = [i for i, call in enumerate(calls) if call is BARRIER]
            lengths.append(np.diff([-1, *ends, len(calls)]) - 1)
        counts = np.array(lengths, np.int64).T
        if len(self.calls) == 1:
            counts = counts.sum(axis=0, keepdims=True)  # one thread waits for nobody
        before = np.cumsum(counts.T).reshape(counts.T.shape).T - counts
        row_bytes = 16
        return np.ascontiguousarray(np.stack([self._table.ctypes.data + before * row_bytes, counts], axis=2))

    def specs(self) -> list[Spec]:
        """Return the specifications of the runner, of the team's kernels where there is a team, and of all calls."""
        own: list[Spec] = [Runner(), Lead(), Follow()] if len(self.calls) > 1 else [Runner()]
        return own + [entry.spec for calls in self.calls for entry in calls if entry is not None]

    def set_machine_code(self, addresses: Sequence[int]) -> None:
        """Fill in the addresses of the machine code of `specs`."""
        own = 3 if len(self.calls) > 1 else 1
        if self._table.size:
            self._table[:, 0] = addresses[own:]
        self._kernels = tuple(addresses[:own])

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Run all calls; only one run at a time is allowed.

        Parameters
        ----------
        arrays
            Arrays of the slots by name: contiguous, and at least as large as the calls assume.
        """
        if not self._kernels:
            load([self])
        self._state[:] = 0
        for values, position, slot in self._slots:
            values[position] = arrays[slot.name].ctypes.data + slot.offset
        runner, *team_kernels = self._kernels
        if team_kernels:
            team(len(self.calls), *team_kernels).run(runner, self._parts)
        else:
            call(runner, int(self._parts[0]))


def load(programs: Sequence[Program]) -> None:
    """Load the machine code of programs of one instruction set, compiling together all kernels that are new."""
    if programs:
        specs = [program.specs() for program in programs]
        left = iter(addresses([spec for some in specs for spec in some], programs[0].isa))
        for program, some in zip(programs, specs, strict=True):
            program.set_machine_code(list(islice(left, len(some))))
