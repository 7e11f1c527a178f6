"""Counts of float32 numbers by native kernels, with the numbers of `reference.histogram`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .isa import Isa
from .layout import LANES
from .program import Call, run_call
from .reference.histogram import NOTHING, SIDE, Counted

DUMMIES = 4 * LANES
"""Counters after the others, each for a lane, so that equal values in a vector do not wait for each other: of zeros, of
NaN, of infinities, and of what is not counted."""


def lanes_used(block: int) -> int:
    """Return the lanes of a vector that hold whole pixels of some channels."""
    return LANES // block * block


@dataclass(frozen=True)
class Count:
    """Specification of the counts of a tensor in blocks of channels.

    `state` has the numbers of `State`; `counters` are int64 (2 * SIDE + DUMMIES,); `tops` are float32 (blocks, LANES):
    the largest finite magnitude in each lane of the vectors of a block.

    Attributes
    ----------
    block : channels of a pixel, or 1 for numbers that lie one after the other.
    """

    block: int

    emitter = "histogram"
    arguments = (
        "x", "x_batch", "x_block", "x_row", "batch", "blocks", "rows", "width", "channels", "state", "counters",
        "tops",
    )  # fmt: skip


class Counters:
    """Memory of the counts of one tensor on one thread, and the range that it counts.

    Parameters
    ----------
    channels, block
        Channels of the tensor, and of a pixel in one of its blocks.
    """

    def __init__(self, channels: int = 1, block: int = 1) -> None:
        # The range and the one before, as bits of float32, and the exponent; then what the kernel finds: the extremes.
        self.state, self.counters = np.zeros(5, np.int64), np.zeros(2 * SIDE + DUMMIES, np.int64)
        self._extremes = self.state[3:].view(np.float32)[::2]
        self._before = np.array([np.inf, -np.inf], np.float32)  # extremes of the runs that ended since `begin`
        self._channels, self._block = channels, block
        self._tops = np.zeros((-(-channels // block), LANES), np.float32)
        self.begin(NOTHING)

    def begin(self, exponent: int, old: int | None = None) -> None:
        """Set all counts to 0, and the range that is counted from now on; see `reference.histogram.count`."""
        self.counters[:] = 0
        self.state[:3] = _bits(exponent), 0 if old is None else _bits(old), exponent
        self._extremes[:] = self._before[:] = np.inf, -np.inf

    def end_run(self) -> None:
        """Let the extremes be those of the next run; `found` has those of all."""
        self._before[:] = np.fmin(self._before[0], self._extremes[0]), np.fmax(self._before[1], self._extremes[1])
        self._extremes[:] = np.inf, -np.inf

    @property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest finite value of the run; inf and -inf where there is none."""
        least, most = map(float, self._extremes)
        return least, most

    @property
    def addresses(self) -> dict[str, int]:
        """The arguments of the kernel that name this memory."""
        memory: dict[str, NDArray[Any]] = {"state": self.state, "counters": self.counters, "tops": self._tops}
        return {name: array.ctypes.data for name, array in memory.items()}

    @property
    def most_of_channels(self) -> NDArray[np.float32]:
        """The largest finite magnitude of each channel in all runs."""
        used = self._tops[:, : lanes_used(self._block)]
        most: NDArray[np.float32] = used.reshape(len(used), -1, self._block).max(axis=1).ravel()[: self._channels]
        return most

    def found(self) -> Counted:
        """Return what was counted since `begin`."""
        zeros, nan, infinite, _ = (int(part.sum()) for part in np.split(self.counters[2 * SIDE :], 4))
        least = float(min(self._extremes[0], self._before[0]))
        most = float(max(self._extremes[1], self._before[1]))
        counts = self.counters[: 2 * SIDE].reshape(2, SIDE).copy()
        return Counted(counts, least, most, zeros, infinite, nan, int(self.is_outgrown))

    @property
    def largest(self) -> float:
        """The largest magnitude of a finite value of the run."""
        least, most = self.extremes
        return max(abs(least), abs(most)) if least <= most else 0.0

    @property
    def is_outgrown(self) -> bool:
        """Whether a finite value lies beyond the range."""
        return self.largest >= np.ldexp(1.0, int(self.state[2])) and self.largest > 0

    def paused(self, *, keeps_range: bool) -> tuple[Any, ...]:
        """Return what `resume` takes, before a run that is made again.

        Parameters
        ----------
        keeps_range
            Whether the run counts values in the range of `begin`; if not, it counts nothing.
        """
        before = self.state[:2].copy(), self.counters[2 * SIDE :].copy()
        if not keeps_range:
            self.state[0] = 0
        return before

    def resume(self, before: tuple[Any, ...]) -> None:
        """Take the zeros and the infinities of a run that was made again off, and count in the whole range again."""
        (limit, _), dummies = before
        self.counters[2 * SIDE :] = dummies
        self.state[:2] = limit, 0


def _bits(exponent: int) -> int:
    """Return the bits of 2^exponent as a float32; 0 where it is too small, and those of infinity where too large."""
    with np.errstate(over="ignore"):
        return int(np.float32(np.ldexp(1.0, exponent)).view(np.int32))


def count(values: NDArray[np.float32], counters: Counters, isa: Isa) -> None:
    """Count contiguous values; see `reference.histogram.count`. `Counted.beyond` only tells whether there are any."""
    flat = values.reshape(-1)
    if flat.dtype != np.float32 or not flat.flags.c_contiguous:
        raise ValueError(f"found {flat.dtype} values; give contiguous float32 numbers")
    arguments: dict[str, int] = {
        **{"x": flat.ctypes.data, "x_batch": 0, "x_block": 0, "x_row": 0, "batch": 1, "blocks": 1, "rows": 1},
        **{"width": flat.size, "channels": 1},
        **counters.addresses,
    }
    run_call(Call(Count(1), arguments), isa)


__all__ = ["DUMMIES", "Count", "Counters", "count", "lanes_used"]
