"""The code of `kernels.narrow_conv`."""

from typing import Any

from ..isa import Isa
from ..narrow_conv import NarrowConv, pixels_in_vector
from .epilogue import FlaggedCodes, VectorEpilogue, number_bytes
from .loops import Arguments, counted, tile_count
from .memory import Variable
from .products import VECTOR, Products
from .sums import WideSum, sum_over_taps, sum_wide
from .vector import F32, I64, LANES, Value, float_bounds, joined, load, load_scalar, zeros


def emit(spec: NarrowConv, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    pixels = spec.vectors * pixels_in_vector(spec.kind)
    x_pixel, y_pixel = VECTOR // pixels_in_vector(spec.kind), 4 if spec.epilogue is None else spec.epilogue.itemsize
    # The last tile reads whole vectors beyond the end of the row, and writes the pixels that are left of it.
    with counted(a.batch) as n, counted(a.rows) as r, counted(tile_count(a.width, pixels)) as j:
        first = j * pixels
        x = a.x + n * a.x_batch + r * a.x_row + first * x_pixel
        y = a.y + n * a.y_batch + r * a.y_row + first * y_pixel
        _tile(spec, isa, a, x, y, a.width - first)


def _tile(spec: NarrowConv, isa: Isa, a: Arguments, x: Value, y: Value, count: Value) -> None:
    """Build a tile of pixels, of which `count` are stored."""
    epilogue, products = spec.epilogue, Products(a.b, spec.kind, isa)
    group = LANES // pixels_in_vector(spec.kind)

    def add_tap(tap: Value, sums: list[Variable]) -> None:
        pixels = x + load_scalar(a.offsets + (tap << 3), I64)
        weights = a.w + tap * (spec.channels * products.parts * VECTOR)
        channels = [products.weights(weights + c * products.parts * VECTOR) for c in range(spec.channels)]
        # Pixels one after the other: registers are for the sums.
        for v in range(spec.vectors):
            inputs = products.inputs(load(pixels + v * VECTOR, products.element))
            for c, channel in enumerate(channels):
                total = sums[c * spec.vectors + v]
                total.put(products.add(total.get(), inputs, channel))

    size = spec.channels * spec.vectors
    if epilogue is not None and epilogue.wide:
        sums: list[Any] = sum_wide(products, [WideSum.nothing(a.b)] * size, a.chunks, a.chunk_count, add_tap)
    else:
        sums = sum_over_taps([zeros(a.b, products.element)] * size, a.taps, add_tap, partial=spec.partial)
    for c in range(spec.channels):
        numbers, own = a.numbers + c * number_bytes(epilogue), sums[c * spec.vectors : (c + 1) * spec.vectors]
        if epilogue is None:
            total = _added_up(own, group)
            low, high = float_bounds(a.scalars, total.lanes)
            result: Value | FlaggedCodes = (
                (total + load(numbers, F32).repeated(total.lanes)).at_least(low).at_most(high)
            )
        elif epilogue.wide:
            wide = WideSum(_added_up([w.high for w in own], group), _added_up([w.low for w in own], group))
            result = VectorEpilogue(epilogue, numbers, a).codes(wide)
        else:
            result = VectorEpilogue(epilogue, numbers, a).codes(_added_up(own, group))
        result.store_first(y + a.y_channel * c, count)


def _added_up(parts: list[Value], group: int) -> Value:
    """Return the sums of every `group` neighbouring lanes, of all parts in order, as one vector."""
    while group > 1:
        if len(parts) == 1:
            (part,) = parts
            parts = [part.picked(range(0, part.lanes, 2)) + part.picked(range(1, part.lanes, 2))]
        else:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [a.picked(range(0, 2 * a.lanes, 2), c) + a.picked(range(1, 2 * a.lanes, 2), c) for a, c in pairs]
        group //= 2
    return joined(parts)
