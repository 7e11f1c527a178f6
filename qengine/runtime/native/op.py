"""Base class of ops. An op is a step, or a part of one, that one kind of native kernel computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.address import address
from qengine.kernels.dot import FactorType
from qengine.kernels.isa import Isa
from qengine.kernels.layout import Halo
from qengine.kernels.program import Call
from qengine.runtime.native.tensor_buffer import TensorBuffer, View, aligned_copy


@dataclass(frozen=True)
class Rows:
    """Rows of an output that calls compute.

    Attributes
    ----------
    first, end : first row, and the row after the last.
    share, shares : index of the share of the channels, and number of shares; see `Op.splits_channels`.
    scratch : address of memory of the thread's own, as large as `Op.scratch_bytes`.
    """

    first: int
    end: int
    share: int = 0
    shares: int = 1
    scratch: int = 0

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.end - self.first


@dataclass(eq=False)
class Op(ABC):
    """A step, or a part of one, on native kernels.

    Attributes
    ----------
    isa : instruction set that kernels are compiled for.
    inputs, out : buffers that are read and written.
    other_outputs : buffers that are written too; their views come after those of the inputs.
    kernel : name of the kernel and its tile; for display only; known once calls were made.
    note : width of the sums and how often they are widened, for display only.
    """

    isa: Isa
    inputs: tuple[TensorBuffer, ...]
    out: TensorBuffer
    kernel: str = field(default="", init=False)
    note: str = field(default="", init=False)
    other_outputs: tuple[TensorBuffer, ...] = field(default=(), init=False)
    _arrays: list[Any] = field(default_factory=list, init=False)

    @abstractmethod
    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output.

        Parameters
        ----------
        views
            View of every input, in the order of `inputs`, and then of every other output.
        """

    @property
    def part_count(self) -> int:
        """The number of parts, such as rows of the output, that threads may compute in any order."""
        return self.out.shape[2]

    @property
    def scratch_bytes(self) -> int:
        """The bytes of memory that each thread needs while it computes."""
        return 0

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output read, beyond its edges too; None for none.

        More rows of the output never read fewer rows of an input.
        """
        return first, end

    def halo(self, buffer: TensorBuffer) -> Halo:  # noqa: ARG002
        """Return the halo that the op reads around an input."""
        return Halo()

    @property
    def output_halo(self) -> Halo:
        """The halo that the op may overwrite around its output."""
        return Halo()

    @property
    def splits_channels(self) -> bool:
        """Whether `calls` can compute a share of the channels, as `Rows.share` requests."""
        return False

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return 0.6 * prod(self.out.shape)

    @property
    def kind(self) -> FactorType | None:
        """The type of the factors of the op's multiply-accumulates; None for an op without any."""
        return None

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the operator; the kernel may execute more or fewer."""
        return 0

    @property
    def weight_bytes(self) -> int:
        """The bytes of weights that are read again for every band of rows."""
        return 0

    def address_of(self, array: NDArray[Any]) -> int:
        """Return the address of an array that calls read, and keep the array as long as the op."""
        contiguous = np.ascontiguousarray(array)
        self._arrays.append(contiguous)
        return address(contiguous)

    def aligned_copy(self, array: NDArray[Any]) -> int:
        """Return the address of a copy at a multiple of 64 bytes, and keep the copy as long as the op."""
        copy = aligned_copy(array)
        self._arrays.append(copy)
        return address(copy)


def share_bounds(total: int, share: int, shares: int) -> tuple[int, int]:
    """Return the begin and the end of one of several nearly equal shares of a total."""
    return total * share // shares, total * (share + 1) // shares


def double_bits(value: float) -> int:
    """Return the bits of a float64 as an integer."""
    return int(np.float64(value).view(np.int64))


def float_bounds(low: float | None, high: float | None) -> NDArray[np.float32]:
    """Return float32 bounds as kernels read them: (low, high), infinite where there is none."""
    return np.array([-np.inf if low is None else low, np.inf if high is None else high], np.float32)
