"""Resize: sums along rows, then down columns; nearest picks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES, EpilogueData, choose_epilogue
from qengine.kernels.isa import Isa
from qengine.kernels.program import Call
from qengine.kernels.reference.resize import Taps, integer_taps
from qengine.kernels.resize import ResizeColumns, ResizeNearest, ResizeRows
from qengine.model.steps import Arithmetic, Resize, Tensor
from qengine.runtime.native.linear import Want
from qengine.runtime.native.op import Op, Rows, Unfit
from qengine.runtime.native.place import ITEMSIZE, Address, Place, View, images


def _rows_read(index: NDArray[np.intp], first: int, end: int) -> tuple[int, int] | None:
    read = index[first:end]
    return (int(read.min()), int(read.max()) + 1) if read.size else None


@dataclass(eq=False)
class AlongOp(Op):
    """Sums over the taps of every output column."""

    taps: Taps

    def __post_init__(self) -> None:
        pixel = self.inputs[0].block * ITEMSIZE[self.inputs[0].stored]
        real = self.inputs[0].stored == "f32"
        self._offsets = self.keep(self.taps.index.astype(np.int64) * pixel)
        self._weights = self.keep(self.taps.weight.astype(np.float32 if real else np.int32))
        self.kernel = "resize along"

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return float(self.out.bytes * self.taps.index.shape[1] / self.out.block)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (place,) = views, self.inputs
        lanes = 1 << (place.block - 1).bit_length()
        spec = ResizeColumns(place.stored, lanes, self.taps.index.shape[1])  # type: ignore[arg-type]
        arguments: dict[str, Address] = {
            **x.arguments("x", rows.first),
            **out.arguments("y", rows.first),
            **{"batch": place.shape[0], "blocks": place.layout.blocks, "rows": rows.count, "width": self.out.shape[3]},
            **{"block": place.block, "offsets": self._offsets, "weights": self._weights, "zero": place.zero},
        }
        return [Call(spec, arguments)]


@dataclass(eq=False)
class DownOp(Op):
    """Sums over the taps of every output row."""

    taps: Taps
    requantize: EpilogueData | None

    def __post_init__(self) -> None:
        form = self.requantize
        self._index = self.taps.index.astype(np.int64)
        self._indices = self.keep(self._index)
        self._weights = self.keep(self.taps.weight.astype(np.float32 if form is None else np.int32))
        order = np.zeros((1, LANES), np.intp)
        self._numbers = self.aligned(np.zeros(64, np.uint8) if form is None else form.packed(order))
        self._scalars = self.keep(np.zeros(5, np.int64) if form is None else form.scalars)
        self.kernel = "resize down"
        self.note = "float32 sums" if form is None else "64-bit sums" if form.form.wide else "32-bit sums"

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output are computed from."""
        return _rows_read(self._index, first, end)

    @property
    def work(self) -> float:
        """About how many cycles it takes on one thread."""
        return float(self.out.bytes * self._index.shape[1] / 4)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), count = views, self._index.shape[1]
        spec = ResizeRows(count, None if self.requantize is None else self.requantize.form)
        arguments: dict[str, Address] = {
            **x.arguments("x"),
            **out.arguments("y", rows.first),
            **{"batch": self.out.shape[0], "blocks": self.out.layout.blocks, "rows": rows.count},
            **{"items": self.out.layout.row_items, "indices": self._indices + rows.first * count * 8},
            **{"weights": self._weights + rows.first * count * 4, "numbers": self._numbers, "scalars": self._scalars},
        }
        return [Call(spec, arguments)]


@dataclass(eq=False)
class NearestOp(Op):
    """One pixel of the input for each of the output."""

    down: NDArray[np.int64]
    along: NDArray[np.int64]

    def __post_init__(self) -> None:
        (place,) = self.inputs
        self._indices = self.keep(self.down)
        self._offsets = self.keep(self.along * place.block * ITEMSIZE[place.stored])
        self.kernel = "resize nearest"

    def needs(self, place: Place, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of an input that rows first..end of the output are computed from."""
        return _rows_read(self.down.reshape(-1, 1), first, end)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (place,) = views, self.inputs
        arguments: dict[str, Address] = {
            **x.arguments("x"),
            **out.arguments("y", rows.first),
            **{"batch": place.shape[0], "blocks": place.layout.blocks, "rows": rows.count, "width": self.out.shape[3]},
            **{"offsets": self._offsets, "indices": self._indices + rows.first * 8},
        }
        return [Call(ResizeNearest(place.block * ITEMSIZE[place.stored]), arguments)]


def _identity(size: int) -> Taps:
    return Taps(np.arange(size)[:, None], np.ones((size, 1)), None)


def lower_resize(step: Resize, out: Tensor, arithmetic: Arithmetic, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a Resize; see `lower_linear`."""
    shape = images(out.shape)
    if shape is None or step.x.ndim < 3 or any(a.axis < 2 for a in step.axes):
        raise Unfit("axes other than the spatial ones")
    if 0 in out.shape:
        raise Unfit("no output")
    taps = dict(zip((a.axis + (4 - step.x.ndim) for a in step.axes), step.taps(), strict=True))
    if any(t.outside is not None and t.outside.any() for t in taps.values()):
        raise Unfit("coordinates outside, that get a value of their own")
    if step.mode == "nearest":
        x = want(step.x)
        rows, columns = (
            taps[a].index[:, 0].astype(np.int64) if a in taps else np.arange(shape[a], dtype=np.int64) for a in (2, 3)
        )
        return [NearestOp(isa, (x,), Place.of(out, x.block, x.low, x.high), rows, columns)]
    found, numbers = None, step.x.format is not None
    if numbers:
        taps = {axis: integer_taps(t, step.tap_bits) for axis, t in taps.items()}
    vertical, horizontal = (taps.get(a, _identity(shape[a])) for a in (2, 3))
    x = want(step.x)
    place = Place.of(out, x.block)
    if numbers:
        largest = max(abs(x.low), abs(x.high), 1)
        row, column = (int(np.abs(t.weight).sum(axis=1).max(initial=1)) for t in (horizontal, vertical))
        heaviest = max(int(np.abs(t.weight).max(initial=0)) for t in (horizontal, vertical))
        if largest * row >= 1 << 31 or heaviest >= 1 << 31:
            raise Unfit("sums along rows that 32 bits do not hold")
        shift = step.tap_bits * len(step.axes) + step.x.fraction_bits - out.fraction_bits
        found = choose_epilogue(np.zeros(1, np.int64), largest * row * column, shift, arithmetic.word(out.one_format))
        if found is None:
            raise Unfit("sums that 64 bits do not hold")
    middle = Place(f"{out.name} along rows", (*x.shape[:3], shape[3]), "i32" if numbers else "f32", x.block)
    return [AlongOp(isa, (x,), middle, horizontal), DownOp(isa, (middle,), place, vertical, found)]
