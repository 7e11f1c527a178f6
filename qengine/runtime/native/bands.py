"""Bands: a region of ops that runs in few rows at a time, so that the tensors between them stay in the cache.

A *band* is some rows of the last op's output, with all the rows of the tensors before that they are computed from. Per
band, the calls go through all ops; then comes the next band. Between ops a tensor is never whole: a *window* is the
memory of its rows base..base + height. Take two 3x3 convolutions, a -> b -> c, and bands of 4 rows of c:

    band 0   c rows 0..4    reads b rows -1..5   (-1 is beyond the edge: zeros)    writes b rows 0..5
    band 1   c rows 4..8    reads b rows 3..9    3 and 4 are there from band 0     writes b rows 5..9

Rows that a later band reads again (3 and 4) move to the top of the window when it is full; each row is computed once.
The rows that a band reads come from `Op.input_rows`, from the last op back to the first. Strides and resizes skip rows,
so what a band reads and what a later one still needs are two things: a *span* covers both, and `reached` remembers how
far a tensor was read. Each thread has bands and windows of its own, and computes the rows at its border itself.

A region may have several *ends*: ops whose output is read after the region, or by nobody, such as records of rows. They
keep step with the last op: when it has computed a third of its rows, they have computed a third of theirs. So each of
their rows is computed by one thread, once.

Two things must hold, and are checked when calls are made: an op writes only rows that its output's window has room
for, and reads only rows that were written, or are zeros beyond the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from qengine.kernels.program import Call
from qengine.runtime.native.memory import Memory
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.tensor_buffer import TensorBuffer, View
from qengine.runtime.native.window import RowWindow, Span


@dataclass(frozen=True)
class _Band:
    """Rows that one band computes, and rows that lie in memory while it does.

    Attributes
    ----------
    rows : rows of the output that are computed, for each op: first row, and the row after the last.
    spans : rows of each tensor between ops that this band or a later one reads, by the buffer's id.
    """

    rows: tuple[tuple[int, int], ...]
    spans: dict[int, Span]


class BandCalls:
    """Calls of one thread for a region of ops.

    Parameters
    ----------
    ops
        Ops of the region in order. The last is an end.
    outside
        Views of the tensors that the region reads from outside, and of those that its ends write, by the buffer's id.
    memory
        Memory of the windows.
    """

    def __init__(self, ops: Sequence[Op], outside: dict[int, View], memory: Memory) -> None:
        self.ops, self.outside, self.memory = ops, outside, memory
        self.inner = {id(op.out): op.out for op in ops if id(op.out) not in outside}

    def calls(self, begin: int, end: int, rows: int) -> list[tuple[int, list[Call]]]:
        """Return the calls that compute rows begin..end of the last output, each list with the index of its op.

        Parameters
        ----------
        rows
            Number of rows of the last output in a band.
        """
        bands = self._plan(begin, end, rows)
        windows = self._windows(bands)
        writers = {id(op.out): i for i, op in enumerate(self.ops)}
        calls: list[tuple[int, list[Call]]] = []
        for band in bands:
            for key, span in band.spans.items():
                calls.append((writers[key], windows[key].make_room(span)))
            for i, (op, (first, last)) in enumerate(zip(self.ops, band.rows, strict=True)):
                if last > first:
                    calls.append((i, self._op_calls(op, first, last, windows)))
        return calls

    def _op_calls(self, op: Op, first: int, last: int, windows: dict[int, RowWindow]) -> list[Call]:
        """Return the calls of one op, in windows; note and check the rows that it writes and reads."""
        views = []
        for buffer in op.inputs:
            if id(buffer) in windows:
                rows = op.input_rows(buffer, first, last)
                if rows is not None:
                    windows[id(buffer)].check_read(*rows)
                views.append(windows[id(buffer)].view())
            elif id(buffer) in self.inner:
                views.append(View.whole(0, buffer.layout))  # no row of the region's output reads any of it
            else:
                views.append(self.outside[id(buffer)])
        if id(op.out) not in windows:
            return op.calls(views, self.outside[id(op.out)], Rows(first, last))
        windows[id(op.out)].note_written(first, last)
        return op.calls(views, windows[id(op.out)].view(), Rows(first, last))

    def _plan(self, begin: int, end: int, rows: int) -> list[_Band]:
        """Return the bands of rows begin..end of the last output."""
        done: dict[int, int] = {}  # for each op, the row after the last that was computed or is not needed any more
        reached: dict[int, int] = {}  # for each tensor, the row after the last that was read
        bands = []
        whole = self.ops[-1].out.shape[2]
        for first in range(begin, end, rows):
            spans: dict[int, Span] = {}
            computed = [(0, 0)] * len(self.ops)
            for i in reversed(range(len(self.ops))):
                op = self.ops[i]
                span, height = spans.get(id(op.out)), op.out.shape[2]
                if id(op.out) in self.outside:
                    # Rows that are still to come are only those of this thread.
                    start, stop, limit = (row * height // whole for row in (first, min(first + rows, end), end))
                elif span is None:
                    continue  # nothing reads what is left to compute
                else:
                    start = min(max(done.get(i, 0), span.low, 0), height)
                    stop, limit = max(start, min(span.high, height)), height
                    done[i] = stop
                computed[i] = start, stop
                for buffer in op.inputs:
                    if id(buffer) in self.inner:
                        _widen(spans, reached, op, buffer, (start, stop, limit))
            reached |= {key: span.high for key, span in spans.items()}
            bands.append(_Band(tuple(computed), {key: span for key, span in spans.items() if key in self.inner}))
        return bands

    def _windows(self, bands: Sequence[_Band]) -> dict[int, RowWindow]:
        """Return a window for each tensor between ops that is read, as tall as its bands need."""
        windows = {}
        for key, buffer in self.inner.items():
            spans = [band.spans[key] for band in bands if key in band.spans]
            if not spans:
                continue
            tallest = max(span.high - span.low for span in spans)
            advance = max((b.high - a.high for a, b in pairwise(spans)), default=0)
            # With room for one more band, rows move only every other time.
            windows[key] = RowWindow(buffer, max(tallest + advance, 1), spans[0].low, self.memory)
        return windows


def _widen(
    spans: dict[int, Span], reached: dict[int, int], op: Op, buffer: TensorBuffer, rows: tuple[int, int, int]
) -> None:
    """Widen a tensor's span by the rows that rows start..stop of an op read now, and rows up to `limit` later."""
    start, stop, limit = rows
    later = op.input_rows(buffer, start, limit) if limit > start else None
    if later is None:
        return
    now = op.input_rows(buffer, start, stop) if stop > start else None
    low = later[0]
    high = max(low, reached.get(id(buffer), low), low if now is None else now[1])
    before = spans.get(id(buffer))
    spans[id(buffer)] = Span(low, high) if before is None else Span(min(before.low, low), max(before.high, high))
