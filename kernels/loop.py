"""Loops of machine code: a program that runs many times without a return to Python between two iterations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .isa import Isa
from .program import Call, Program
from .spec import Spec


@dataclass(frozen=True)
class Loop:
    """Specification of the kernel that calls the `Runner` in a loop."""

    emitter = "loop"
    # runner, table: code and arguments of the runner. moves, count: addresses to write before an iteration, see
    # `emit.loop`. Iterations first..end run, until a byte `go` is 0 or one of the faults is not. done: where the number
    # of the next iteration is written.
    arguments = (
        *("runner", "table", "moves", "count", "first", "end"),
        *("go_even", "go_odd", "faults", "fault_count", "done"),
    )


@dataclass(frozen=True)
class Moving:
    """Memory of a slot that is another one in each iteration: iteration i uses `even` or `odd`, plus i * `stride`.

    Attributes
    ----------
    even, odd : addresses for even and for odd iterations.
    stride : distance in bytes from one iteration to the next.
    """

    even: int
    odd: int
    stride: int = 0


class LoopProgram(Program):
    """A program that is the body of a loop.

    Parameters
    ----------
    isa, threads
        See `Program`. On several threads, the list of each thread ends with a barrier.
    """

    def __init__(self, isa: Isa, threads: Sequence[Sequence[Call | None]]) -> None:
        super().__init__(isa, threads)
        ends = np.cumsum([sum(len(call.spec.arguments) for call in calls if call) for calls in threads])
        self._thread_of = np.searchsorted(ends, np.arange(len(self._values)), side="right")
        self._loop = 0  # address of the machine code of the loop, once it is loaded

    def specs(self) -> list[Spec]:
        """Return the specifications of all calls, of the runner and of the loop."""
        return [Loop(), *super().specs()]

    def set_machine_code(self, addresses: Sequence[int]) -> None:
        """Fill in the addresses of the machine code of `specs`."""
        loop, *others = addresses
        super().set_machine_code(others)
        self._loop = loop

    def iterate(
        self,
        arrays: Mapping[str, NDArray[Any]],
        moving: Mapping[str, Moving],
        go: Moving,
        faults: NDArray[np.int64] | None,
        first: int,
        end: int,
    ) -> int:
        """Run iterations until their end, until a byte says so, or until a fault; return the number of the next one.

        Parameters
        ----------
        arrays
            Arrays of the slots that do not move, by name.
        moving
            Memory of the slots that do.
        go
            Byte that each iteration leaves, 0 for no further one.
        faults
            Numbers that are not 0 after an iteration that failed. On several threads only the caller looks at them:
            one thread may be an iteration ahead.
        first, end
            Number of the first iteration, and number before which the last one ends.
        """
        self.prepare(arrays, moving)
        rows = []
        for name, places, offsets in self._places:
            if name in moving:
                one = moving[name]
                block = np.empty((len(places), 5), np.int64)
                block[:, 0], block[:, 1] = self._thread_of[places], self._values.ctypes.data + 8 * places
                block[:, 2], block[:, 3], block[:, 4] = one.even + offsets, one.odd + offsets, one.stride
                rows.append(block)
        table = np.concatenate(rows) if rows else np.zeros((0, 5), np.int64)
        moves = [np.ascontiguousarray(table[table[:, 0] == t, 1:]) for t in range(len(self._parts))]
        done = np.full(len(self._parts), first, np.int64)
        checked = faults is not None and len(self._parts) == 1
        fault_at, fault_count = (faults.ctypes.data, faults.size) if checked and faults is not None else (0, 0)
        given = np.array(
            [
                [
                    self._kernels[0],
                    start,
                    one.ctypes.data,
                    len(one),
                    first,
                    end,
                    go.even,
                    go.odd,
                    fault_at,
                    fault_count,
                    at,
                ]
                for start, one, at in zip(self._parts, moves, done.ctypes.data + 8 * np.arange(len(done)), strict=True)
            ],
            np.int64,
        )
        self.start(self._loop, given.ctypes.data + given.strides[0] * np.arange(len(given)))
        return int(done[0])
