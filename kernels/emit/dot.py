"""The code of `kernels.dot`."""

from dataclasses import dataclass
from typing import Any

from ..dot import Dot, weight_bytes
from ..epilogue import Epilogue, Sums
from ..isa import Isa
from .epilogue import FlaggedCodes, SumsEpilogue, VectorEpilogue, number_bytes
from .loops import Arguments, counted, each_tile, tile_count
from .memory import Variable
from .products import Products
from .sums import sum_over_taps, sum_wide
from .vector import F32, I64, LANES, Value, constant, float_bounds, load, load_scalar, prefetch


def emit(spec: Dot, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    one = constant(a.b, 1)
    x_step = constant(a.b, spec.step) if spec.step else a.x_step
    blocks = a.vectors.divided_by(spec.vectors)
    # An outer loop over channels keeps the weights in the cache, an outer loop over pixels the input.
    outside, inside = (blocks, one) if spec.outer else (one, blocks)
    tall, long = tile_count(a.rows, spec.rows), tile_count(a.width, spec.pixels)
    # Over its tiles a block prefetches all of the next one's weights. Without taps nothing must be divided by 0.
    block_weights = a.w_vector * spec.vectors
    next_step = block_weights.divided_by((tall * long * a.taps).at_least(1)) + 1
    with (
        counted(a.batch) as n,
        counted(outside) as first,
        each_tile(a.rows, spec.rows) as (i, r),
        each_tile(a.width, spec.pixels) as (j, p),
        counted(inside) as second,
    ):
        block = first + second
        w = a.w + block * block_weights
        tile = _Tile(
            spec,
            a,
            Products(a.b, spec.kind, isa),
            x=a.x + n * a.x_batch + r * a.x_row + p * x_step,
            x_step=x_step,
            y=a.y + n * a.y_batch + r * a.y_row + p * a.y_pixel + block * spec.vectors * a.y_vector,
            w=w,
            numbers=a.numbers + block * (spec.vectors * number_bytes(spec.epilogue)),
            last=a.last.where(block.equals(blocks - 1), LANES),
            next=w + block_weights + (i * long + j) * a.taps * next_step,
            next_step=next_step,
        )
        tile.emit()


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
        spec, a, epilogue = self.spec, self.a, self.spec.epilogue
        numbers = [self.numbers + v * number_bytes(epilogue) for v in range(spec.vectors)]
        epilogues = [] if epilogue is None else [_epilogue(epilogue, address, a) for address in numbers]
        biases = [load(address, F32) for address in numbers] if epilogue is None else [e.bias for e in epilogues]
        places = [(r, p) for r in range(spec.rows) for p in range(spec.pixels)]
        is_wide = epilogue is not None and epilogue.wide
        if is_wide:
            start = [e.start for e in epilogues if isinstance(e, VectorEpilogue)] * len(places)
            sums: list[Any] = sum_wide(self.products, start, a.chunks, a.chunk_count, self._add_tap)
        else:
            sums = sum_over_taps(biases * len(places), a.taps, self._add_tap, partial=spec.partial)
        low, high = float_bounds(a.scalars) if epilogue is None else (None, None)
        for i, total in enumerate(sums):
            (r, p), v = places[i // spec.vectors], i % spec.vectors
            if epilogue is None:
                result: Value | FlaggedCodes = total.at_least(low).at_most(high)
            else:
                result = epilogues[v].codes(total, has_bias=True)
            self._store(result, self.y + a.y_row * r + a.y_pixel * p + a.y_vector * v, v)

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
