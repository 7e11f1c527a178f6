"""The code of `kernels.depthwise`."""

from collections.abc import Sequence
from typing import Any

from ..depthwise import Depthwise, lane_items
from ..dot import ITEMSIZE
from ..isa import Isa
from ..narrow_conv import pixels_in_vector
from .epilogue import FlaggedCodes, VectorEpilogue, number_bytes
from .loops import Arguments, counted, each_plane, each_tile, tile_count
from .memory import Variable
from .products import VECTOR, Products
from .sums import sum_over_taps, sum_wide
from .vector import F32, I32, I64, LANES, Value, float_bounds, interleaved, joined, load, load_scalar


def emit(spec: Depthwise, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    tile = _Tile(spec, isa, a)
    numbers_block = tile.items * number_bytes(spec.epilogue)
    with (
        each_plane(a, "x", "y") as (k, (x, y)),
        each_tile(a.rows, spec.rows) as (_, r),
        counted(tile_count(a.width, tile.pixels)) as j,
    ):
        # The last tile reads whole vectors beyond the end of the row, and writes the pixels that are left of it.
        first = j * tile.pixels
        x, y = x + r * a.x_row + first * tile.x_pixel, y + r * a.y_row + first * tile.y_pixel
        tile.emit(x, y, a.w + k * a.w_block, a.numbers + k * numbers_block, a.width - first)


class _Tile:
    """Tile of rows x pixels of 16 channels."""

    def __init__(self, spec: Depthwise, isa: Isa, a: Arguments) -> None:
        self.spec, self.a, self.products = spec, a, Products(a.b, spec.kind, isa)
        self.items, self.in_vector = lane_items(spec.kind), pixels_in_vector(spec.kind)
        self.pixels = spec.vectors * self.in_vector
        self.x_pixel = spec.stride * LANES * ITEMSIZE[spec.kind]
        self.y_pixel = LANES * (4 if spec.epilogue is None else spec.epilogue.itemsize)
        self.places = [(r, v) for r in range(spec.rows) for v in range(spec.vectors)]

    def emit(self, x: Value, y: Value, w: Value, numbers: Value, count: Value) -> None:
        """Build the sums over the taps, the epilogue and the stores of the first `count` pixels of each row."""
        a, epilogue, items = self.a, self.spec.epilogue, self.items

        def add_tap(tap: Value, sums: list[Variable]) -> None:
            offset = load_scalar(a.offsets + (tap << 3), I64)
            tap_weights, per_item = w + tap * (items * self.products.parts * VECTOR), self.products.parts * VECTOR
            weights = [self.products.weights(tap_weights + i * per_item) for i in range(items)]
            for k, (r, v) in enumerate(self.places):
                address = x + a.x_row * r + v * self.in_vector * self.x_pixel + offset
                inputs = self.products.inputs(self._pixels(address))
                for total, weight in zip(sums[k * items : (k + 1) * items], weights, strict=True):
                    total.put(self.products.add(total.get(), inputs, weight))

        size = number_bytes(epilogue)
        epilogues = [] if epilogue is None else [VectorEpilogue(epilogue, numbers + i * size, a) for i in range(items)]
        if epilogue is not None and epilogue.wide:
            start = [e.start for e in epilogues] * len(self.places)
            sums: list[Any] = sum_wide(self.products, start, a.chunks, a.chunk_count, add_tap)
        else:
            biases = [load(numbers, F32)] if epilogue is None else [e.bias for e in epilogues]
            sums = sum_over_taps(biases * len(self.places), a.taps, add_tap)
        if epilogue is None:
            low, high = float_bounds(a.scalars)
        for k, (r, v) in enumerate(self.places):
            own = sums[k * items : (k + 1) * items]
            if epilogue is None:
                result: Value | FlaggedCodes = own[0].at_least(low).at_most(high)
            else:
                codes = [epilogue.codes(total, has_bias=True) for epilogue, total in zip(epilogues, own, strict=True)]
                result = _side_by_side(codes, epilogue.itemsize)
            left = (count - v * self.in_vector) * (result.lanes // self.in_vector)
            result.store_first(y + a.y_row * r + v * self.in_vector * self.y_pixel, left)

    def _pixels(self, address: Value) -> Value:
        """Return 16 lanes of the inputs of neighbouring output pixels."""
        if self.spec.stride == 1 or self.in_vector == 1:
            return load(address, self.products.element)
        lanes = LANES // self.in_vector
        return joined([load(address + i * self.x_pixel, self.products.element, lanes) for i in range(self.in_vector)])


def _side_by_side(codes: Sequence[Value | FlaggedCodes], itemsize: int) -> Value | FlaggedCodes:
    """Return the codes of a lane's channels, one vector each, in the order of the channels, with their flags."""
    flagged = [one for one in codes if isinstance(one, FlaggedCodes)]
    if flagged:
        flags = _lane_by_lane([one.flags for one in flagged], itemsize)
        return FlaggedCodes(_lane_by_lane([one.codes for one in flagged], itemsize), flags, flagged[0].distance)
    return _lane_by_lane([one for one in codes if isinstance(one, Value)], itemsize)


def _lane_by_lane(codes: list[Value], itemsize: int) -> Value:
    if len(codes) * itemsize != 4:
        return interleaved(codes)
    lanes = codes[0].widened(I32, signed=False)
    for i, part in enumerate(codes[1:], start=1):
        lanes = lanes | (part.widened(I32, signed=False) << (8 * itemsize * i))
    return lanes
