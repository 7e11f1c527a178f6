"""Windows: the rows of a tensor that lie in memory while a region of ops runs in bands; see `bands`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qengine.kernels.layout import Halo
from qengine.kernels.packing import Fill, Move
from qengine.kernels.program import Call
from qengine.runtime.native.memory import Memory
from qengine.runtime.native.tensor_buffer import TensorBuffer, View


@dataclass(frozen=True)
class Span:
    """Rows low..high of a tensor that a band, or a later one, reads; they may lie beyond the edges."""

    low: int
    high: int


class RowWindow:
    """Rows base..base + height of a tensor in memory. The methods are called in the order in which calls run.

    Parameters
    ----------
    buffer
        The whole tensor.
    height
        Number of rows in memory.
    base
        First row of the tensor in memory.
    memory
        Memory that the window is allocated in.
    """

    def __init__(self, buffer: TensorBuffer, height: int, base: int, memory: Memory) -> None:
        self.buffer, self.base = buffer, base
        self.layout = replace(buffer.layout, height=height, halo=Halo(0, 0, buffer.halo.gap))
        self.address = memory.allocate(self.layout.size)
        memory.fill_halo(self.address, self.layout, buffer)
        self.first, self.end = 0, 0  # rows of the tensor that were written and are still in memory
        self.span = Span(base, base)
        self._view, self._view_base = View.whole(self.address, self.layout), 0

    def view(self) -> View:
        """Return the window as a view of the whole tensor, of which only the rows in memory may be touched."""
        if self._view_base != self.base:  # a region of many bands takes tens of thousands of views
            whole = View.whole(self.address, self.layout)
            self._view, self._view_base = replace(whole, origin=whole.at(-self.base)), self.base
        return self._view

    def make_room(self, span: Span) -> list[Call]:
        """Return the calls that make room for a span: its written rows move to the top, rows beyond edges become 0."""
        calls: list[Call] = []
        height = self.buffer.shape[2]
        if span.high - self.base > self.layout.height:
            first = max(span.low, self.first)
            if first < self.end:
                calls.append(self._move(first, span.low))
            self.first, self.base = first, span.low
        self.span = span
        return calls + self._zeros(span.low, min(span.high, 0)) + self._zeros(max(span.low, height), span.high)

    def _move(self, first: int, base: int) -> Call:
        """Return the call that moves rows first..end to where they lie in a window that begins at a new base."""
        layout = self.layout
        size = (self.end - first) * layout.row + layout.halo.gap * layout.pixel
        arguments = {"x": self._row(first, self.base), "y": self._row(first, base), "size": size}
        return Call(Move(), {**arguments, "plane": layout.plane, "planes": layout.planes})

    def _zeros(self, first: int, end: int) -> list[Call]:
        """Return the call that writes the code of 0 to rows, and to the gap after the last."""
        if end <= first:
            return []
        layout = self.layout
        self._check_room(first, end)
        items = ((end - first) * layout.row + layout.halo.gap * layout.pixel) // layout.itemsize
        arguments = {"y": self._row(first, self.base), "y_plane": layout.plane, "items": items}
        arguments |= {"code": self.buffer.zero, "planes": layout.planes}
        return [Call(Fill(layout.itemsize), arguments)]

    def _row(self, row: int, base: int) -> int:
        """Return the address of a row, with the gap before it, in a window that begins at a base."""
        return self.address + (row - base) * self.layout.row

    def note_written(self, first: int, end: int) -> None:
        """Note that rows are written. Rows before a gap in what was written are not read any more."""
        self._check_room(first, end)
        if first > self.end or self.first >= self.end:
            self.first = first
        self.first, self.end = min(self.first, first), max(self.end, end)

    def check_read(self, first: int, end: int) -> None:
        """Check that rows are in memory: those of the tensor were written, those beyond its edges are zeros."""
        within = max(first, 0), min(end, self.buffer.shape[2])
        is_written = within[0] >= within[1] or self.first <= within[0] <= within[1] <= self.end
        assert is_written, (self.buffer.name, first, end, vars(self))
        assert self.span.low <= first <= end <= self.span.high, (self.buffer.name, first, end, vars(self))
        self._check_room(first, end)

    def _check_room(self, first: int, end: int) -> None:
        """Check that the window has room for rows."""
        assert self.base <= first <= end <= self.base + self.layout.height, (self.buffer.name, first, end, vars(self))
