"""Convolutions with few output channels, or with a filter for every channel: pixels lie in the lanes of a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import narrow_conv
from qengine.kernels.depthwise import Depthwise, best_tile, channel_order
from qengine.kernels.depthwise import packed_weights as depthwise_weights
from qengine.kernels.dot import ITEMSIZE, LANE_BYTES, PARTIAL_TAPS, Kind, is_paired
from qengine.kernels.epilogue import LANES
from qengine.kernels.layout import SLACK
from qengine.kernels.narrow_conv import NarrowConv
from qengine.kernels.program import Call
from qengine.runtime.native.exact import Codes, Finishing, chunked, lightened, widening_note
from qengine.runtime.native.op import Op, Rows, pieces
from qengine.runtime.native.place import Address, Place, View
from qengine.runtime.native.sampling import Sampling


@dataclass(eq=False)
class FewOp(Op):
    """A convolution with few output channels, neighbouring pixels in a vector."""

    kind: Kind
    w: Codes
    sampling: Sampling
    finishing: Finishing

    def __post_init__(self) -> None:
        channels, inputs = self.w.shape[:2]
        s = self.sampling
        blocks = ceil(inputs / LANES)
        whole = np.zeros((channels, blocks * LANES, *self.w.shape[2:]), self.w.dtype)
        whole[:, :inputs] = s.picked(self.w)
        # (channels, inputs, rows, columns) -> (channels, taps, 16)
        taps = whole.reshape(channels, blocks, LANES, len(s.dy), len(s.dx)).transpose(0, 1, 3, 4, 2)
        taps = taps.reshape(channels, -1, LANES)
        self._at = [(k, dy, dx) for k in range(blocks) for dy in s.dy for dx in s.dx]
        self._step = 3 if channels > 4 or channels == 3 else channels
        self._groups = []
        per, form = LANE_BYTES // ITEMSIZE[self.kind], self.finishing.form
        for first in range(0, channels, self._step):
            own = taps[first : first + self._step]
            order = np.repeat(np.arange(first, first + len(own))[:, None], LANES, axis=1)
            order_of_taps, chunks = np.arange(len(self._at)), np.zeros(0, np.int64)
            if form is not None:
                own, order_of_taps, chunks = self._exact(own, per)
            weights = self.aligned(narrow_conv.packed_weights(own, self.kind, self.isa))
            numbers = self.aligned(self.finishing.numbers(order, self.w))
            self._groups.append((first, len(own), weights, numbers, self.keep(chunks), len(chunks), order_of_taps))
        self._scalars = self.keep(self.finishing.scalars)
        self._offsets: dict[tuple[int, int, int, int], int] = {}
        self.note = widening_note(form, len(self._at), max(g[5] for g in self._groups))

    def _exact(self, own: Codes, per: int) -> tuple[Codes, NDArray[np.intp], NDArray[np.int64]]:
        """Return weights (channels, taps, 16) that stay exact, which tap each is of, and where chunks of them end."""

        def lanes(w: Codes) -> Codes:
            # Each lane of a pixel has a sum of its own.
            return w.reshape(len(w), w.shape[1], -1, per).transpose(0, 2, 1, 3).reshape(-1, w.shape[1], per)

        form, paired = self.finishing.form, is_paired(self.kind, self.isa)
        assert form is not None
        if not (form.wide or paired):
            return own, np.arange(own.shape[1]), np.zeros(0, np.int64)
        source, kept = lightened(lanes(own), self.inputs[0], paired=paired)
        light = own[:, source] * np.tile(kept, (1, LANES // per)).astype(own.dtype)
        if not form.wide:
            return light, source, np.zeros(0, np.int64)
        order, chunks = chunked(lanes(light), self.inputs[0])
        return light[:, order], source[order], chunks

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the operator asks for, whatever the kernel does."""
        return prod(self.out.shape) * prod(self.w.shape[1:])

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return self.out.shape[2] * self.out.shape[3] * len(self._at) * self.out.shape[1] / 2

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output are computed from, beyond its edges too."""
        return first + min(self.sampling.dy), end + max(self.sampling.dy)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,) = views
        distances = np.array([k * x.plane + dy * x.row + dx * x.pixel for k, dy, dx in self._at], np.int64)
        batch, _, _, width = self.out.shape
        found = []
        for first, count, weights, numbers, chunks, chunk_count, order in self._groups:
            key = (first, x.plane, x.row, x.pixel)
            if key not in self._offsets:
                self._offsets[key] = self.keep(distances[order])
            partial = self.kind == "f32" and len(order) > PARTIAL_TAPS
            vectors = narrow_conv.best_vectors(count, self.kind, self.isa)
            spec = NarrowConv(self.kind, count, vectors, self.finishing.form, partial)
            arguments: dict[str, Address] = {
                **{"x": x.at(rows.first), "x_batch": x.image, "x_row": x.row, "offsets": self._offsets[key]},
                **{"taps": len(order), "w": weights, "numbers": numbers, "scalars": self._scalars},
                **{"chunks": chunks, "chunk_count": chunk_count},
                **{"y": out.at(rows.first) + first * out.plane, "y_batch": out.image, "y_channel": out.plane},
                **{"y_row": out.row, "batch": batch, "rows": rows.count, "width": width},
            }
            found.append(Call(spec, arguments))
        self.kernel = f"few {self._step}"
        return found


@dataclass(eq=False)
class DepthwiseOp(Op):
    """A convolution in which every channel has its own filter."""

    kind: Kind
    w: Codes
    sampling: Sampling
    finishing: Finishing

    def __post_init__(self) -> None:
        channels = self.w.shape[0]
        s, blocks = self.sampling, ceil(channels / LANES)
        whole = np.zeros((blocks * LANES, len(s.dy) * len(s.dx)), self.w.dtype)
        whole[:channels] = s.picked(self.w).reshape(channels, -1)
        form = self.finishing.form
        self._order, ends = np.arange(whole.shape[1]), np.zeros(0, np.int64)
        if form is not None and form.wide:
            self._order, ends = chunked(whole[:, :, None], self.inputs[0])
            whole = whole[:, self._order]
        self._chunks, self._chunk_count = self.keep(ends), len(ends)
        self.note = widening_note(form, whole.shape[1], len(ends))
        self._weights = self.aligned(depthwise_weights(whole, self.kind, self.isa))
        order = channel_order(blocks, self.kind)
        self._numbers = self.aligned(self.finishing.numbers(np.where(order < channels, order, -1), self.w))
        self._scalars = self.keep(self.finishing.scalars)
        self._per_block = len(depthwise_weights(whole[:LANES], self.kind, self.isa))
        self._numbers_block = len(order) // blocks * self.finishing.vector_bytes
        self._offsets: dict[tuple[int, int], int] = {}

    splits_channels = True

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the operator asks for, whatever the kernel does."""
        return prod(self.out.shape) * prod(self.w.shape[1:])

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return float(0.1 * prod(self.out.shape) * self.w.shape[2] * self.w.shape[3])

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output are computed from, beyond its edges too."""
        s = self.sampling
        return first * s.down + min(s.dy), (end - 1) * s.down + max(s.dy) + 1

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), s = views, self.sampling
        key = (x.row, x.pixel)
        if key not in self._offsets:
            distances = np.array([dy * x.row + dx * x.pixel for dy in s.dy for dx in s.dx], np.int64)
            self._offsets[key] = self.keep(distances[self._order])
        batch, channels, _, width = self.out.shape
        first, end = pieces(ceil(channels / LANES), rows.share, rows.of)
        if end <= first:
            return []
        down, vectors = best_tile(self.kind, rows.count, width, self.isa)
        self.kernel = f"depthwise {down}x{vectors}"
        assert vectors * LANES * LANE_BYTES * s.along <= SLACK  # a tile reads on where the row ends
        spec = Depthwise(self.kind, down, vectors, s.along, self.finishing.form)
        arguments: dict[str, Address] = {
            **{"x": x.at(rows.first * s.down) + first * x.plane, "x_batch": x.image, "x_block": x.plane},
            **{"x_row": s.down * x.row, "offsets": self._offsets[key], "taps": len(s.dy) * len(s.dx)},
            **{"chunks": self._chunks, "chunk_count": self._chunk_count},
            **{"w": self._weights + first * self._per_block, "w_block": self._per_block},
            **{"numbers": self._numbers + first * self._numbers_block, "scalars": self._scalars},
            **{
                "y": out.at(rows.first) + first * out.plane,
                "y_batch": out.image,
                "y_block": out.plane,
                "y_row": out.row,
            },
            **{"batch": batch, "blocks": end - first, "rows": rows.count, "width": width},
        }
        return [Call(spec, arguments)]
