"""Lowering of Resize: weighted sums along rows, then down columns; nearest picks pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES, EpilogueData, choose_epilogue
from qengine.kernels.layout import Halo
from qengine.kernels.program import Call
from qengine.kernels.reference.resize import ResizeTaps, integer_taps
from qengine.kernels.resize import ResizeColumns, ResizeNearest, ResizeRows
from qengine.model.steps import Resize
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, lowers
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import ITEMSIZE, Address, TensorBuffer, View, images

MAX_ROW_SUM = 1 << 31
"""The smallest magnitude of a sum along a row that 32 bits do not hold."""


def _rows_read(index: NDArray[np.intp], first: int, end: int) -> tuple[int, int] | None:
    """Return the range of the input rows in rows first..end of a table (output rows, taps); None for no rows."""
    read = index[first:end]
    return (int(read.min()), int(read.max()) + 1) if read.size else None


@dataclass(eq=False)
class ResizeColumnsOp(Op):
    """Sums over the taps of every output column, exact in 32 bits or in float32.

    Attributes
    ----------
    taps : input columns and weights of every output column.
    """

    taps: ResizeTaps

    def __post_init__(self) -> None:
        (x,) = self.inputs
        pixel = x.block * ITEMSIZE[x.stored]
        self._offsets = self.address_of(self.taps.index.astype(np.int64) * pixel)
        self._weights = self.address_of(self.taps.weight.astype(np.float32 if x.stored == "f32" else np.int32))
        self.kernel = "resize columns"

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return float(self.out.bytes * self.taps.index.shape[1] / self.out.block)

    @property
    def output_halo(self) -> Halo:
        """The halo that the op may overwrite: it writes whole vectors, beyond the last pixel of a row."""
        return Halo(gap=1)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,) = views, self.inputs
        lanes = 1 << (buffer.block - 1).bit_length()
        spec = ResizeColumns(buffer.stored, lanes, self.taps.index.shape[1])  # type: ignore[arg-type]
        arguments: dict[str, Address] = {
            **x.arguments("x", rows.first),
            **out.arguments("y", rows.first),
            **{"batch": buffer.shape[0], "blocks": buffer.layout.blocks, "rows": rows.count},
            **{"width": self.out.shape[3], "block": buffer.block, "offsets": self._offsets},
            **{"weights": self._weights, "zero": buffer.zero},
        }
        return [Call(spec, arguments)]


@dataclass(eq=False)
class ResizeRowsOp(Op):
    """Sums over the taps of every output row, then requantization.

    Attributes
    ----------
    taps : input rows and weights of every output row.
    requantize : requantization of the sums; None for float32.
    """

    taps: ResizeTaps
    requantize: EpilogueData | None

    def __post_init__(self) -> None:
        data = self.requantize
        self._index = self.taps.index.astype(np.int64)
        self._indices = self.address_of(self._index)
        self._weights = self.address_of(self.taps.weight.astype(np.float32 if data is None else np.int32))
        order = np.zeros((1, LANES), np.intp)
        self._numbers = self.aligned_copy(np.zeros(64, np.uint8) if data is None else data.packed(order))
        self._scalars = self.address_of(np.zeros(7, np.int64) if data is None else data.scalars)
        self.kernel = "resize rows"
        self.note = "float32 sums" if data is None else "64-bit sums" if data.epilogue.wide else "32-bit sums"

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return float(self.out.bytes * self._index.shape[1] / 4)

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of the input that rows first..end of the output read."""
        return _rows_read(self._index, first, end)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), count = views, self._index.shape[1]
        spec = ResizeRows(count, None if self.requantize is None else self.requantize.epilogue)
        arguments: dict[str, Address] = {
            **x.arguments("x"),
            **out.arguments("y", rows.first),
            **{"batch": self.out.shape[0], "blocks": self.out.layout.blocks, "rows": rows.count},
            **{"items": self.out.layout.row_items, "indices": self._indices + rows.first * count * 8},
            **{"weights": self._weights + rows.first * count * 4, "numbers": self._numbers, "scalars": self._scalars},
            **out.flag_arguments,
        }
        return [Call(spec, arguments)]


@dataclass(eq=False)
class ResizeNearestOp(Op):
    """Copies of pixels, one of the input for each of the output.

    Attributes
    ----------
    rows, columns : input row of each output row, and input column of each output column.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    def __post_init__(self) -> None:
        (buffer,) = self.inputs
        self._indices = self.address_of(self.rows)
        self._offsets = self.address_of(self.columns * buffer.block * ITEMSIZE[buffer.stored])
        self.kernel = "resize nearest"

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of the input that rows first..end of the output read."""
        return _rows_read(self.rows.reshape(-1, 1), first, end)

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        (x,), (buffer,) = views, self.inputs
        arguments: dict[str, Address] = {
            **x.arguments("x"),
            **out.arguments("y", rows.first),
            **{"batch": buffer.shape[0], "blocks": buffer.layout.blocks, "rows": rows.count},
            **{"width": self.out.shape[3], "offsets": self._offsets, "indices": self._indices + rows.first * 8},
        }
        return [Call(ResizeNearest(buffer.block * ITEMSIZE[buffer.stored]), arguments)]


@lowers(Resize)
def lower_resize(context: LoweringContext[Resize]) -> Lowered:
    """Lower a resize of the spatial axes."""
    step, out = context.step, context.out
    shape = images(out.shape)
    if shape is None or step.x.ndim < 3 or any(a.axis < 2 for a in step.axes):
        raise NotLowered("a resize of axes other than the spatial ones")
    taps = dict(zip((a.axis + (4 - step.x.ndim) for a in step.axes), step.taps(), strict=True))
    if any(t.outside is not None and t.outside.any() for t in taps.values()):
        raise NotLowered("coordinates outside of the image, which read the extrapolation value")
    if step.mode == "nearest":
        x = context.request_buffer(step.x)
        rows, columns = (taps.get(axis, _identity(shape[axis])).index[:, 0].astype(np.int64) for axis in (2, 3))
        buffer = TensorBuffer.of(out, x.block, x.low, x.high)
        return Lowered.by(ResizeNearestOp(context.isa, (x,), buffer, rows, columns))
    is_float = step.x.format is None
    if not is_float:
        taps = {axis: integer_taps(t, step.tap_bits) for axis, t in taps.items()}
    vertical, horizontal = (taps.get(axis, _identity(shape[axis])) for axis in (2, 3))
    x = context.request_buffer(step.x)
    requantization = None if is_float else _requantization(context, x, vertical, horizontal)
    stored = "f32" if is_float else "i32"
    middle = TensorBuffer(f"{out.name} along rows", (*x.shape[:3], shape[3]), stored, x.block)
    return Lowered.by(
        ResizeColumnsOp(context.isa, (x,), middle, horizontal),
        ResizeRowsOp(
            context.isa, (middle,), TensorBuffer.of(out, x.block, flagged=context.counts), vertical, requantization
        ),
    )


def _identity(size: int) -> ResizeTaps:
    """Return the taps of an axis that is not resized."""
    return ResizeTaps(np.arange(size)[:, None], np.ones((size, 1)), None)


def _requantization(
    context: LoweringContext[Resize], x: TensorBuffer, vertical: ResizeTaps, horizontal: ResizeTaps
) -> EpilogueData:
    """Return the requantization of exact sums, along rows in 32 bits."""
    step, out = context.step, context.out
    row, column = (int(np.abs(t.weight).sum(axis=1).max(initial=1)) for t in (horizontal, vertical))
    largest_weight = max(int(np.abs(t.weight).max(initial=0)) for t in (horizontal, vertical))
    if x.max_magnitude * row >= MAX_ROW_SUM or largest_weight >= MAX_ROW_SUM:
        raise NotLowered("sums along rows of more than 32 bits")
    shift = step.tap_bits * len(step.axes) + step.x.fraction_bits - out.fraction_bits
    word = context.arithmetic.word(out.one_format)
    limit = x.max_magnitude * row * column
    requantization = choose_epilogue(np.zeros(1, np.int64), limit, shift, word, counts=context.counts)
    if requantization is None:
        raise NotLowered("sums of more than 64 bits")
    return requantization
