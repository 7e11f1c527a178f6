"""The code of `kernels.dot`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ..dot import PARTIAL_TAPS, Dot, weight_bytes
from ..epilogue import Epilogue, Sums
from ..isa import Isa
from .epilogue import FlaggedCodes, SumsEpilogue, VectorEpilogue, number_bytes
from .loops import Arguments, counted, each_tile, tile_count
from .memory import Variable, aligned_room
from .products import VECTOR, Products
from .sums import sum_over_taps, sum_wide
from .vector import F32, I64, LANES, Value, constant, float_bounds, load, load_scalar, prefetch, zeros

_GROUP_SUMS = 112  # vectors of sums of a group of tiles: 7 KiB of the L1 cache, which the weights of a part are in too


def emit(spec: Dot, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    one = constant(a.b, 1)
    blocks = a.vectors.divided_by(spec.vectors)
    # An outer loop over channels keeps the weights in the cache, an outer loop over pixels the input.
    outside, inside = (blocks, one) if spec.outer else (one, blocks)
    tiles = _Tiles(spec, isa, a, blocks)
    # The larger tiles of AVX-512 read weights so seldom that the L2 cache is fast enough.
    if spec.partial and not isa.has_vnni:
        group = max(_GROUP_SUMS // (spec.rows * spec.pixels * spec.vectors), 1)
        sums = aligned_room(a.b, _GROUP_SUMS * VECTOR)
        with (
            counted(a.batch) as n,
            counted(outside) as first,
            counted(tile_count(tiles.count, group)) as g,
            counted(inside) as second,
        ):
            begin = g * group
            _emit_group(tiles, n, first + second, (begin, (begin + group).at_most(tiles.count)), sums)
        return
    with (
        counted(a.batch) as n,
        counted(outside) as first,
        each_tile(a.rows, spec.rows) as (i, r),
        each_tile(a.width, spec.pixels) as (j, p),
        counted(inside) as second,
    ):
        tiles.tile(n, first + second, r, p, i * tiles.in_row + j).emit()


def _emit_group(tiles: "_Tiles", n: Value, block: Value, span: tuple[Value, Value], room: Value) -> None:
    """Build the sums of a group of tiles in parts of the taps: the weights of a part stay in the L1 cache.

    Between parts, the sums of the tiles lie at `room`.
    """
    spec, a, (first, end) = tiles.spec, tiles.a, span
    size = spec.rows * spec.pixels * spec.vectors

    def each() -> AbstractContextManager[Value]:
        return counted(end, first)

    def places(t: Value) -> list[Value]:
        return [room + ((t - first) * size + i) * VECTOR for i in range(size)]

    with each() as t:
        for place, bias in zip(places(t), tiles.at(n, block, t).biases(), strict=True):
            bias.store(place, align=VECTOR)
    with counted(tile_count(a.taps, PARTIAL_TAPS)) as part, each() as t:
        tap = part * PARTIAL_TAPS
        parts = tiles.at(n, block, t).part_sums(tap, (tap + PARTIAL_TAPS).at_most(a.taps))
        for place, total in zip(places(t), parts, strict=True):
            (load(place, total.element, align=VECTOR) + total).store(place, align=VECTOR)
    with each() as t:
        tile = tiles.at(n, block, t)
        tile.finish([load(place, tile.products.element, align=VECTOR) for place in places(t)])


class _Tiles:
    """All tiles of an image, numbered along its rows.

    Attributes
    ----------
    spec, a : specification and arguments of the kernel.
    in_row, count : number of tiles in a row, and of all tiles of a block of channels.
    """

    def __init__(self, spec: Dot, isa: Isa, a: Arguments, blocks: Value) -> None:
        self.spec, self.a, self._blocks = spec, a, blocks
        self._products = Products(a.b, spec.kind, isa)
        self._x_step = constant(a.b, spec.step) if spec.step else a.x_step
        self.in_row = tile_count(a.width, spec.pixels)
        self.count = tile_count(a.rows, spec.rows) * self.in_row
        # Over its tiles a block prefetches all of the next one's weights. Without taps nothing must be divided by 0.
        self._block_weights = a.w_vector * spec.vectors
        self._next_step = self._block_weights.divided_by((self.count * a.taps).at_least(1)) + 1

    def at(self, n: Value, block: Value, t: Value) -> "_Tile":
        """Return tile t of an image and a block of channels. The last ones of a row or column end at the edge."""
        spec, a = self.spec, self.a
        i = t.divided_by(self.in_row)
        r = (i * spec.rows).at_most(a.rows - spec.rows)
        p = ((t - i * self.in_row) * spec.pixels).at_most(a.width - spec.pixels)
        return self.tile(n, block, r, p, t)

    def tile(self, n: Value, block: Value, r: Value, p: Value, t: Value) -> "_Tile":
        """Return tile t, whose first pixel is at row r and column p."""
        spec, a = self.spec, self.a
        w = a.w + block * self._block_weights
        return _Tile(
            spec,
            a,
            self._products,
            x=a.x + n * a.x_batch + r * a.x_row + p * self._x_step,
            x_step=self._x_step,
            y=a.y + n * a.y_batch + r * a.y_row + p * a.y_pixel + block * spec.vectors * a.y_vector,
            w=w,
            numbers=a.numbers + block * (spec.vectors * number_bytes(spec.epilogue)),
            last=a.last.where(block.equals(self._blocks - 1), LANES),
            next=w + self._block_weights + t * a.taps * self._next_step,
            next_step=self._next_step,
        )


@dataclass(frozen=True)
class _Tile:
    """Tile of output pixels x vectors of output channels.

    Attributes
    ----------
    spec, a : specification and arguments of the kernel.
    products : products of the instruction set.
    x, y : address of the first pixel's input and output.
    x_step : distance from one pixel's input to the next's.
    w, numbers : address of the weights and of the epilogue's numbers of the tile's channels.
    last : number of channels in the tile's last vector.
    next, next_step : first address that the tile prefetches, and the distance from tap to tap.
    """

    spec: Dot
    a: Arguments
    products: Products
    x: Value
    x_step: Value
    y: Value
    w: Value
    numbers: Value
    last: Value
    next: Value
    next_step: Value

    def emit(self) -> None:
        """Build the sums over the taps, the epilogue and the stores."""
        epilogue, a, epilogues = self.spec.epilogue, self.a, self._epilogues()
        if epilogue is not None and epilogue.wide:
            start = [e.start for e in epilogues if isinstance(e, VectorEpilogue)] * self._places
            sums: list[Any] = sum_wide(self.products, start, a.chunks, a.chunk_count, self._add_tap)
        else:
            biases = [e.bias for e in epilogues] * self._places if epilogues else self.biases()
            sums = sum_over_taps(biases, a.taps, self._add_tap, partial=self.spec.partial)
        self._finish(sums, epilogues)

    def biases(self) -> list[Value]:
        """Return what float32 sums begin with."""
        return [load(address, F32) for address in self._numbers()] * self._places

    def part_sums(self, first: Value, end: Value) -> list[Value]:
        """Build the sums over some of the taps alone."""
        nothing = zeros(self.a.b, self.products.element)
        return sum_over_taps([nothing] * (self._places * self.spec.vectors), end, self._add_tap, first)

    def finish(self, sums: Sequence[Value]) -> None:
        """Build the bounds and the stores of float32 sums that have the bias."""
        self._finish(sums, [])

    def _finish(self, sums: Sequence[Any], epilogues: Sequence[SumsEpilogue | VectorEpilogue]) -> None:
        spec, a = self.spec, self.a
        low, high = (None, None) if epilogues else float_bounds(a.scalars)
        for i, total in enumerate(sums):
            (r, p), v = divmod(i // spec.vectors, spec.pixels), i % spec.vectors
            if epilogues:
                result: Value | FlaggedCodes = epilogues[v].codes(total, has_bias=True)
            else:
                result = total.at_least(low).at_most(high)
            self._store(result, self.y + a.y_row * r + a.y_pixel * p + a.y_vector * v, v)

    @property
    def _places(self) -> int:
        return self.spec.rows * self.spec.pixels

    def _numbers(self) -> list[Value]:
        return [self.numbers + v * number_bytes(self.spec.epilogue) for v in range(self.spec.vectors)]

    def _epilogues(self) -> list[SumsEpilogue | VectorEpilogue]:
        epilogue = self.spec.epilogue
        return [] if epilogue is None else [_epilogue(epilogue, numbers, self.a) for numbers in self._numbers()]

    def _add_tap(self, tap: Value, sums: list[Variable]) -> None:
        spec, a = self.spec, self.a
        offset = load_scalar(a.offsets + (tap << 3), I64)
        if spec.outer:
            prefetch(self.next + tap * self.next_step)
        first = self.w + tap * weight_bytes(spec.kind, self.products.isa)
        weights = [self.products.weights(first + a.w_vector * v) for v in range(spec.vectors)]
        for r in range(spec.rows):
            row = self.x + a.x_row * r + offset
            for p in range(spec.pixels):
                x = self.products.inputs(load_scalar(row + self.x_step * p, self.products.element).splat())
                for v in range(spec.vectors):
                    total = sums[(r * spec.pixels + p) * spec.vectors + v]
                    total.put(self.products.add(total.get(), x, weights[v]))

    def _store(self, result: Value | FlaggedCodes, address: Value, v: int) -> None:
        if self.spec.masked and v == self.spec.vectors - 1:
            result.store_first(address, self.last)
        else:
            result.store(address)


def _epilogue(epilogue: Epilogue | Sums, numbers: Value, a: Arguments) -> SumsEpilogue | VectorEpilogue:
    if isinstance(epilogue, Sums):
        return SumsEpilogue(epilogue, numbers)
    return VectorEpilogue(epilogue, numbers, a)
