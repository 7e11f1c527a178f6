"""The code of `kernels.narrow_conv`."""

from typing import Any

from llvmlite import ir

from ..dot import LANE_BYTES
from ..isa import Isa
from ..narrow_conv import NarrowConv, pixels_in_vector
from .epilogue import Finish, parameter_bytes
from .memory import inlined, unpacker
from .products import Products, element
from .sums import WideSum, sum_over_taps, sum_wide
from .vector import F32, I64, LANES, Vec, i64, joined, load, load_scalar, splat, zeros

_VECTOR = LANES * LANE_BYTES


def _added_up(parts: list[Vec], group: int) -> Vec:
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


def make(spec: NarrowConv, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    kind, form = spec.kind, spec.epilogue
    in_vector = pixels_in_vector(kind)
    group = LANES // in_vector

    def emit(b: ir.IRBuilder, *values: ir.Value) -> None:
        x, offsets, taps, chunks, chunk_count, w, numbers, scalars, y, y_channel, count = values
        products, lane = Products(b, kind, isa), element(kind)

        def add_tap(tap: ir.Value, sums: list[ir.Value]) -> None:
            place = b.add(x, load_scalar(b, b.add(offsets, b.shl(tap, i64(3))), I64))
            weights = b.add(w, b.mul(tap, i64(spec.channels * products.parts * _VECTOR)))
            channels = [
                [
                    load(b, b.add(weights, i64((c * products.parts + i) * _VECTOR)), lane, align=4)
                    for i in range(products.parts)
                ]
                for c in range(spec.channels)
            ]
            # Pixels one after the other: registers are for the sums.
            for v in range(spec.vectors):
                pixel = products.inputs(load(b, b.add(place, i64(_VECTOR * v)), lane))
                for c, channel in enumerate(channels):
                    total = sums[c * spec.vectors + v]
                    b.store(products.add(Vec(b, b.load(total)), pixel, channel).v, total)

        size = spec.channels * spec.vectors
        if form is not None and form.wide:
            sums: list[Any] = sum_wide(b, products, size, chunks, chunk_count, add_tap)
        else:
            sums = sum_over_taps(b, [zeros(b, lane)] * size, taps, add_tap, partial=spec.partial)
        for c in range(spec.channels):
            parameters, own = (
                b.add(numbers, i64(c * parameter_bytes(form))),
                sums[c * spec.vectors : (c + 1) * spec.vectors],
            )
            if form is None:
                total = _added_up(own, group)
                low, high = (splat(b, load_scalar(b, b.add(scalars, i64(4 * i)), F32), total.lanes) for i in range(2))
                bias = load(b, parameters, F32).picked([i % LANES for i in range(total.lanes)])
                result = (total + bias).at_least(low).at_most(high)
            elif form.wide:
                high, low = (_added_up([getattr(total, part) for total in own], group) for part in ("high", "low"))
                result = Finish(b, form, parameters, scalars).of_sum(WideSum(high, low))
            else:
                result = Finish(b, form, parameters, scalars).of_sum(_added_up(own, group))
            result.store_first(b.add(y, b.mul(y_channel, i64(c))), count)

    tile, unpack = inlined(emit), unpacker(len(spec.arguments))
    along, step = spec.vectors * in_vector, _VECTOR // in_vector
    out = 4 if form is None else form.itemsize

    def narrow_conv(arguments):
        (
            x, x_batch, x_row, offsets, taps, chunks, chunk_count, w, numbers, scalars, y, y_batch, y_channel, y_row,
            batch, rows, width,
        ) = unpack(arguments)  # fmt: skip
        for n in range(batch):
            for r in range(rows):
                for j in range((width + along - 1) // along):
                    tile((
                        x + n * x_batch + r * x_row + j * along * step, offsets, taps, chunks, chunk_count, w,
                        numbers, scalars, y + n * y_batch + r * y_row + j * along * out, y_channel, width - j * along,
                    ))  # fmt: skip

    return narrow_conv
