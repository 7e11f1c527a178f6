"""One step on native kernels: what it reads, what it writes, and the calls that compute some rows of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.runtime.native.place import Place, View


class Unfit(Exception):  # noqa: N818 - not an error: the reference computes the step
    """Native kernels do not compute a step as it is; the message says why."""


@dataclass(frozen=True)
class Rows:
    """Rows of the output that calls are wanted for.

    Attributes
    ----------
    first, end : rows.
    share, of : which part of the channels, of how many; only of what `Op.splits_channels`.
    """

    first: int
    end: int
    share: int = 0
    of: int = 1

    @property
    def count(self) -> int:
        """How many."""
        return self.end - self.first


@dataclass(eq=False)
class Op(ABC):
    """A step, or a part of one.

    Attributes
    ----------
    inputs, out : what is read and written.
    isa : for which kernels are chosen.
    """

    isa: Isa
    inputs: tuple[Place, ...]
    out: Place
    kernel: str = field(default="", init=False)
    note: str = field(default="", init=False)
    _alive: list[Any] = field(default_factory=list, init=False)

    splits_channels = False

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output are computed from, beyond its edges too.

        None for none. The more rows of the output, the more of the input: never fewer.
        """
        return first, end

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return 0.6 * prod(self.out.shape)

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the operator asks for, whatever the kernel does."""
        return 0

    @property
    def weight_bytes(self) -> int:
        """What it reads again for every band of rows."""
        return 0

    @abstractmethod
    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""

    def keep(self, array: NDArray[Any]) -> int:
        """Return the address of an array that calls read; it stays as long as the op."""
        kept = np.ascontiguousarray(array)
        self._alive.append(kept)
        return int(kept.ctypes.data)

    def aligned(self, array: NDArray[Any]) -> int:
        """Return the address of a copy of bytes at a multiple of 64."""
        room = np.zeros(array.nbytes + 192, np.uint8)  # with room for a vector more, which kernels read beyond a row
        start = -room.ctypes.data % 64
        room[start : start + array.nbytes] = array.view(np.uint8).ravel()
        self._alive.append(room)
        return int(room.ctypes.data) + start


def pieces(total: int, share: int, of: int) -> tuple[int, int]:
    """Return where a share of a total begins and ends."""
    return total * share // of, total * (share + 1) // of


def double_bits(value: float) -> int:
    """Return the bits of a float64 as an integer."""
    return int(np.float64(value).view(np.int64))


def float_bounds(low: float | None, high: float | None) -> NDArray[np.float32]:
    """Return bounds as kernels read them; without one, an infinity."""
    return np.array([-np.inf if low is None else low, np.inf if high is None else high], np.float32)
