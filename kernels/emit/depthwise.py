"""The code of `kernels.depthwise`."""

from typing import Any

from llvmlite import ir

from ..depthwise import Depthwise, lane_items
from ..dot import ITEMSIZE, LANE_BYTES
from ..isa import Isa
from ..narrow_conv import pixels_in_vector
from .epilogue import Finish, parameter_bytes
from .memory import inlined, unpacker
from .products import Products, element
from .sums import sum_over_taps, sum_wide
from .vector import F32, I32, I64, LANES, Vec, i64, interleaved, joined, load, load_scalar, splat, zeros

_VECTOR = LANES * LANE_BYTES


def _packed(codes: list[Vec], itemsize: int) -> Vec:
    """Return the codes of a lane's channels, one vector each, side by side."""
    if len(codes) * itemsize != LANE_BYTES:
        return interleaved(codes)
    lanes = codes[0].widened(I32, signed=False)
    for i, part in enumerate(codes[1:], start=1):
        lanes = lanes | (part.widened(I32, signed=False) << (8 * itemsize * i))
    return lanes


def make(spec: Depthwise, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    kind, form, items = spec.kind, spec.epilogue, lane_items(spec.kind)
    in_vector, pixel = pixels_in_vector(kind), LANES * ITEMSIZE[kind]
    out = 4 if form is None else form.itemsize

    def pixels(b: ir.IRBuilder, place: ir.Value) -> Vec:
        """Return 16 lanes of output pixels' inputs."""
        lane = element(kind)
        if spec.stride == 1 or in_vector == 1:
            return load(b, place, lane)
        apart = [
            load(b, b.add(place, i64(i * spec.stride * pixel)), lane, LANES // in_vector) for i in range(in_vector)
        ]
        return joined(apart)

    def emit(b: ir.IRBuilder, *values: ir.Value) -> None:
        x, x_row, offsets, taps, chunks, chunk_count, w, numbers, scalars, y, y_row, count = values
        products, lane = Products(b, kind, isa), element(kind)
        places = [(r, v) for r in range(spec.rows) for v in range(spec.vectors)]

        def add_tap(tap: ir.Value, sums: list[ir.Value]) -> None:
            offset = load_scalar(b, b.add(offsets, b.shl(tap, i64(3))), I64)
            weights = b.add(w, b.mul(tap, i64(items * products.parts * _VECTOR)))
            own = [
                [
                    load(b, b.add(weights, i64((j * products.parts + i) * _VECTOR)), lane, align=4)
                    for i in range(products.parts)
                ]
                for j in range(items)
            ]
            for k, (r, v) in enumerate(places):
                place = b.add(b.add(x, b.mul(x_row, i64(r))), i64(v * in_vector * spec.stride * pixel))
                inputs = products.inputs(pixels(b, b.add(place, offset)))
                for total, channel in zip(sums[k * items : (k + 1) * items], own, strict=True):
                    b.store(products.add(Vec(b, b.load(total)), inputs, channel).v, total)

        size = len(places) * items
        if form is not None and form.wide:
            sums: list[Any] = sum_wide(b, products, size, chunks, chunk_count, add_tap)
        else:
            sums = sum_over_taps(b, [zeros(b, lane)] * size, taps, add_tap)
        step = parameter_bytes(form)
        if form is None:
            low, high = (splat(b, load_scalar(b, b.add(scalars, i64(4 * i)), F32)) for i in range(2))
            bias = load(b, numbers, F32)
        else:
            finishes = [Finish(b, form, b.add(numbers, i64(j * step)), scalars) for j in range(items)]
        for k, (r, v) in enumerate(places):
            loaded = sums[k * items : (k + 1) * items]
            if form is None:
                result = (loaded[0] + bias).at_least(low).at_most(high)
            else:
                codes = [finish.of_sum(t) for finish, t in zip(finishes, loaded, strict=True)]
                result = _packed(codes, form.itemsize)
            # Lanes of the pixels that are left of the row.
            lanes_of_pixel = result.lanes // in_vector
            left = b.mul(b.sub(count, i64(v * in_vector)), i64(lanes_of_pixel))
            place = b.add(b.add(y, b.mul(y_row, i64(r))), i64(v * in_vector * LANES * out))
            result.store_first(place, left)

    tile, unpack = inlined(emit), unpacker(len(spec.arguments))
    down, along, stride = spec.rows, spec.vectors * in_vector, spec.stride
    numbers_bytes = items * parameter_bytes(form)

    def depthwise(arguments):
        (
            x, x_batch, x_block, x_row, offsets, taps, chunks, chunk_count, w, w_block, numbers, scalars, y, y_batch,
            y_block, y_row, batch, blocks, rows, width,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for k in range(blocks):
                for i in range((rows + down - 1) // down):
                    r = i * down if (i + 1) * down <= rows else rows - down
                    for j in range((width + along - 1) // along):
                        tile((
                            x + n * x_batch + k * x_block + r * x_row + j * along * stride * pixel, x_row, offsets,
                            taps, chunks, chunk_count, w + k * w_block, numbers + k * numbers_bytes, scalars,
                            y + n * y_batch + k * y_block + r * y_row + j * along * 16 * out, y_row, width - j * along,
                        ))  # fmt: skip

    return depthwise
