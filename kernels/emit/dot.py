"""The dot kernel's code; see `kernels.dot`."""

from typing import Any

from llvmlite import ir

from ..dot import Dot, weight_bytes
from ..isa import Isa
from .epilogue import Finish, parameter_bytes
from .memory import inlined, unpacker
from .products import Products, element
from .sums import sum_over_taps, sum_wide
from .vector import F32, I64, Vec, i64, load, load_scalar, prefetch, splat


class _Tile:
    """One tile of output pixels x vectors of output channels."""

    def __init__(self, b: ir.IRBuilder, spec: Dot, isa: Isa, names: dict[str, ir.Value]) -> None:
        self.b, self.spec, self.at = b, spec, names
        self.products = Products(b, spec.kind, isa)
        self.tap_bytes = weight_bytes(spec.kind, isa)
        self.places = [(r, p) for r in range(spec.rows) for p in range(spec.pixels)]
        self.element = element(spec.kind)
        self.wide = spec.epilogue is not None and spec.epilogue.wide

    def emit(self) -> None:
        b, spec, at = self.b, self.spec, self.at
        form = spec.epilogue
        finishes: list[Any] = []
        biases = []
        for v in range(spec.vectors):
            place = b.add(at["numbers"], i64(v * parameter_bytes(form)))
            if form is None:
                finishes.append(None)
                biases.append(load(b, place, F32))
            else:
                finishes.append(Finish(b, form, place, at["scalars"]))
                biases.append(finishes[-1].bias)
        count = len(self.places) * spec.vectors
        if self.wide:
            sums: list[Any] = sum_wide(b, self.products, count, at["chunks"], at["chunk_count"], self._add_tap)
        else:
            sums = sum_over_taps(b, biases * len(self.places), at["taps"], self._add_tap, partial=spec.partial)
        low, high = self._float_bounds() if form is None else (None, None)
        for i, total in enumerate(sums):
            (r, p), v = self.places[i // spec.vectors], i % spec.vectors
            result = (
                total.at_least(low).at_most(high)
                if form is None
                else finishes[v].of_sum(total, with_bias=not self.wide)
            )
            self._store(result, r, p, v)

    def _add_tap(self, tap: ir.Value, sums: list[ir.Value]) -> None:
        b, spec, at = self.b, self.spec, self.at
        offset = load_scalar(b, b.add(at["offsets"], b.shl(tap, i64(3))), I64)
        weights = b.add(at["w"], b.mul(tap, i64(self.tap_bytes)))
        if spec.fetches:
            prefetch(b, b.add(at["next"], b.mul(tap, at["next_step"])))
        w = []
        for v in range(spec.vectors):
            place = b.add(weights, b.mul(at["w_vector"], i64(v)))
            part = self.tap_bytes // self.products.parts
            w.append([load(b, b.add(place, i64(part * i)), self.element, align=4) for i in range(self.products.parts)])
        for r in range(spec.rows):
            row = b.add(b.add(at["x"], b.mul(at["x_row"], i64(r))), offset)
            for p in range(spec.pixels):
                place = b.add(row, i64(spec.step * p)) if spec.step else b.add(row, b.mul(at["x_step"], i64(p)))
                x = self.products.inputs(splat(b, load_scalar(b, place, self.element)))
                for v in range(spec.vectors):
                    total = sums[(r * spec.pixels + p) * spec.vectors + v]
                    b.store(self.products.add(Vec(b, b.load(total)), x, w[v]).v, total)

    def _float_bounds(self) -> tuple[Vec, Vec]:
        low, high = (load_scalar(self.b, self.b.add(self.at["scalars"], i64(4 * i)), F32) for i in range(2))
        return splat(self.b, low), splat(self.b, high)

    def _store(self, result: Vec, r: int, p: int, v: int) -> None:
        b, spec, at = self.b, self.spec, self.at
        place = b.add(at["y"], b.mul(at["y_row"], i64(r)))
        place = b.add(place, b.add(b.mul(at["y_pixel"], i64(p)), b.mul(at["y_vector"], i64(v))))
        if spec.masked and v == spec.vectors - 1:
            result.store_first(place, at["last"])
        else:
            result.store(place)


def make(spec: Dot, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    names = (
        "x", "x_row", "x_step", "offsets", "taps", "chunks", "chunk_count", "w", "w_vector", "numbers", "scalars",
        "y", "y_vector", "y_row", "y_pixel", "last", "next", "next_step",
    )  # fmt: skip

    def emit(b: ir.IRBuilder, *values: ir.Value) -> None:
        _Tile(b, spec, isa, dict(zip(names, values, strict=True))).emit()

    tile, unpack = inlined(emit), unpacker(len(spec.arguments))
    down, along, across, step = spec.rows, spec.pixels, spec.vectors, spec.step
    numbers_bytes = across * parameter_bytes(spec.epilogue)

    def dot(arguments):
        (
            x, x_batch, x_row, x_step, offsets, taps, chunks, chunk_count, w, w_vector, numbers,
            scalars, y, y_batch, y_vector, y_row, y_pixel, batch, rows, width, vectors, last, outer,
        ) = unpack(arguments)  # fmt: skip
        blocks = vectors // across
        tall, long = (rows + down - 1) // down, (width + along - 1) // along
        # Channels outside of pixels keep the weights at hand, pixels outside of channels the input.
        outside, inside = (blocks, 1) if outer else (1, blocks)
        apart = step if step else x_step
        # Over its tiles a block calls for all of the next one's weights.
        next_step = across * w_vector // (tall * long * taps) + 1 if taps > 0 else 0
        for n in range(batch):
            for first in range(outside):
                for i in range(tall):
                    # The last tile may do again what the one before did.
                    r = i * down if (i + 1) * down <= rows else rows - down
                    for j in range(long):
                        p = j * along if (j + 1) * along <= width else width - along
                        for second in range(inside):
                            block = first + second
                            ends = last if block == blocks - 1 else 16
                            tile((
                                x + n * x_batch + r * x_row + p * apart, x_row, apart, offsets, taps, chunks,
                                chunk_count,
                                w + block * across * w_vector, w_vector, numbers + block * numbers_bytes, scalars,
                                y + n * y_batch + r * y_row + p * y_pixel + block * across * y_vector, y_vector, y_row,
                                y_pixel, ends, w + (block + 1) * across * w_vector + (i * long + j) * taps * next_step,
                                next_step,
                            ))  # fmt: skip

    return dot
