"""Where the taps of convolutions lie, whatever the kernel size, stride, dilation, group or direction."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.dot import LANE_BYTES
from qengine.kernels.epilogue import LANES
from qengine.runtime.native.place import View


@dataclass(frozen=True)
class Sampling:
    """Where the taps of an output pixel lie: the pixel (r, p) reads from (r * down + dy, p * along + dx) on.

    A transposed convolution has one for each phase of its output: pixels first, first + every, ... of the output are
    its pixels 0, 1, ...

    Attributes
    ----------
    down, along : pixels of the input from an output pixel to the next.
    dy, dx : of each tap of the kernel, rows and columns; a tap is one of `dy` with one of `dx`.
    kernel_y, kernel_x : which of the kernel's rows and columns those are.
    first, every : rows and columns of the output.
    """

    down: int
    along: int
    dy: tuple[int, ...]
    dx: tuple[int, ...]
    kernel_y: tuple[int, ...]
    kernel_x: tuple[int, ...]
    first: tuple[int, int] = (0, 0)
    every: tuple[int, int] = (1, 1)

    def counted(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of an output of a size that are its own."""
        return tuple(max(0, -(-(n - f) // e)) for n, f, e in zip((height, width), self.first, self.every, strict=True))  # type: ignore[return-value]

    def picked(self, w: NDArray[Any]) -> NDArray[Any]:
        """Return the weights (channels, inputs, kernel rows, kernel columns) of its own taps, in their order."""
        return w[:, :, list(self.kernel_y)][:, :, :, list(self.kernel_x)]

    def reach(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return the first and the last row and column of the input that an output of a size reads."""
        rows, columns = self.counted(height, width)
        if not self.dy or not self.dx or not rows or not columns:
            return 0, 0, 0, 0
        return (
            min(self.dy),
            (rows - 1) * self.down + max(self.dy),
            min(self.dx),
            (columns - 1) * self.along + max(self.dx),
        )


def convolution_sampling(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], pads: Any
) -> list[Sampling]:
    """Return the taps of a convolution."""
    dy, dx = (tuple(i * d - p[0] for i in range(k)) for k, d, p in zip(kernel, dilations, pads, strict=True))
    return [Sampling(*strides, dy, dx, tuple(range(kernel[0])), tuple(range(kernel[1])))]


def transposed_sampling(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], pads: Any
) -> list[Sampling]:
    """Return the taps of a transposed convolution, for every phase of its output.

    Output row o gets input row i through row k of the kernel where o = i * stride - pad + k * dilation.
    """

    def phase(axis: int, first: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        taps = []
        for k in range(kernel[axis]):
            distance = first + pads[axis][0] - k * dilations[axis]
            if distance % strides[axis] == 0:
                taps.append((distance // strides[axis], k))
        taps.sort()  # ascending places
        return tuple(d for d, _ in taps), tuple(k for _, k in taps)

    found = []
    for a in range(strides[0]):
        for c in range(strides[1]):
            (dy, ky), (dx, kx) = phase(0, a), phase(1, c)
            found.append(Sampling(1, 1, dy, dx, ky, kx, (a, c), strides))
    return found


@dataclass(frozen=True)
class Taps:
    """Lanes of 4 bytes that vectors of output channels read.

    Attributes
    ----------
    block, dy, dx, byte : of each lane: its plane, its distance in pixels, and where in the pixel it begins.
    lanes : (channels, taps, items) weights.
    """

    block: NDArray[np.int64]
    dy: NDArray[np.int64]
    dx: NDArray[np.int64]
    byte: NDArray[np.int64]
    lanes: NDArray[Any]

    def picked(self, order: NDArray[np.intp], kept: NDArray[np.bool_] | None = None) -> Taps:
        """Return the taps in another order, of each the items that are kept."""
        lanes = self.lanes[:, order] if kept is None else self.lanes[:, order] * kept.astype(self.lanes.dtype)
        return Taps(self.block[order], self.dy[order], self.dx[order], self.byte[order], lanes)

    def offsets(self, x: View) -> NDArray[np.int64]:
        """Return the distances in bytes from an output pixel's place."""
        return self.block * x.plane + self.dy * x.row + self.dx * x.pixel + self.byte


def taps_of(w: NDArray[Any], sampling: Sampling, block: int, low: int, per: int) -> Taps:
    """Return the taps of w (channels, inputs, kernel rows, kernel columns), whose first input channel is `low`.

    `per` items make a lane. Neighbouring columns of the kernel are neighbours in memory, and lanes run over both.
    """
    channels, inputs = w.shape[:2]
    end = low + inputs
    dense = all(b - a == 1 for a, b in zip(sampling.dx, sampling.dx[1:], strict=False))
    runs = [range(len(sampling.dx))] if dense else [range(i, i + 1) for i in range(len(sampling.dx))]
    parts: list[list[int]] = []
    lanes = []
    for plane in range(low // block, -(-end // block)):
        own = np.zeros((channels, block, len(sampling.dy), len(sampling.dx)), w.dtype)
        first, last = max(low, plane * block), min(end, (plane + 1) * block)
        own[:, first - plane * block : last - plane * block] = sampling.picked(w[:, first - low : last - low])
        for y, dy in enumerate(sampling.dy):
            for run in runs:
                if not len(run):
                    continue
                # Columns, then channels, as they lie in memory.
                items = own[:, :, y, run.start : run.stop].transpose(0, 2, 1).reshape(channels, -1)
                count = ceil(items.shape[1] / per)
                padded = np.zeros((channels, count * per), w.dtype)
                padded[:, : items.shape[1]] = items
                split = padded.reshape(channels, count, per)
                here = range(first - plane * block, last - plane * block)
                for i in range(count):
                    # Where a lane is of one pixel, one without any of the channels is left out: in float32 a weight
                    # of 0 would make NaN of an infinity.
                    own_lane = range(i * per % block, i * per % block + per)
                    if (block == LANES or per == 1) and not set(here) & set(own_lane):
                        continue
                    parts.append([plane, dy, sampling.dx[run.start], i * LANE_BYTES])
                    lanes.append(split[:, i])
    table = np.array(parts, np.int64).reshape(-1, 4)
    weights = np.stack(lanes, axis=1) if lanes else np.zeros((channels, 0, per), w.dtype)
    return Taps(table[:, 0], table[:, 1], table[:, 2], table[:, 3], weights)


_NOTHING = np.zeros(0, np.int64)
NO_TAPS = Taps(_NOTHING, _NOTHING, _NOTHING, _NOTHING, np.zeros((0, 0, 1)))
"""What nothing is read by."""
