"""Convolutions of every kind, and matrix products, as dots over tables of taps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import dot, few
from qengine.kernels.depthwise import Depthwise, best_tile, channel_order
from qengine.kernels.depthwise import packed_weights as depthwise_weights
from qengine.kernels.dot import ITEMSIZE, LANE_BYTES, Dot, Kind
from qengine.kernels.epilogue import LANES, Epilogue, Requantize
from qengine.kernels.few import Few
from qengine.kernels.program import Call
from qengine.native.op import Op, Rows, pieces
from qengine.native.place import Address, Place, View

Codes = NDArray[Any]

_FAR_WEIGHTS = 1 << 19  # bytes that are not in the second cache when they are needed
_CHUNKED_VECTORS = 2  # that share chunks: more of them are in each other's way
_PACKED = 1024  # of more taps than these, chunks are runs: packing them would take longer than it saves


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
class _Taps:
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

    def offsets(self, x: View) -> NDArray[np.int64]:
        """Return the distances in bytes from an output pixel's place."""
        return self.block * x.plane + self.dy * x.row + self.dx * x.pixel + self.byte


def _taps(w: NDArray[Any], sampling: Sampling, block: int, low: int, per: int) -> _Taps:
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
        picked = w[:, first - low : last - low][:, :, list(sampling.kernel_y)][:, :, :, list(sampling.kernel_x)]
        own[:, first - plane * block : last - plane * block] = picked
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
                    # In a block of 16 a lane is of one pixel; one without any of the channels is left out.
                    if block == LANES and not set(here) & set(range(i * per % block, i * per % block + per)):
                        continue
                    parts.append([plane, dy, sampling.dx[run.start], i * LANE_BYTES])
                    lanes.append(split[:, i])
    table = np.array(parts, np.int64).reshape(-1, 4)
    weights = np.stack(lanes, axis=1) if lanes else np.zeros((channels, 0, per), w.dtype)
    return _Taps(table[:, 0], table[:, 1], table[:, 2], table[:, 3], weights)


@dataclass(frozen=True)
class Finishing:
    """How sums become the output: an epilogue, or a bias and bounds for float32.

    Attributes
    ----------
    requantize : None for float32.
    zero : the stored code of 0 of the input, which every weight multiplies.
    bias : float32, of each channel.
    bounds : of float32.
    """

    requantize: Requantize | None
    zero: int
    bias: NDArray[np.float32]
    bounds: NDArray[np.float32]

    @property
    def form(self) -> Epilogue | None:
        """What kernels are compiled for."""
        return None if self.requantize is None else self.requantize.form

    def numbers(self, order: NDArray[np.intp], w: Codes) -> NDArray[np.uint8]:
        """Return the numbers of vectors of channels (vectors, 16), -1 for none, whose weights are w (channels, ...)."""
        if self.requantize is not None:
            return self.requantize.packed(order, self.zero * w.reshape(len(w), -1).sum(axis=1, dtype=np.int64))
        return np.where(order < 0, np.float32(0), self.bias[order]).astype(np.float32).view(np.uint8).ravel()

    @property
    def vector_bytes(self) -> int:
        """Bytes of the numbers of 16 channels."""
        channels = len(self.bias)
        return len(self.numbers(np.zeros((1, LANES), np.intp), np.zeros((channels, 1), np.int64)))

    @property
    def scalars(self) -> NDArray[Any]:
        """Return the numbers of all channels."""
        return self.bounds if self.requantize is None else self.requantize.scalars


def chunked(lanes: NDArray[Any], x: Place) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return an order of taps, and the ends of chunks of it whose sums stay in 32 bits.

    A chunk begins with the 16 bits that are left of the one before. The taps are packed into as few chunks as a simple
    rule finds: the heaviest first, each into the first chunk that has room for it in every sum.

    Parameters
    ----------
    lanes
        (sums, taps, items): each sum's weights, of taps that it reads one after the other.
    """
    sums, taps, _ = lanes.shape
    # The halo holds the code 0, which need not be between the bounds.
    low, high = min(x.low, 0) + x.zero, max(x.high, 0) + x.zero
    w = lanes.astype(np.int64)
    # Of each tap the largest and the smallest that its products can add to each sum.
    most = np.maximum(w * high, w * low).sum(axis=2).T
    least = -np.minimum(w * high, w * low).sum(axis=2).T
    adds = np.maximum(np.concatenate([most, least], axis=1), 0)  # (taps, 2 x sums)
    room = (1 << 31) - (1 << 16) - 1
    if taps == 0 or (adds.sum(axis=0) <= room).all():
        return np.arange(taps), np.array([taps], np.int64)
    heaviest = np.argsort(-adds.max(axis=1), kind="stable") if taps <= _PACKED else np.arange(taps)
    filled = np.zeros((0, 2 * sums), np.int64)
    chunk = np.zeros(taps, np.int64)
    for t in heaviest:
        first = 0 if taps <= _PACKED else max(len(filled) - 1, 0)
        fits = (filled[first:] + adds[t] <= room).all(axis=1)
        if fits.any():
            chunk[t] = first + int(fits.argmax())
        else:
            chunk[t] = len(filled)
            filled = np.concatenate([filled, np.zeros((1, 2 * sums), np.int64)])
        filled[chunk[t]] += adds[t]
    order = np.argsort(chunk, kind="stable")
    return order, np.cumsum(np.bincount(chunk)).astype(np.int64)


def widening_note(form: Epilogue | None, taps: int, chunks: int, least: int = 1) -> str:
    """Return how sums are kept exact."""
    if form is None:
        return "float32 sums"
    if not form.wide:
        return "32-bit sums"
    if chunks <= least:
        return "32-bit sums, widened once"
    return f"32-bit sums, widened every {taps / chunks:.1f} of {taps} taps"


def _order(first: int, vectors: int, channels: int) -> NDArray[np.intp]:
    order = np.arange(first * LANES, (first + vectors) * LANES).reshape(vectors, LANES)
    return np.where(order < channels, order, -1)


@dataclass
class _Branch:
    """Vectors of output channels that read the same channels of the input, in one phase of the output."""

    sampling: Sampling
    first: int
    vectors: int
    taps: _Taps
    weights: int = 0
    numbers: int = 0
    chunks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    chunks_at: int = 0
    offsets: dict[tuple[int, int, int], int] = field(default_factory=dict)


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
        (x,) = self.inputs
        channels, inputs = self.w.shape[:2]
        per_group, per = channels // self.group, LANE_BYTES // ITEMSIZE[self.kind]
        vectors = ceil(channels / LANES)
        ranges = []
        for v in range(vectors):
            last = min((v + 1) * LANES, channels) - 1
            ranges.append((v * LANES // per_group * inputs, (last // per_group + 1) * inputs))
        self._scalars, form = self.keep(self.finishing.scalars), self.finishing.form
        for sampling in self.samplings:
            first = 0
            while first < vectors:
                count = 1
                most = _CHUNKED_VECTORS if form is not None and form.wide else vectors
                while first + count < vectors and count < most and ranges[first + count] == ranges[first]:
                    count += 1
                self.branches.append(self._branch(sampling, first, count, *ranges[first], per, x))
                first += count
        taps, chunks = (
            sum(len(values) for values in found)
            for found in zip(*((b.taps.dy, b.chunks) for b in self.branches), strict=True)
        )
        self.note = widening_note(self.finishing.form, taps, chunks, len(self.branches))

    def _branch(self, sampling: Sampling, first: int, vectors: int, low: int, high: int, per: int, x: Place) -> _Branch:
        """Return vectors first.. with their weights on input channels low..high."""
        channels, inputs = self.w.shape[:2]
        per_group = channels // self.group
        w = np.zeros((vectors * LANES, high - low, *self.w.shape[2:]), self.w.dtype)
        for i in range(min(vectors * LANES, channels - first * LANES)):
            c = first * LANES + i
            start = c // per_group * inputs - low
            w[i, start : start + inputs] = self.w[c]
        taps, form = _taps(w, sampling, x.block, low, per), self.finishing.form
        chunks = np.zeros(0, np.int64)
        if form is not None and form.wide:
            order, chunks = chunked(taps.lanes, x)
            taps = _Taps(taps.block[order], taps.dy[order], taps.dx[order], taps.byte[order], taps.lanes[:, order])
        branch = _Branch(sampling, first, vectors, taps)
        branch.chunks, branch.chunks_at = chunks, self.keep(chunks)
        branch.weights = self.aligned(dot.packed_weights(taps.lanes, self.kind, self.isa))
        used = self.w[:, :, list(sampling.kernel_y)][:, :, :, list(sampling.kernel_x)]
        branch.numbers = self.aligned(self.finishing.numbers(_order(first, vectors, channels), used))
        # The table of taps is of no use any more but for the distances.
        branch.taps = _Taps(taps.block, taps.dy, taps.dx, taps.byte, taps.lanes[:0])
        return branch

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        rows, width = self._size()
        taps = sum(len(b.taps.dy) * b.vectors / b.sampling.every[0] / b.sampling.every[1] for b in self.branches)
        return rows * width * taps * (0.6 if self.isa.has_vnni else 3)

    @property
    def weight_bytes(self) -> int:
        """What it reads again for every band of rows."""
        return sum(len(b.taps.dy) * b.vectors for b in self.branches) * dot.weight_bytes(self.kind, self.isa)

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the operator asks for, whatever the kernel does."""
        batch = 1 if self.as_pixels else self.out.shape[0]
        pixels = sum(prod(s.counted(*self._size())) * len(s.dy) * len(s.dx) for s in self.samplings)
        return batch * pixels * self.w.shape[0] * self.w.shape[1]

    def _size(self) -> tuple[int, int]:
        batch, _, height, width = self.out.shape
        return (1, batch) if self.as_pixels else (height, width)

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int]:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output are computed from, beyond its edges too."""
        low, high = [], []
        for s in self.samplings:
            begin, finish = self._own_rows(s, first, end)
            if finish > begin and s.dy and s.dx:
                low.append(begin * s.down + min(s.dy))
                high.append((finish - 1) * s.down + max(s.dy) + 1)
        return (min(low), max(high)) if low else (first, first)

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
        channels, block = self.out.shape[1], self.out.block
        ends = (branch.first + first + vectors) * LANES
        last = LANES - max(0, ends - channels) if block != LANES else LANES
        step = 0 if self.as_pixels and width > 1 else s.along * x.pixel
        taps, tap_bytes = len(branch.taps.dy), dot.weight_bytes(self.kind, self.isa)
        key = (x.plane, x.row, x.pixel)
        if key not in branch.offsets:
            branch.offsets[key] = self.keep(branch.taps.offsets(x))
        item = 4 if form is None else form.itemsize
        vector = out.plane if block == LANES else LANES * item
        outer = self._weights_outside(taps * tap_bytes * vectors, x, end - begin)
        fetches = outer and taps * tap_bytes * vectors > _FAR_WEIGHTS
        spec = Dot(self.kind, tile.rows, tile.pixels, tile.vectors, step, form, last != LANES, fetches)
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
            "y": out.at(s.first[0] + begin * s.every[0], s.first[1]) + (branch.first + first) * vector,
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

    def _weights_outside(self, weights: int, x: View, rows: int) -> bool:
        """Whether the loop over channels is around that over pixels: where weights are too many to be read for each."""
        pixels = rows * self._size()[1] * self.inputs[0].shape[1] * ITEMSIZE[self.kind]
        return weights > 1 << 15 and pixels < 1 << 20


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
        whole[:, :inputs] = self.w
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
            # Each lane of a pixel has a sum of its own.
            lanes = own.reshape(len(own), len(self._at), -1, per).transpose(0, 2, 1, 3).reshape(-1, len(self._at), per)
            wide = form is not None and form.wide
            order_of_taps, chunks = np.arange(len(self._at)), np.zeros(0, np.int64)
            if wide:
                order_of_taps, chunks = chunked(lanes, self.inputs[0])
            weights = self.aligned(few.packed_weights(own[:, order_of_taps], self.kind, self.isa))
            numbers = self.aligned(self.finishing.numbers(order, self.w))
            self._groups.append((first, len(own), weights, numbers, self.keep(chunks), len(chunks), order_of_taps))
        self._scalars = self.keep(self.finishing.scalars)
        self._offsets: dict[tuple[int, int, int, int], int] = {}
        self.note = widening_note(form, len(self._at), max(g[5] for g in self._groups))

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the operator asks for, whatever the kernel does."""
        return prod(self.out.shape) * prod(self.w.shape[1:])

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return self.out.shape[2] * self.out.shape[3] * len(self._at) * self.out.shape[1] / 2

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int]:  # noqa: ARG002
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
            spec = Few(self.kind, count, 4 if count == 4 else 8, self.finishing.form)
            arguments: dict[str, Address] = {
                **{"x": x.at(rows.first), "x_batch": x.image, "x_row": x.row, "offsets": self._offsets[key]},
                **{"taps": len(self._at), "w": weights, "numbers": numbers, "scalars": self._scalars},
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
        whole[:channels] = self.w.reshape(channels, -1)
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
        return self.out.bytes / 8 * self.w.shape[2] * self.w.shape[3] / 4

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int]:  # noqa: ARG002
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
