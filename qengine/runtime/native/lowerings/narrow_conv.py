"""Op of convolutions with few output channels: neighbouring pixels of the input fill a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import narrow_conv
from qengine.kernels.dot import ITEMSIZE, LANE_BYTES, PARTIAL_TAPS, is_paired
from qengine.kernels.epilogue import LANES
from qengine.kernels.narrow_conv import NarrowConv
from qengine.kernels.program import Call
from qengine.model.steps import Tensor
from qengine.runtime.native.exact_sums import chunk_taps, split_taps, widening_note
from qengine.runtime.native.lowerings.linear_op import Filters, LinearOp
from qengine.runtime.native.op import Rows
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, View

_MAX_CHANNELS = 8


@dataclass(frozen=True)
class _ChannelGroup:
    """Output channels that one call computes.

    Attributes
    ----------
    first, count : first channel, and number of channels.
    weights, numbers : addresses of the weights and of the numbers of the output stage.
    chunks, chunk_count : address of the ends of chunks, and their number.
    order : (taps,) index of the tap of the filters that each tap is.
    """

    first: int
    count: int
    weights: int
    numbers: int
    chunks: int
    chunk_count: int
    order: NDArray[np.intp]


@dataclass(eq=False)
class NarrowConvOp(LinearOp):
    """A convolution with few output channels."""

    @classmethod
    def accepts(cls, filters: Filters, x: TensorBuffer, out: Tensor) -> bool:
        """Whether there are 8 output channels at most, stride 1, one group, and rows of at least two vectors."""
        one = filters.samplings[0]
        plain = len(filters.samplings) == 1 and one.stride_y == one.stride_x == 1
        plain = plain and filters.group == 1 and not filters.as_pixels
        # Lanes beyond the channels would spread NaN.
        whole_blocks = filters.kind != "f32" or x.shape[1] % LANES == 0
        is_long = out.shape[-1] >= 2 * narrow_conv.pixels_in_vector(filters.kind)
        return plain and filters.channels <= _MAX_CHANNELS and x.block == LANES and is_long and whole_blocks

    @classmethod
    def output_block(cls, channels: int) -> int:  # noqa: ARG003
        """Return the number of channels in a pixel of the output: one, in planes."""
        return 1

    def __post_init__(self) -> None:
        (s,), w, stage = self.filters.samplings, self.filters.w, self.output_stage
        channels, inputs = w.shape[:2]
        blocks = ceil(inputs / LANES)
        padded = np.zeros((channels, blocks * LANES, *w.shape[2:]), w.dtype)
        padded[:, :inputs] = s.weights_of(w)
        # (channels, inputs, rows, columns) -> (channels, taps, 16)
        taps = padded.reshape(channels, blocks, LANES, len(s.dy), len(s.dx)).transpose(0, 1, 3, 4, 2)
        taps = taps.reshape(channels, -1, LANES)
        self._positions = [(k, dy, dx) for k in range(blocks) for dy in s.dy for dx in s.dx]
        self._step = 3 if channels > 4 or channels == 3 else channels
        self._groups = []
        for first in range(0, channels, self._step):
            own = taps[first : first + self._step]
            lanes = np.repeat(np.arange(first, first + len(own))[:, None], LANES, axis=1)
            own, order, chunks = self._exact(own)
            weights = self.aligned_copy(narrow_conv.packed_weights(own, self.kind, self.isa))
            numbers = self.aligned_copy(stage.channel_numbers(lanes, self.filters.totals(s)))
            group = _ChannelGroup(first, len(own), weights, numbers, self.address_of(chunks), len(chunks), order)
            self._groups.append(group)
        self._scalars = self.address_of(stage.scalars)
        self._offsets: dict[tuple[int, int, int, int], int] = {}
        self.note = widening_note(stage.epilogue, len(self._positions), max(g.chunk_count for g in self._groups))

    def _exact(self, w: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.int64]]:
        """Return weights (channels, taps, 16) whose sums stay exact, the tap that each is of, and ends of chunks."""
        per, epilogue = LANE_BYTES // ITEMSIZE[self.kind], self.output_stage.epilogue
        order, chunks = np.arange(w.shape[1]), np.zeros(0, np.int64)

        def sums(w: NDArray[Any]) -> NDArray[Any]:
            # Each lane of a pixel has a sum of its own.
            return w.reshape(len(w), w.shape[1], -1, per).transpose(0, 2, 1, 3).reshape(-1, w.shape[1], per)

        paired = is_paired(self.kind, self.isa)
        if epilogue is None or not (epilogue.wide or paired):
            return w, order, chunks
        order, kept = split_taps(sums(w), self.inputs[0], paired=paired)
        w = w[:, order] * np.tile(kept, (1, LANES // per)).astype(w.dtype)
        if epilogue.wide:
            new_order, chunks = chunk_taps(sums(w), self.inputs[0], self.isa)
            w, order = w[:, new_order], order[new_order]
        return w, order, chunks

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return self.out.shape[2] * self.out.shape[3] * len(self._positions) * self.out.shape[1] / 2

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), epilogue = views, self.output_stage.epilogue
        distances = np.array([k * x.plane + dy * x.row + dx * x.pixel for k, dy, dx in self._positions], np.int64)
        batch, _, _, width = self.out.shape
        calls = []
        for group in self._groups:
            key = (group.first, x.plane, x.row, x.pixel)
            if key not in self._offsets:
                self._offsets[key] = self.address_of(distances[group.order])
            partial = self.kind == "f32" and len(group.order) > PARTIAL_TAPS
            spec = NarrowConv(
                self.kind, group.count, narrow_conv.best_vectors(group.count, self.kind, self.isa), epilogue, partial
            )
            arguments: dict[str, Address] = {
                **{"x": x.at(rows.first), "x_batch": x.image, "x_row": x.row, "offsets": self._offsets[key]},
                **{"taps": len(group.order), "w": group.weights, "numbers": group.numbers, "scalars": self._scalars},
                **{"chunks": group.chunks, "chunk_count": group.chunk_count},
                **{"y": out.at(rows.first) + group.first * out.plane, "y_batch": out.image, "y_channel": out.plane},
                **{"y_row": out.row, "batch": batch, "rows": rows.count, "width": width},
                **out.flag_arguments,
            }
            calls.append(Call(spec, arguments))
        self.kernel = f"narrow {self._step}"
        return calls
