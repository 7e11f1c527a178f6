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

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .address import address
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
        if self.arguments.keys() != set(self.spec.arguments):
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
        self._kernels: tuple[int, ...] = ()  # machine code of the runner and the team, once it is loaded
        values: list[int] = []
        slots: dict[str, list[tuple[int, int]]] = {}  # (place among the values, offset) by the array's name
        starts = [place for calls in threads for place in self._add_arguments(calls, values, slots)]
        self._values = np.array(values, np.int64)
        self._places: list[tuple[str, NDArray[np.int64], NDArray[np.int64]]] = []
        for name, pairs in slots.items():
            places, offsets = np.array(pairs, np.int64).T
            self._places.append((name, np.ascontiguousarray(places), np.ascontiguousarray(offsets)))
        # Rows of machine code and arguments: the calls of the first thread, then those of the second.
        self._table = np.zeros((len(starts), 2), np.int64)
        self._table[:, 1] = np.array(starts, np.int64) * 8 + self._values.ctypes.data
        self._spans = self._table_spans()
        sections, count = self._spans.shape[:2]
        self._state = np.zeros(_LINE + sections * count, np.int64)  # parts that are done; those that are taken
        done = self._state.ctypes.data
        shared = (sections, count, self._spans.ctypes.data, done + 8 * _LINE, done, yield_address())
        self._arguments = np.array([(*shared, part) for part in range(count)], np.int64)
        self._parts = self._arguments.ctypes.data + np.arange(count) * self._arguments.strides[0]

    @staticmethod
    def _add_arguments(
        calls: Sequence[Call | None], values: list[int], slots: dict[str, list[tuple[int, int]]]
    ) -> list[int]:
        """Append the arguments of a thread's calls to the values; return the place of the first one of each call."""
        starts = []
        for entry in calls:
            if entry is None:
                continue
            starts.append(len(values))
            for name in entry.spec.arguments:
                value = entry.arguments[name]
                if isinstance(value, Slot):
                    slots.setdefault(value.name, []).append((len(values), value.offset))
                    value = 0
                values.append(value)
        return starts

    def _table_spans(self) -> NDArray[np.int64]:
        """Return the address of the first row and the number of rows of each part: (sections, threads, 2)."""
        ends = [[i for i, entry in enumerate((*calls, BARRIER)) if entry is BARRIER] for calls in self.calls]
        counts = np.diff(np.array(ends, np.int64), axis=1, prepend=-1) - 1
        if len(self.calls) == 1:
            counts = counts.sum(axis=1, keepdims=True)  # one thread waits for nobody
        rows = np.cumsum(counts).reshape(counts.shape) - counts
        spans = np.stack([self._table.ctypes.data + rows * self._table.strides[0], counts], axis=2)
        return np.ascontiguousarray(spans.swapaxes(0, 1))

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
        self.prepare(arrays)
        self.start()

    def prepare(self, arrays: Mapping[str, NDArray[Any]], without: Collection[str] = ()) -> None:
        """Load the machine code if it is not there, and fill in slots.

        Parameters
        ----------
        arrays
            Arrays of the slots by name.
        without
            Names of slots that keep their addresses.
        """
        if not self._kernels:
            load([self])
        for name, places, offsets in self._places:
            if name not in without:
                self._values[places] = offsets + arrays[name].__array_interface__["data"][0]

    def start(self, use: Callable[[int, int], None] = call) -> None:
        """Run all calls once, on all threads, and wait for the end of all.

        Parameters
        ----------
        use
            Function that calls a kernel, once or more often, by the address of its machine code and of its arguments.
        """
        runner, *kernels = self._kernels
        if not kernels:
            use(runner, int(self._parts[0]))
            return
        threads = team(len(self.calls), *kernels)
        with threads.turn.guard:
            use(*threads.hand_over(runner, self._parts, self._state))


def load(programs: Sequence[Program]) -> None:
    """Load the machine code of programs of one instruction set, compiling together all kernels that are new."""
    if programs:
        specs = [program.specs() for program in programs]
        left = iter(addresses([spec for some in specs for spec in some], programs[0].isa))
        for program, some in zip(programs, specs, strict=True):
            program.set_machine_code(list(islice(left, len(some))))


_ADDRESSES: dict[tuple[Any, Isa], int] = {}


def run_call(entry: Call, isa: Isa) -> None:
    """Run one call on this thread, at once: for work on arrays that are there, which no program repeats."""
    key = (entry.spec, isa)
    if key not in _ADDRESSES:
        _ADDRESSES[key] = addresses([entry.spec], isa)[0]
    values = np.array([entry.arguments[name] for name in entry.spec.arguments], np.int64)
    call(_ADDRESSES[key], address(values))
