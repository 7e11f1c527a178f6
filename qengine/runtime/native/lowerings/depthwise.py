"""Op of depthwise convolutions: every channel has its own filter, and 16 channels of a pixel fill a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from qengine.kernels.depthwise import Depthwise, best_tile, channel_order
from qengine.kernels.depthwise import packed_weights as depthwise_weights
from qengine.kernels.dot import LANE_BYTES
from qengine.kernels.epilogue import LANES
from qengine.kernels.layout import SLACK, natural_block
from qengine.kernels.program import Call
from qengine.model.steps import Tensor
from qengine.runtime.native.exact_sums import chunk_taps, widening_note
from qengine.runtime.native.lowerings.linear_op import Filters, LinearOp
from qengine.runtime.native.op import Rows, share_bounds
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, View

_MAX_COLUMN_STRIDE = 8  # the kernel reads whole vectors of pixels, strides included


@dataclass(eq=False)
class DepthwiseOp(LinearOp):
    """A convolution in which every channel has its own filter."""

    @classmethod
    def accepts(cls, filters: Filters, x: TensorBuffer, out: Tensor) -> bool:  # noqa: ARG003
        """Whether there is one filter a channel, in one phase, with short strides and blocks of 16 channels."""
        one_each = filters.group == filters.channels == x.shape[1] and filters.w.shape[1] == 1
        short = len(filters.samplings) == 1 and filters.samplings[0].stride_x <= _MAX_COLUMN_STRIDE
        return one_each and short and x.block == LANES and not filters.as_pixels

    @classmethod
    def output_block(cls, channels: int) -> int:
        """Return the number of channels in a pixel of the output."""
        return natural_block(channels)

    def __post_init__(self) -> None:
        (self._sampling,), w, stage = self.filters.samplings, self.filters.w, self.output_stage
        channels, epilogue = self.filters.channels, stage.epilogue
        blocks = ceil(channels / LANES)
        padded = np.zeros((blocks * LANES, len(self._sampling.dy) * len(self._sampling.dx)), w.dtype)
        padded[:channels] = self._sampling.weights_of(w).reshape(channels, -1)
        self._order, ends = np.arange(padded.shape[1]), np.zeros(0, np.int64)
        if epilogue is not None and epilogue.wide:
            self._order, ends = chunk_taps(padded[:, :, None], self.inputs[0], self.isa)
            padded = padded[:, self._order]
        self._chunks, self._chunk_count = self.address_of(ends), len(ends)
        self.note = widening_note(epilogue, padded.shape[1], len(ends))
        weights = depthwise_weights(padded, self.kind, self.isa)
        self._weights, self._weights_block = self.aligned_copy(weights), len(weights) // blocks
        order = channel_order(channels, self.kind)
        numbers = stage.channel_numbers(order, self.filters.totals(self._sampling))
        self._numbers = self.aligned_copy(numbers)
        self._scalars = self.address_of(stage.scalars)
        self._numbers_block = len(order) // blocks * stage.vector_bytes
        self._offsets: dict[tuple[int, int], int] = {}

    @property
    def splits_channels(self) -> bool:
        """Whether `calls` can compute a share of the channels."""
        return True

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return float(0.1 * prod(self.out.shape) * self.filters.w.shape[2] * self.filters.w.shape[3])

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), s = views, self._sampling
        key = (x.row, x.pixel)
        if key not in self._offsets:
            distances = np.array([dy * x.row + dx * x.pixel for dy in s.dy for dx in s.dx], np.int64)
            self._offsets[key] = self.address_of(distances[self._order])
        batch, channels, _, width = self.out.shape
        first, end = share_bounds(ceil(channels / LANES), rows.share, rows.shares)
        if end <= first:
            return []
        tile_rows, vectors = best_tile(self.kind, rows.count, width, self.isa)
        self.kernel = f"depthwise {tile_rows}x{vectors}"
        assert vectors * LANES * LANE_BYTES * s.stride_x <= SLACK  # a tile reads on beyond the end of a row
        spec = Depthwise(self.kind, tile_rows, vectors, s.stride_x, self.output_stage.epilogue)
        arguments: dict[str, Address] = {
            **{"x": x.at(rows.first * s.stride_y) + first * x.plane, "x_batch": x.image, "x_block": x.plane},
            **{"x_row": s.stride_y * x.row, "offsets": self._offsets[key], "taps": len(s.dy) * len(s.dx)},
            **{"chunks": self._chunks, "chunk_count": self._chunk_count},
            **{"w": self._weights + first * self._weights_block, "w_block": self._weights_block},
            **{"numbers": self._numbers + first * self._numbers_block, "scalars": self._scalars},
            **out.arguments("y", rows.first),
            **{"y": out.at(rows.first) + first * out.plane},
            **{"batch": batch, "blocks": end - first, "rows": rows.count, "width": width},
            **out.flag_arguments,
        }
        return [Call(spec, arguments)]
