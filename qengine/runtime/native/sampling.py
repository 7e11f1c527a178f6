"""Positions of the taps of convolutions, for every kernel size, stride, dilation, group and direction.

`Sampling` gives the taps of an output pixel in pixels of the input. `taps_of` turns it into a table of `Taps`, the
4-byte lanes that a kernel reads, with the weights that they are multiplied by.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.dot import LANE_BYTES
from qengine.kernels.epilogue import LANES
from qengine.kernels.layout import Halo
from qengine.runtime.native.tensor_buffer import View


@dataclass(frozen=True)
class Sampling:
    """Positions of the taps of an output pixel: the pixel (r, c) reads (r * stride_y + dy, c * stride_x + dx).

    A transposed convolution has one for each phase of its output: the pixels first, first + every, ... of the output
    are the pixels 0, 1, ... of a phase.

    Attributes
    ----------
    stride_y, stride_x : rows and columns of the input from an output pixel to the next.
    dy, dx : row and column offsets of the taps; a tap is one of `dy` with one of `dx`.
    kernel_y, kernel_x : row and column of the kernel that each offset belongs to.
    first, every : first (row, column) of the output, and distance from one to the next.
    """

    stride_y: int
    stride_x: int
    dy: tuple[int, ...]
    dx: tuple[int, ...]
    kernel_y: tuple[int, ...]
    kernel_x: tuple[int, ...]
    first: tuple[int, int] = (0, 0)
    every: tuple[int, int] = (1, 1)

    @property
    def has_taps(self) -> bool:
        """Whether output pixels read anything: a phase of a transposed convolution may have no taps."""
        return bool(self.dy and self.dx)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the number of rows and columns that an output of a size has of this phase."""
        (y, x), (every_y, every_x) = self.first, self.every
        return max(0, -(-(height - y) // every_y)), max(0, -(-(width - x) // every_x))

    def weights_of(self, w: NDArray[Any]) -> NDArray[Any]:
        """Return the weights (channels, inputs, kernel rows, kernel columns) of this phase's taps, in their order."""
        if self.kernel_y == tuple(range(w.shape[2])) and self.kernel_x == tuple(range(w.shape[3])):
            return w
        return w[:, :, list(self.kernel_y)][:, :, :, list(self.kernel_x)]

    def rows_within(self, first: int, end: int) -> tuple[int, int]:
        """Return the rows of this phase that lie in rows first..end of the output."""
        begin, every = self.first[0], self.every[0]
        return max(0, -(-(first - begin) // every)), max(0, -(-(end - begin) // every))

    def input_rows(self, first: int, end: int) -> tuple[int, int] | None:
        """Return the rows of the input that rows first..end of the output read, beyond its edges too; None for none."""
        begin, stop = self.rows_within(first, end)
        if stop <= begin or not self.has_taps:
            return None
        return begin * self.stride_y + min(self.dy), (stop - 1) * self.stride_y + max(self.dy) + 1

    def halo(self, height: int, width: int, x_height: int, x_width: int) -> Halo:
        """Return the halo around an input (x_height, x_width) that an output (height, width) reads."""
        rows, columns = self.size(height, width)
        if not self.has_taps or not rows or not columns:
            return Halo()
        bottom, right = (rows - 1) * self.stride_y + max(self.dy), (columns - 1) * self.stride_x + max(self.dx)
        gap = max(-min(self.dx), right - x_width + 1, 0)
        return Halo(max(-min(self.dy), 0), max(bottom - x_height + 1, 0), gap)


def convolution_sampling(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], pads: Any
) -> list[Sampling]:
    """Return the positions of the taps of a convolution: a list of one."""
    dy, dx = (tuple(i * d - p[0] for i in range(k)) for k, d, p in zip(kernel, dilations, pads, strict=True))
    return [Sampling(*strides, dy, dx, tuple(range(kernel[0])), tuple(range(kernel[1])))]


def transposed_sampling(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], pads: Any
) -> list[Sampling]:
    """Return the positions of the taps of a transposed convolution, one for every phase of its output.

    Output row o gets input row i through row k of the kernel where o = i * stride - pad + k * dilation.
    """

    def phase(axis: int, first: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        taps = []
        for k in range(kernel[axis]):
            distance = first + pads[axis][0] - k * dilations[axis]
            if distance % strides[axis] == 0:
                taps.append((distance // strides[axis], k))
        taps.sort()  # ascending addresses
        return tuple(d for d, _ in taps), tuple(k for _, k in taps)

    samplings = []
    for a in range(strides[0]):
        for c in range(strides[1]):
            (dy, ky), (dx, kx) = phase(0, a), phase(1, c)
            samplings.append(Sampling(1, 1, dy, dx, ky, kx, (a, c), strides))
    return samplings


@dataclass(frozen=True)
class Taps:
    """Table of taps: 4-byte lanes of the input that vectors of output channels read.

    Attributes
    ----------
    block : (taps,) index of the block of input channels.
    dy, dx : (taps,) row and column offset from the output pixel.
    byte : (taps,) offset in the pixel, in bytes.
    lanes : (channels, taps, items) weights.
    """

    block: NDArray[np.int64]
    dy: NDArray[np.int64]
    dx: NDArray[np.int64]
    byte: NDArray[np.int64]
    lanes: NDArray[Any]

    def take(self, order: NDArray[np.intp], kept: NDArray[np.bool_] | None = None) -> Taps:
        """Return the taps in another order; weights of items that are not kept (taps, items) are 0."""
        lanes = self.lanes[:, order] if kept is None else self.lanes[:, order] * kept.astype(self.lanes.dtype)
        return Taps(self.block[order], self.dy[order], self.dx[order], self.byte[order], lanes)

    def offsets(self, x: View) -> NDArray[np.int64]:
        """Return the distance of each tap in bytes from the input pixel of an output pixel."""
        return self.block * x.plane + self.dy * x.row + self.dx * x.pixel + self.byte


def taps_of(w: NDArray[Any], sampling: Sampling, block: int, low: int, per: int) -> Taps:
    """Return the table of taps of filters. Neighbouring columns of the kernel lie side by side: lanes span both.

    Parameters
    ----------
    w
        (channels, inputs, kernel rows, kernel columns) weights.
    block
        Channels of a block of the input.
    low
        Index of the first input channel.
    per
        Number of items in a lane.
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
        own[:, first - plane * block : last - plane * block] = sampling.weights_of(w[:, first - low : last - low])
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
                    # A lane within one pixel that holds none of the channels is left out: in float32 the product of a
                    # weight of 0 and an infinity is NaN.
                    own_lane = range(i * per % block, i * per % block + per)
                    if (block == LANES or per == 1) and not set(here) & set(own_lane):
                        continue
                    parts.append([plane, dy, sampling.dx[run.start], i * LANE_BYTES])
                    lanes.append(split[:, i])
    table = np.array(parts, np.int64).reshape(-1, 4)
    weights = np.stack(lanes, axis=1) if lanes else np.zeros((channels, 0, per), w.dtype)
    return Taps(table[:, 0], table[:, 1], table[:, 2], table[:, 3], weights)
