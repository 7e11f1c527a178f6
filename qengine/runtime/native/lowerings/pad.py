"""Lowering of Pad along the spatial axes of tensors in blocks: copies of rows, and of new columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from qengine.kernels.program import Call
from qengine.kernels.strided_copy import CopyRuns
from qengine.model.steps import Move
from qengine.model.steps.moves import Padded
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, lowers
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import STORED_DTYPE, Address, TensorBuffer, View, images


@dataclass(frozen=True)
class Span:
    """Neighbouring places of the output along an axis, and where their elements come from.

    Attributes
    ----------
    first, end : places of the output.
    source : place of the input that the first one comes from; None for the number that fills.
    step : distance in the input from one to the next.
    """

    first: int
    end: int
    source: int | None
    step: int = 1

    def within(self, first: int, end: int) -> Span:
        """Return the part between two places of the output."""
        start = max(self.first, first)
        source = None if self.source is None else self.source + (start - self.first) * self.step
        return Span(start, max(min(self.end, end), start), source, self.step)


def spans(length: int, width: tuple[int, int], where: slice, mode: str) -> list[Span]:
    """Return the spans of an axis of a length that is padded."""
    (before, after), (start, stop, _) = width, where.indices(length)
    last = before + stop - start
    inner = Span(before, last, start)
    if mode == "constant":
        ends = Span(0, before, None), Span(last, last + after, None)
    elif mode == "edge":
        ends = Span(0, before, start, 0), Span(last, last + after, stop - 1, 0)
    elif mode == "reflect":
        ends = Span(0, before, start + before, -1), Span(last, last + after, stop - 2, -1)
    else:
        ends = Span(0, before, stop - before), Span(last, last + after, start)
    return [span for span in (ends[0], inner, ends[1]) if span.first < span.end]


@dataclass(eq=False)
class PadOp(Op):
    """Rows and columns around every image.

    Attributes
    ----------
    rows, columns : spans of the two axes.
    fill : stored element that fills.
    """

    rows: Sequence[Span]
    columns: Sequence[Span]
    fill: float

    def __post_init__(self) -> None:
        width, block = self.out.shape[3], self.out.block
        self._filling = self.address_of(np.full(width * block, self.fill, STORED_DTYPE[self.out.stored]))
        self.kernel = "pad"

    @property
    def cycles(self) -> float:
        """An estimate of the processor cycles on one thread."""
        return 0.1 * prod(self.out.shape)

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of the input that rows first..end of the output read; None for none."""
        found = [part for span in self.rows if (part := span.within(first, end)).first < part.end]
        places = [p.source + i * p.step for p in found if p.source is not None for i in (0, p.end - p.first - 1)]
        return (min(places), max(places) + 1) if places else None

    def calls(self, views: Sequence[View], out: View, rows: Rows) -> list[Call]:
        """Return the calls that compute rows of the output."""
        calls = []
        for across in self.rows:
            part = across.within(rows.first, rows.end)
            if part.first < part.end:
                columns = self.columns if part.source is not None else [Span(0, self.out.shape[3], None)]
                calls += [self._copy(views[0], out, part, along) for along in columns]
        return calls

    def _copy(self, x: View, out: View, across: Span, along: Span) -> Call:
        """Return the call that copies some rows of some columns of all blocks."""
        height, width = across.end - across.first, along.end - along.first
        planes = [(self.out.layout.blocks, x.plane, out.plane), (self.out.shape[0], x.image, out.image)]
        target = out.at(across.first, along.first)
        if across.source is None or along.source is None:
            source: Address = self._filling
            planes = [(n, 0, y) for n, _, y in planes]
            return self._runs(source, target, [(height, 0, out.row), *planes], width * out.pixel)
        source, row = x.at(across.source, along.source), (height, across.step * x.row, out.row)
        if along.step == 1:
            return self._runs(source, target, [row, *planes], width * out.pixel)
        return self._runs(source, target, [(width, along.step * x.pixel, out.pixel), row, *planes], out.pixel)

    def _runs(self, x: Address, y: Address, axes: Sequence[tuple[int, int, int]], size: int) -> Call:
        """Return the call that copies runs of bytes along axes, which have a length and a distance in x and in y."""
        (mid, x_mid, y_mid), *outer = axes
        table = self.address_of(np.array(outer, np.int64))
        numbers = {"axes": table, "outer": len(outer), "first": 0, "end": prod(n for n, *_ in axes)}
        return Call(CopyRuns(), {"x": x, "y": y, **numbers, "mid": mid, "x_mid": x_mid, "y_mid": y_mid, "inner": size})


@lowers(Move, function=Padded)
def lower_pad(context: LoweringContext[Move]) -> Lowered:
    """Lower a Pad of rows and columns."""
    step, form, out = context.step, context.function, context.out
    shape = images(step.x.shape)
    whole = all(width == (0, 0) and len(range(*cut.indices(n))) == n for width, cut, n in _images_and_channels(step))
    if shape is None or step.x.ndim < 3 or not whole:
        raise NotLowered("a Pad of other axes than the spatial ones")
    x = context.request_buffer(step.x)
    (value,) = step.constants
    assert value is not None
    fill = float(value) if out.format is None else step.x.encode(value)
    bounds = (None, None) if out.format is None else (min(x.low, int(fill)), max(x.high, int(fill)))
    buffer = TensorBuffer.of(out, x.block, *bounds)
    spatial = zip(step.x.shape[2:], form.width[2:], form.where[2:], strict=True)
    axes = [spans(n, width, where, form.mode) for n, width, where in spatial]
    rows = axes[0] if len(axes) > 1 else [Span(0, 1, 0)]
    return Lowered.by(PadOp(context.isa, (x,), buffer, rows, axes[-1], fill + x.zero))


def _images_and_channels(step: Move) -> list[tuple[tuple[int, int], slice, int]]:
    form = step.function
    assert isinstance(form, Padded)
    return list(zip(form.width[:2], form.where[:2], step.x.shape[:2], strict=False))
