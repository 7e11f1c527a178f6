"""Op of convolutions of every kind, and of matrix products: dots over a table of taps, 16 output channels in a vector.

The output channels are cut into *filter sets*: channels that read the same input channels, in one phase of the output.
Each set has packed weights, a table of taps and the numbers of its output stage. A call computes some vectors of a set
on some rows, in tiles of pixels x vectors that `best_tile` chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import dot
from qengine.kernels.dot import ITEMSIZE, Dot
from qengine.kernels.epilogue import LANES
from qengine.kernels.layout import natural_block
from qengine.kernels.program import Call
from qengine.model.steps import Tensor
from qengine.runtime.native.exact_sums import widening_note
from qengine.runtime.native.lowerings.dot_channels import ChannelRange, channel_ranges, lane_channels
from qengine.runtime.native.lowerings.linear_op import Filters, LinearOp
from qengine.runtime.native.lowerings.tap_packing import packed_taps
from qengine.runtime.native.op import Rows, share_bounds
from qengine.runtime.native.sampling import Sampling, Taps
from qengine.runtime.native.tensor_buffer import Address, TensorBuffer, View


@dataclass
class _FilterSet:
    """Filters of a range of output channels, in one phase of the output.

    Attributes
    ----------
    sampling : positions of the taps.
    channels : range of output channels.
    taps, order : table of taps, without weights, and index in it of each tap; None for the order of the table.
    weights, numbers, chunks : addresses of the weights, of the numbers of the output stage, of the ends of chunks.
    chunk_count : number of chunks.
    offsets : addresses of the taps' distances in bytes, by the strides of the input.
    """

    sampling: Sampling
    channels: ChannelRange
    taps: Taps
    order: NDArray[np.intp] | None
    weights: int
    numbers: int
    chunks: int
    chunk_count: int
    offsets: dict[tuple[int, int, int], int] = field(default_factory=dict)

    @property
    def tap_count(self) -> int:
        """The number of taps."""
        return len(self.taps.dy)


@dataclass(frozen=True)
class _CallRange:
    """Part of a filter set that a call computes.

    Attributes
    ----------
    begin, end, width : first row of the phase, the row after the last, and pixels of a row.
    first, vectors : first vector of the set, and number of vectors.
    """

    begin: int
    end: int
    width: int
    first: int
    vectors: int


@dataclass(eq=False)
class DotOp(LinearOp):
    """A convolution or a matrix product, 16 output channels in a vector."""

    @classmethod
    def accepts(cls, filters: Filters, x: TensorBuffer, out: Tensor) -> bool:  # noqa: ARG003
        """Whether the kernel computes these filters: it computes all."""
        return True

    @classmethod
    def output_block(cls, channels: int) -> int:
        """Return the number of channels in a pixel of the output."""
        return natural_block(channels)

    def __post_init__(self) -> None:
        epilogue = self.output_stage.epilogue
        self._scalars = self.address_of(self.output_stage.scalars)
        self._totals = {id(sampling): self.filters.totals(sampling) for sampling in self.filters.samplings}
        ranges = channel_ranges(self.filters, wide=epilogue is not None and epilogue.wide)
        runs = [list(run) for _, run in groupby(ranges, lambda r: r.first if r.isolated else (r.low, r.high))]
        self._sets = [
            s for sampling in self.filters.samplings for run in runs for s in self._filter_sets(sampling, run)
        ]
        taps, chunks = sum(s.tap_count for s in self._sets), sum(s.chunk_count for s in self._sets)
        self.note = widening_note(epilogue, taps, chunks, len(self._sets))

    def _filter_sets(self, sampling: Sampling, ranges: Sequence[ChannelRange]) -> Iterator[_FilterSet]:
        """Yield the filter sets of ranges of channels, one after the other, that read the same inputs."""
        (x,) = self.inputs
        order = lane_channels(ranges[0].first, sum(channels.count for channels in ranges))
        numbers = self.aligned_copy(self.output_stage.channel_numbers(order, self._totals[id(sampling)]))
        packed = packed_taps(self.filters, sampling, ranges, x, self.output_stage.epilogue, self.isa)
        for channels, own in zip(ranges, packed, strict=True):
            yield _FilterSet(
                sampling,
                channels,
                own.taps,
                own.order,
                chunks=self.address_of(own.chunks),
                weights=self.address_of(own.weights),
                numbers=numbers,
                chunk_count=len(own.chunks),
            )
            numbers += channels.vectors * self.output_stage.vector_bytes

    @property
    def splits_channels(self) -> bool:
        """Whether `calls` can compute a share of the channels."""
        return True

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        rows, width = self.output_size
        taps = sum(s.tap_count * s.channels.vectors / s.sampling.every[0] / s.sampling.every[1] for s in self._sets)
        return float(rows * width * taps) * (0.6 if self.isa.has_vnni else 3)

    @property
    def weight_bytes(self) -> int:
        """The bytes of weights that are read again for every band of rows."""
        return sum(s.tap_count * s.channels.vectors for s in self._sets) * dot.weight_bytes(self.kind, self.isa)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,) = views
        if self.filters.as_pixels:
            x = View(x.origin, 0, x.plane, 0, x.image)
            out = View(out.origin, 0, out.plane, 0, out.image, out.flags)
        calls = []
        begin, end = share_bounds(sum(s.channels.vectors for s in self._sets), rows.share, rows.shares)
        seen = 0
        for filter_set in self._sets:
            vectors = filter_set.channels.vectors
            first, last = max(begin - seen, 0), min(end - seen, vectors)
            seen += vectors
            if last > first:
                calls += self._calls_of_set(filter_set, x, out, rows, range(first, last))
        tiles = {f"{c.spec.rows}x{c.spec.pixels}x{c.spec.vectors * LANES}" for c in calls}
        self.kernel = f"dot {', '.join(sorted(tiles))}"
        return calls

    def _calls_of_set(self, filter_set: _FilterSet, x: View, out: View, rows: Rows, vectors: range) -> list[Call]:
        """Return the calls that compute some vectors of a filter set on rows of the output."""
        begin, end = filter_set.sampling.rows_within(rows.first, rows.end)
        _, width = filter_set.sampling.size(*self.output_size)
        if end <= begin or width == 0:
            return []
        calls, done = [], vectors.start
        while done < vectors.stop:
            left = vectors.stop - done
            tile = self._tile(filter_set, end - begin, width, left)
            for even in (2, 4):  # one odd vector must not force a slow tile on the others
                if left > even and left % even:
                    other = self._tile(filter_set, end - begin, width, left - left % even)
                    if other.vectors >= even and tile.vectors < even:
                        tile, left = other, left - left % even
            calls.append(self._call(filter_set, x, out, tile, _CallRange(begin, end, width, done, left)))
            done += left
        return calls

    def _tile(self, filter_set: _FilterSet, rows: int, width: int, vectors: int) -> dot.Tile:
        return dot.best_tile(self.kind, self.isa, rows, width, vectors, filter_set.tap_count, filter_set.chunk_count)

    def _call(self, filter_set: _FilterSet, x: View, out: View, tile: dot.Tile, span: _CallRange) -> Call:
        """Return the call that computes a span of a filter set in tiles."""
        s, epilogue, channels = filter_set.sampling, self.output_stage.epilogue, filter_set.channels
        rows, vectors, taps = span.end - span.begin, span.vectors, filter_set.tap_count
        block, channel = self.out.block, channels.first + span.first * LANES
        # A block has room for 16 channels; a call of isolated channels, or of a narrower block, writes only its own.
        left = channels.count - (span.first + vectors - 1) * LANES
        last = min(left if channels.isolated or block != LANES else LANES, LANES)
        is_row_of_pixels = self.filters.as_pixels and span.width > 1
        step = 0 if is_row_of_pixels or tile.pixels == 1 else s.stride_x * x.pixel  # few kernels: see `Dot.step`
        vector_bytes = taps * dot.weight_bytes(self.kind, self.isa)
        key = (x.plane, x.row, x.pixel)
        if key not in filter_set.offsets:
            distances = filter_set.taps.offsets(x)
            order = filter_set.order
            filter_set.offsets[key] = self.address_of(distances if order is None else distances[order])
        item = 4 if epilogue is None else epilogue.itemsize
        y_vector = out.plane if block == LANES else LANES * item
        outer = self._loops_over_channels_outside(vector_bytes * vectors, rows)
        partial = self.kind == "f32" and taps > dot.PARTIAL_TAPS
        spec = Dot(self.kind, tile.rows, tile.pixels, tile.vectors, step, epilogue, last != LANES, outer, partial)
        arguments: dict[str, Address] = {
            "x": x.at(span.begin * s.stride_y),
            "x_batch": x.image,
            "x_row": s.stride_y * x.row,
            "x_step": s.stride_x * x.pixel,
            "offsets": filter_set.offsets[key],
            "taps": taps,
            "chunks": filter_set.chunks,
            "chunk_count": filter_set.chunk_count,
            "w": filter_set.weights + span.first * vector_bytes,
            "w_vector": vector_bytes,
            "numbers": filter_set.numbers + span.first * self.output_stage.vector_bytes,
            "scalars": self._scalars,
            "y": out.at(s.first[0] + span.begin * s.every[0], s.first[1])
            + (channel // LANES * y_vector + channel % LANES * item),
            "y_batch": out.image,
            "y_vector": y_vector,
            "y_row": s.every[0] * out.row,
            "y_pixel": s.every[1] * out.pixel,
            "batch": 1 if self.filters.as_pixels else self.out.shape[0],
            "rows": rows,
            "width": span.width,
            "vectors": vectors,
            "last": last,
            **out.flag_arguments,
        }
        return Call(spec, arguments)

    def _loops_over_channels_outside(self, weight_bytes: int, rows: int) -> bool:
        """Whether the loop over channels encloses that over pixels: for more weights than the L1 cache holds."""
        pixel_bytes = rows * self.output_size[1] * self.inputs[0].shape[1] * ITEMSIZE[self.kind]
        return weight_bytes > 1 << 15 and pixel_bytes < 1 << 20
