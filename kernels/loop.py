"""Loops of machine code: a program that runs many times without a return to Python between two iterations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .isa import Isa
from .program import Call, Program
from .spec import Spec
from .team import call


@dataclass(frozen=True)
class Loop:
    """Specification of the kernel that runs a program in a loop."""

    emitter = "loop"
    # code, given: machine code and arguments of the kernel that runs the program once. moves, count: addresses to write
    # before an iteration, see `emit.loop`. Iterations first..end run, until a byte `go` is 0 or one of the faults is
    # not. done: where the number of the next iteration is written.
    arguments = (
        *("code", "given", "moves", "count", "first", "end"),
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
        See `Program`.
    """

    def __init__(self, isa: Isa, threads: Sequence[Sequence[Call | None]]) -> None:
        super().__init__(isa, threads)
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
            Numbers that are not 0 after an iteration that failed; None where none can.
        first, end
            Number of the first iteration, and number before which the last one ends.
        """
        self.prepare(arrays, moving)
        rows = []
        for name, places, offsets in self._places:
            if name in moving:
                one = moving[name]
                block = np.empty((len(places), 4), np.int64)
                block[:, 0] = self._values.ctypes.data + 8 * places
                block[:, 1], block[:, 2], block[:, 3] = one.even + offsets, one.odd + offsets, one.stride
                rows.append(block)
        moves = np.concatenate(rows) if rows else np.zeros((0, 4), np.int64)
        done = np.full(1, first, np.int64)
        fault_at, fault_count = (0, 0) if faults is None else (faults.ctypes.data, faults.size)
        given = np.zeros(len(Loop.arguments), np.int64)
        given[2:] = (
            *(moves.ctypes.data, len(moves), first, end),
            *(go.even, go.odd, fault_at, fault_count, done.ctypes.data),
        )

        def repeat(code: int, arguments: int) -> None:
            given[:2] = code, arguments
            call(self._loop, given.ctypes.data)

        self.start(repeat)
        return int(done[0])
