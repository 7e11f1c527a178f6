"""Ops that pass large tensors on, in bands of rows.

A band is some rows of the last op's output, and of the other tensors what those rows are computed from, so that what
lies between the ops stays in the cache. Between them a tensor is a *window*: rows base..base + height of it lie in
memory. What a later band still needs moves to the window's top. Each thread has bands and windows of its own, and
computes the rows at its border itself.

What must hold, and is checked when calls are made: an op writes only rows that its output's window has room for, and
reads only rows of its inputs' windows that were written or filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from qengine.kernels.layout import Halo
from qengine.kernels.packing import Fill, Move
from qengine.kernels.program import Call
from qengine.runtime.native.memory import Memory
from qengine.runtime.native.op import Op, Rows
from qengine.runtime.native.place import Place, View


@dataclass(frozen=True)
class _Span:
    """Rows of a tensor that a band, or a later one, reads: low..high, beyond the edges too."""

    low: int
    high: int


@dataclass(frozen=True)
class _Band:
    """What one band computes, and what must lie in memory for it.

    Attributes
    ----------
    rows : of each op, those of its output that are computed now.
    spans : of each tensor between ops, by id.
    """

    rows: tuple[tuple[int, int], ...]
    spans: dict[int, _Span]


class _Window:
    """Rows of a tensor that lie in memory."""

    def __init__(self, place: Place, height: int, base: int, memory: Memory) -> None:
        self.place, self.base = place, base
        self.layout = replace(place.layout, height=height, halo=Halo(0, 0, place.halo.gap))
        self.address = memory.new(self.layout.size)
        memory.fill(self.address, self.layout.size, place)
        self.first, self.end = 0, 0  # the rows of the tensor that were written, and not moved out
        self.span = _Span(base, base)

    def view(self) -> View:
        """Return the window as a view of the whole tensor, of which only some rows may be touched."""
        whole = View.whole(self.address, self.layout)
        return View(whole.at(-self.base), whole.image, whole.plane, whole.row, whole.pixel)

    def room_for(self, span: _Span) -> list[Call]:
        """Return the calls that make room for a span: rows that lie below move up, those beyond the edges are 0."""
        calls: list[Call] = []
        layout, height = self.layout, self.place.shape[2]
        if span.high - self.base > layout.height:
            first = max(span.low, self.first)
            if first < self.end:
                calls.append(self._moved(first, span.low))
            self.first, self.base = first, span.low
        self.span = span
        return calls + self._zeros(span.low, min(span.high, 0)) + self._zeros(max(span.low, height), span.high)

    def _moved(self, first: int, base: int) -> Call:
        """Return the call that moves rows first..end to where they lie once the window begins at a base."""
        layout = self.layout
        size = (self.end - first) * layout.row + layout.halo.gap * layout.pixel
        arguments = {"x": self._row(first, self.base), "y": self._row(first, base), "size": size}
        return Call(Move(), {**arguments, "plane": layout.plane, "planes": layout.batch * layout.blocks})

    def _zeros(self, first: int, end: int) -> list[Call]:
        """Return the call that makes rows zero, and the gap behind the last."""
        if end <= first:
            return []
        layout = self.layout
        self._check(first, end)
        items = ((end - first) * layout.row + layout.halo.gap * layout.pixel) // layout.itemsize
        arguments = {"y": self._row(first, self.base), "y_plane": layout.plane, "items": items, "code": self.place.zero}
        return [Call(Fill(layout.itemsize), {**arguments, "planes": layout.batch * layout.blocks})]

    def _row(self, row: int, base: int) -> int:
        """Return where a row begins, with the gap before it."""
        return self.address + (row - base) * self.layout.row

    def written(self, first: int, end: int) -> None:
        """Take note of rows that are written now; what lies before a row that was skipped is of no use any more."""
        self._check(first, end)
        if first > self.end or self.first >= self.end:
            self.first = first
        self.first, self.end = min(self.first, first), max(self.end, end)

    def read(self, first: int, end: int) -> None:
        """Check that rows lie here: those of the tensor were written, those beyond its edges filled."""
        within = max(first, 0), min(end, self.place.shape[2])
        kept = within[0] >= within[1] or self.first <= within[0] <= within[1] <= self.end
        assert kept, (self.place.name, first, end, vars(self))
        assert self.span.low <= first <= end <= self.span.high, (self.place.name, first, end, vars(self))
        self._check(first, end)

    def _check(self, first: int, end: int) -> None:
        """Check that there is room for rows."""
        assert self.base <= first <= end <= self.base + self.layout.height, (self.place.name, first, end, vars(self))


class Bands:
    """The calls of one thread for a region of ops, of which each but the last is read by later ones only."""

    def __init__(self, ops: Sequence[Op], outside: dict[int, View], memory: Memory) -> None:
        self.ops, self.outside, self.memory = ops, outside, memory
        self.inner = {id(op.out): op.out for op in ops[:-1] if id(op.out) not in outside}

    def calls(self, begin: int, end: int, rows: int) -> list[tuple[int, list[Call]]]:
        """Return the calls for rows begin..end of the last output, some rows a band, with the place of their op."""
        bands = self._plan(begin, end, rows)
        windows = self._windows(bands)
        makers = {id(op.out): i for i, op in enumerate(self.ops)}
        found: list[tuple[int, list[Call]]] = []
        for band in bands:
            for key, span in band.spans.items():
                found.append((makers[key], windows[key].room_for(span)))
            for i, (op, (first, last)) in enumerate(zip(self.ops, band.rows, strict=True)):
                if last > first:
                    found.append((i, self._op_calls(op, first, last, windows)))
        return found

    def _op_calls(self, op: Op, first: int, last: int, windows: dict[int, _Window]) -> list[Call]:
        views = []
        for place in op.inputs:
            if id(place) in windows:
                need = op.needs(place, first, last)
                if need is not None:
                    windows[id(place)].read(*need)
                views.append(windows[id(place)].view())
            elif id(place) in self.inner:
                views.append(View.whole(0, place.layout))  # none of it is read by any of these rows
            else:
                views.append(self.outside[id(place)])
        if id(op.out) not in windows:
            return op.calls(views, self.outside[id(op.out)], Rows(first, last))
        windows[id(op.out)].written(first, last)
        return op.calls(views, windows[id(op.out)].view(), Rows(first, last))

    def _plan(self, begin: int, end: int, rows: int) -> list[_Band]:
        done: dict[int, int] = {}  # of ops, the row after the last that was computed, or is not needed any more
        reached: dict[int, int] = {}  # of tensors, the row after the last that was read
        bands = []
        for first in range(begin, end, rows):
            last_out = id(self.ops[-1].out)
            spans = {last_out: _Span(first, min(first + rows, end))}
            computed = [(0, 0)] * len(self.ops)
            for i in reversed(range(len(self.ops))):
                op = self.ops[i]
                span, height = spans.get(id(op.out)), op.out.shape[2]
                if span is None:
                    continue  # nobody reads of it what is still to come
                start = min(max(done.get(i, 0), span.low, 0), height)
                stop = max(start, min(span.high, height))
                computed[i], done[i] = (start, stop), stop
                # All that is still to be computed, of the last op this thread's own rows, needs rows from `low` on.
                left = end if i == len(self.ops) - 1 else height
                for place in op.inputs:
                    if id(place) in self.inner:
                        self._widen(spans, reached, op, place, (start, stop, left))
            reached |= {key: span.high for key, span in spans.items()}
            bands.append(_Band(tuple(computed), {key: span for key, span in spans.items() if key in self.inner}))
        return bands

    @staticmethod
    def _widen(
        spans: dict[int, _Span], reached: dict[int, int], op: Op, place: Place, rows: tuple[int, int, int]
    ) -> None:
        """Add to a tensor's span what rows start..stop of an op read now, and what rows up to `left` read later."""
        start, stop, left = rows
        later = op.needs(place, start, left) if left > start else None
        if later is None:
            return
        now = op.needs(place, start, stop) if stop > start else None
        low = later[0]
        high = max(low, reached.get(id(place), low), low if now is None else now[1])
        before = spans.get(id(place))
        spans[id(place)] = _Span(low, high) if before is None else _Span(min(before.low, low), max(before.high, high))

    def _windows(self, bands: Sequence[_Band]) -> dict[int, _Window]:
        windows = {}
        for key, place in self.inner.items():
            spans = [band.spans[key] for band in bands if key in band.spans]
            if not spans:
                continue  # nothing of it is read
            most = max(span.high - span.low for span in spans)
            fresh = max((b.high - a.high for a, b in pairwise(spans)), default=0)
            # With room for one more band, rows move every other time.
            windows[key] = _Window(place, max(most + fresh, 1), spans[0].low, self.memory)
        return windows
