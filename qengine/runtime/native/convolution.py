"""Convolutions of every kind, and matrix products, as dots over tables of taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import dot
from qengine.kernels.dot import ITEMSIZE, LANE_BYTES, Dot, Kind
from qengine.kernels.epilogue import LANES
from qengine.kernels.program import Call
from qengine.runtime.native.exact import Codes, Finishing, chunked, lightened, widening_note
from qengine.runtime.native.op import Op, Rows, pieces
from qengine.runtime.native.place import Address, Place, View
from qengine.runtime.native.sampling import NO_TAPS, Sampling, Taps, taps_of

_FAR_WEIGHTS = 1 << 19  # bytes that are not in the second cache when they are needed
_CHUNKED_VECTORS = 2  # that share chunks: more of them are in each other's way


@dataclass
class _Branch:
    """Output channels that read the same channels of the input, in one phase of the output.

    Attributes
    ----------
    channel, channels : the first of them, and how many.
    vectors : 16s of them.
    alone : they begin or end within a vector of the output, and write nothing beside themselves.
    """

    sampling: Sampling
    channel: int
    channels: int
    alone: bool
    taps: Taps
    weights: int = 0
    numbers: int = 0
    chunks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    chunks_at: int = 0
    offsets: dict[tuple[int, int, int], int] = field(default_factory=dict)

    @property
    def vectors(self) -> int:
        return -(-self.channels // LANES)


@dataclass(frozen=True)
class _Share:
    """Output channels that read input channels low..high."""

    channel: int
    channels: int
    low: int
    high: int
    alone: bool = False


@dataclass(eq=False)
class DotOp(Op):
    """A convolution, 16 output channels in a vector.

    Attributes
    ----------
    kind : what is multiplied.
    w : (channels, inputs of a group, kernel rows, kernel columns).
    group : of channels.
    samplings : of each phase of the output.
    finishing : what becomes of the sums.
    as_pixels : the images of a batch, each of one pixel, are taken as pixels of a row.
    """

    kind: Kind
    w: Codes
    group: int
    samplings: list[Sampling]
    finishing: Finishing
    as_pixels: bool = False
    branches: list[_Branch] = field(default_factory=list, init=False)

    splits_channels = True

    def __post_init__(self) -> None:
        self._scalars = self.keep(self.finishing.scalars)
        for sampling in self.samplings:
            self.branches += [self._branch(sampling, share) for share in self._shares()]
        taps, chunks = (
            sum(len(values) for values in found)
            for found in zip(*((b.taps.dy, b.chunks) for b in self.branches), strict=True)
        )
        self.note = widening_note(self.finishing.form, taps, chunks, len(self.branches))

    def _shares(self) -> list[_Share]:
        """Return output channels by what they read: as many vectors as read the same, so that a tile may hold several.

        A vector of integers may hold channels of several groups: the weights of the others' inputs are 0. In float32
        that would spread what is not a number, and each group has vectors of its own.
        """
        channels, inputs = self.w.shape[:2]
        own, form = channels // self.group, self.finishing.form
        if self.kind == "f32" and self.group > 1 and own % LANES:
            found = []
            for first in range(0, channels, own):
                low = first // own * inputs
                edges = [first, *range((first // LANES + 1) * LANES, first + own, LANES), first + own]
                found += [_Share(a, b - a, low, low + inputs, alone=True) for a, b in pairwise(edges)]
            return found
        most = _CHUNKED_VECTORS if form is not None and form.wide else ceil(channels / LANES)
        shares: list[_Share] = []
        for channel in range(0, channels, LANES):
            last = min(channel + LANES, channels) - 1
            low, high = channel // own * inputs, (last // own + 1) * inputs
            before = shares[-1] if shares else None
            if before and (before.low, before.high) == (low, high) and before.channels < most * LANES:
                shares[-1] = replace(before, channels=last + 1 - before.channel)
            else:
                shares.append(_Share(channel, last + 1 - channel, low, high))
        return shares

    def _branch(self, sampling: Sampling, share: _Share) -> _Branch:
        """Return the channels of a share with their weights."""
        (x,) = self.inputs
        inputs, own = self.w.shape[1], self.w.shape[0] // self.group
        branch = _Branch(sampling, share.channel, share.channels, share.alone, NO_TAPS)
        w = np.zeros((branch.vectors * LANES, share.high - share.low, *self.w.shape[2:]), self.w.dtype)
        for i, c in enumerate(range(share.channel, share.channel + share.channels)):
            start = c // own * inputs - share.low
            w[i, start : start + inputs] = self.w[c]
        low, per = share.low, LANE_BYTES // ITEMSIZE[self.kind]
        taps, form = taps_of(w, sampling, x.block, low, per), self.finishing.form
        chunks = np.zeros(0, np.int64)
        paired = dot.is_paired(self.kind, self.isa)
        if form is not None and (form.wide or paired):
            taps = taps.picked(*lightened(taps.lanes, x, paired=paired))
        if form is not None and form.wide:
            order, chunks = chunked(taps.lanes, x)
            taps = taps.picked(order)
        branch.chunks, branch.chunks_at = chunks, self.keep(chunks)
        branch.weights = self.aligned(dot.packed_weights(taps.lanes, self.kind, self.isa))
        order = np.arange(branch.vectors * LANES)
        order = np.where(order < share.channels, share.channel + order, -1).reshape(-1, LANES)
        branch.numbers = self.aligned(self.finishing.numbers(order, sampling.picked(self.w)))
        # The table of taps is of no use any more but for the distances.
        branch.taps = Taps(taps.block, taps.dy, taps.dx, taps.byte, taps.lanes[:0])
        return branch

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        rows, width = self._size()
        taps = sum(len(b.taps.dy) * b.vectors / b.sampling.every[0] / b.sampling.every[1] for b in self.branches)
        return float(rows * width * taps) * (0.6 if self.isa.has_vnni else 3)

    @property
    def weight_bytes(self) -> int:
        """What it reads again for every band of rows."""
        return int(sum(len(b.taps.dy) * b.vectors for b in self.branches) * dot.weight_bytes(self.kind, self.isa))

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the operator asks for, whatever the kernel does."""
        batch = 1 if self.as_pixels else self.out.shape[0]
        pixels = sum(prod(s.counted(*self._size())) * len(s.dy) * len(s.dx) for s in self.samplings)
        return int(batch * pixels * self.w.shape[0] * self.w.shape[1])

    def _size(self) -> tuple[int, int]:
        batch, _, height, width = self.out.shape
        return (1, batch) if self.as_pixels else (height, width)

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output are computed from, beyond its edges too."""
        low, high = [], []
        for s in self.samplings:
            begin, finish = self._own_rows(s, first, end)
            if finish > begin and s.dy and s.dx:
                low.append(begin * s.down + min(s.dy))
                high.append((finish - 1) * s.down + max(s.dy) + 1)
        return (min(low), max(high)) if low else None

    @staticmethod
    def _own_rows(s: Sampling, first: int, end: int) -> tuple[int, int]:
        """Return which of a phase's own rows lie in rows first..end of the output."""
        return tuple(max(0, -(-(n - s.first[0]) // s.every[0])) for n in (first, end))  # type: ignore[return-value]

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,) = views
        if self.as_pixels:
            x = View(x.origin, 0, x.plane, 0, x.image)
            out = View(out.origin, 0, out.plane, 0, out.image)
        found = []
        total = sum(b.vectors for b in self.branches)
        begin, end = pieces(total, rows.share, rows.of)
        seen = 0
        for branch in self.branches:
            first, last = max(begin - seen, 0), min(end - seen, branch.vectors)
            seen += branch.vectors
            if last > first:
                found += self._branch_calls(branch, x, out, rows, first, last)
        self.kernel = "dot " + ", ".join(
            sorted({f"{c.spec.rows}x{c.spec.pixels}x{c.spec.vectors * LANES}" for c in found})
        )
        return found

    def _branch_calls(self, branch: _Branch, x: View, out: View, rows: Rows, first: int, last: int) -> list[Call]:
        s = branch.sampling
        begin, end = self._own_rows(s, rows.first, rows.end)
        _, width = s.counted(*self._size())
        if end <= begin or width == 0:
            return []
        found, taps = [], len(branch.taps.dy)
        done = first
        while done < last:
            left = last - done
            tile = dot.best_tile(self.kind, self.isa, end - begin, width, left, taps, len(branch.chunks))
            for vectors in (2, 4):  # an odd vector out must not spoil the rest
                if left > vectors and left % vectors:
                    other = dot.best_tile(
                        self.kind, self.isa, end - begin, width, left - left % vectors, taps, len(branch.chunks)
                    )
                    if other.vectors >= vectors and tile.vectors < vectors:
                        tile, left = other, left - left % vectors
            found.append(self._call(branch, x, out, tile, (begin, end, width), done, left))
            done += left
        return found

    def _call(
        self, branch: _Branch, x: View, out: View, tile: Any, size: tuple[int, int, int], first: int, vectors: int
    ) -> Call:
        s, form = branch.sampling, self.finishing.form
        begin, end, width = size
        block, channel = self.out.block, branch.channel + first * LANES
        # A block has room for 16 channels, whatever they are; other channels are not this call's to write.
        left = branch.channels - (first + vectors - 1) * LANES
        last = left if branch.alone or block != LANES else LANES
        last = min(last, LANES)
        step = 0 if self.as_pixels and width > 1 else s.along * x.pixel
        taps, tap_bytes = len(branch.taps.dy), dot.weight_bytes(self.kind, self.isa)
        key = (x.plane, x.row, x.pixel)
        if key not in branch.offsets:
            branch.offsets[key] = self.keep(branch.taps.offsets(x))
        item = 4 if form is None else form.itemsize
        vector = out.plane if block == LANES else LANES * item
        outer = self._weights_outside(taps * tap_bytes * vectors, end - begin)
        fetches = outer and taps * tap_bytes * vectors > _FAR_WEIGHTS
        partial = self.kind == "f32" and taps > dot.PARTIAL_TAPS
        spec = Dot(self.kind, tile.rows, tile.pixels, tile.vectors, step, form, last != LANES, fetches, partial)
        place = channel // LANES * vector + channel % LANES * item
        per_vector = self.finishing.vector_bytes
        arguments: dict[str, Address] = {
            "x": x.at(begin * s.down),
            "x_batch": x.image,
            "x_row": s.down * x.row,
            "x_step": s.along * x.pixel,
            "offsets": branch.offsets[key],
            "taps": taps,
            "chunks": branch.chunks_at,
            "chunk_count": len(branch.chunks),
            "w": branch.weights + first * taps * tap_bytes,
            "w_vector": taps * tap_bytes,
            "numbers": branch.numbers + first * per_vector,
            "scalars": self._scalars,
            "y": out.at(s.first[0] + begin * s.every[0], s.first[1]) + place,
            "y_batch": out.image,
            "y_vector": vector,
            "y_row": s.every[0] * out.row,
            "y_pixel": s.every[1] * out.pixel,
            "batch": 1 if self.as_pixels else self.out.shape[0],
            "rows": end - begin,
            "width": width,
            "vectors": vectors,
            "last": last,
            "outer": int(outer),
        }
        return Call(spec, arguments)

    def _weights_outside(self, weights: int, rows: int) -> bool:
        """Whether the loop over channels is around that over pixels: where weights are too many to be read for each."""
        pixels = rows * self._size()[1] * self.inputs[0].shape[1] * ITEMSIZE[self.kind]
        return weights > 1 << 15 and pixels < 1 << 20
