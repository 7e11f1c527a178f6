"""When ops run, on which rows and on which thread, and where in memory their tensors lie.

Ops that pass large tensors on run in bands: some rows of the last one's output at a time, and of the others what those
are computed from, so that what lies between them stays in the cache. A tensor between them is a window of rows; what
a later band still needs moves to its top. Each thread has bands and windows of its own, and computes the rows at its
border itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.edge import Fill, Move
from qengine.kernels.isa import Isa
from qengine.kernels.layout import Halo, Layout
from qengine.kernels.program import Call, Program, Slot
from qengine.native.op import Op, Rows, pieces
from qengine.native.place import ITEMSIZE, Place, View

CACHE_BYTES = 1 << 20
"""What windows may hold: half of a core's second cache, the rest is for weights."""

_SMALL = 12_000  # cycles that are not worth another thread
LARGE_BYTES = 1 << 21  # bytes of a tensor that the second cache does not hold
_WEIGHTS = 1 << 19  # bytes that are read again for every band

Calls = list[list[Call | None]]


class Memory:
    """Aligned memory, given to tensors for as long as somebody reads them.

    A tensor with a halo gets memory that only tensors of its own shape get: the halo is filled once.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._alive: list[NDArray[np.uint8]] = []
        self._free: dict[Any, list[tuple[int, int]]] = {}

    def new(self, size: int) -> int:
        """Return the address of fresh memory."""
        room = np.zeros(size + 64, np.uint8)
        self._alive.append(room)
        self.bytes += size
        return int(room.ctypes.data) + -room.ctypes.data % 64

    def take(self, place: Place) -> tuple[int, Any, int]:
        """Return an address for a whole tensor, and what gives it back."""
        layout = place.layout
        key = (layout, place.zero) if layout.halo != Halo() else None
        free = self._free.setdefault(key, [])
        fitting = sorted(item for item in free if item[0] >= layout.size)
        if fitting:
            free.remove(fitting[0])
            return fitting[0][1], key, fitting[0][0]
        address = self.new(layout.size)
        if key is not None:
            self.fill(address, layout.size, place)
        return address, key, layout.size

    def give(self, item: tuple[int, Any, int]) -> None:
        """Take memory back."""
        address, key, size = item
        self._free[key].append((size, address))

    def fill(self, address: int, size: int, place: Place) -> None:
        """Write the code 0 to all of some memory."""
        kind = {1: np.uint8, 2: np.int16, 4: np.int32}[ITEMSIZE[place.stored]]
        room = next(r for r in self._alive if r.ctypes.data <= address < r.ctypes.data + r.nbytes)
        start = address - room.ctypes.data
        room[start : start + size // 4 * 4].view(kind)[:] = place.zero


@dataclass(frozen=True)
class Compiled:
    """Ops made ready to run.

    Attributes
    ----------
    program : the calls.
    memory : what they work in.
    bands : for each region of ops that runs in bands, the first op, the last, and the rows of a band.
    calls : of each op on each thread, in order, with what is done to make room for it.
    """

    program: Program
    memory: Memory
    bands: tuple[tuple[int, int, int], ...]
    calls: tuple[Calls, ...]


def compile_ops(ops: Sequence[Op], isa: Isa, threads: int) -> Compiled:
    """Return ops ready to run one after the other."""
    return _Schedule(ops, isa, threads).compiled()


def _root(place: Place) -> Place:
    while place.same_as is not None:
        place = place.same_as
    return place


class _Schedule:
    def __init__(self, ops: Sequence[Op], isa: Isa, threads: int) -> None:
        self.ops, self.isa, self.threads = list(ops), isa, threads
        self.memory = Memory()
        self.calls: Calls = [[] for _ in range(threads)]
        self.by_op: list[Calls] = [[[] for _ in range(threads)] for _ in self.ops]
        self.addresses: dict[int, int] = {}  # of places, by id
        self.readers: dict[int, list[int]] = {}
        self.makers: dict[int, list[int]] = {}
        for i, op in enumerate(self.ops):
            self.makers.setdefault(id(_root(op.out)), []).append(i)
            for place in op.inputs:
                self.readers.setdefault(id(_root(place)), []).append(i)

    def compiled(self) -> Compiled:
        taken: dict[int, tuple[int, Any, int]] = {}
        bands = []
        i = 0
        while i < len(self.ops):
            region = self._region(i)
            last = i if region is None else region
            for op in self.ops[i : last + 1]:
                place = _root(op.out)
                within = region is not None and op.out is not self.ops[last].out
                if not within and place.plain is None and id(place) not in self.addresses:
                    taken[id(place)] = self.memory.take(place)
                    self.addresses[id(place)] = taken[id(place)][0]
            if region is None:
                self._single(i)
            else:
                bands.append((i, last, self._banded(i, last)))
            self._barrier()
            for key in [
                key for key in taken if max(self.readers.get(key, [-1])) <= last and max(self.makers[key]) <= last
            ]:
                self.memory.give(taken.pop(key))
            i = last + 1
        return Compiled(Program(self.isa, self.calls), self.memory, tuple(bands), tuple(self.by_op))

    def _barrier(self) -> None:
        if self.threads > 1:
            for calls in self.calls:
                calls.append(None)

    def _view(self, place: Place) -> View:
        if place.plain is not None:
            return View.whole(Slot(place.plain), place.layout)
        return View.whole(self.addresses[id(_root(place))], place.layout)

    def _add(self, thread: int, index: int, calls: list[Call]) -> None:
        self.calls[thread] += calls
        self.by_op[index][thread] += calls

    # One op at a time

    def _single(self, index: int) -> None:
        op = self.ops[index]
        views, out = [self._view(p) for p in op.inputs], self._view(op.out)
        height = op.out.shape[2]
        parts = self.threads if op.work > _SMALL else 1
        by_channels = op.splits_channels and (height < 2 * parts or op.weight_bytes > sum(p.bytes for p in op.inputs))
        for t in range(parts):
            whole = by_channels and parts > 1
            rows = Rows(0, height, t, parts) if whole else Rows(*pieces(height, t, parts))
            if rows.count:
                self._add(t, index, op.calls(views, out, rows))

    # Bands

    def _region(self, first: int) -> int | None:
        """Return the last op of a region that begins at an op and is worth bands; None without one."""
        best, between, weights = None, 0, 0
        made: set[int] = set()
        for last in range(first, len(self.ops)):
            op = self.ops[last]
            weights += op.weight_bytes
            tall = op.out.shape[2] > 8 * self.threads
            local = all(self._local(op, p) for p in op.inputs if id(_root(p)) in made)
            large = all(p.bytes > LARGE_BYTES for p in op.inputs if id(_root(p)) in made)
            if not tall or not local or not large or weights > _WEIGHTS or (last > first and not self._near(op, made)):
                break
            closed = all(
                max(self.readers.get(key, [len(self.ops)])) <= last and min(self.makers[key]) >= first for key in made
            )
            if last > first and closed and len(self.makers[id(_root(op.out))]) == 1 and between > CACHE_BYTES:
                best = last
            made.add(id(_root(op.out)))
            between += op.out.bytes
        return best

    def _near(self, op: Op, made: set[int]) -> bool:
        """Whether an op reads something that the region makes."""
        return any(id(_root(p)) in made for p in op.inputs)

    @staticmethod
    def _local(op: Op, place: Place) -> bool:
        """Whether a row of the output is computed from few rows of an input."""
        low, high = op.needs(place, 0, 1)
        return 3 * (high - low) < max(place.shape[2], 1) and place.same_as is None

    def _banded(self, first: int, last: int) -> int:
        ops = self.ops[first : last + 1]
        rows_bytes = sum(op.out.layout.row * op.out.layout.blocks * op.out.shape[0] for op in ops[:-1])
        height = ops[-1].out.shape[2]
        share = -(-height // self.threads)
        # Of what lies between, each band adds rows; what they need beside fills the rest of the cache.
        scale = max(1.0, max(op.out.shape[2] for op in ops) / height)
        rows = int(min(max(CACHE_BYTES * 0.7 / max(rows_bytes * scale, 1), 2), share))
        for t in range(self.threads):
            begin, end = pieces(height, t, self.threads)
            for index, calls in _Bands(ops, self._view_of_outside(ops), self.memory).calls(begin, end, rows):
                self._add(t, first + index, calls)
        return rows

    def _view_of_outside(self, ops: Sequence[Op]) -> dict[int, View]:
        """Return the whole tensors that a region reads, and the one that it writes."""
        made = {id(op.out) for op in ops[:-1]}
        places = [p for op in ops for p in op.inputs if id(p) not in made]
        return {id(p): self._view(p) for p in [*places, ops[-1].out]}


@dataclass
class _Window:
    """Rows of a tensor that lie in memory.

    Attributes
    ----------
    place : the tensor.
    layout : as if it had as many rows as the window, and only the gap for a halo.
    address : of the memory.
    base : the row that lies first.
    end : the row after the last that was computed or filled.
    """

    place: Place
    layout: Layout
    address: int
    base: int = 0
    end: int = 0

    def view(self) -> View:
        whole = View.whole(self.address, self.layout)
        return View(whole.at(-self.base), whole.image, whole.plane, whole.row, whole.pixel)


@dataclass
class _Band:
    """What one band computes: of each op the rows, and of each place the first row that is still needed."""

    rows: list[tuple[int, int]] = field(default_factory=list)
    needed: dict[int, tuple[int, int]] = field(default_factory=dict)


class _Bands:
    """The calls of one thread for a region."""

    def __init__(self, ops: Sequence[Op], outside: dict[int, View], memory: Memory) -> None:
        self.ops, self.outside, self.memory = ops, outside, memory
        self.inner = {id(op.out): op.out for op in ops[:-1] if id(op.out) not in outside}

    def calls(self, begin: int, end: int, rows: int) -> list[tuple[int, list[Call]]]:
        """Return calls in order, with the place of the op that they are of."""
        bands = self._plan(begin, end, rows)
        windows = self._windows(bands)
        makers = {id(op.out): i for i, op in enumerate(self.ops)}
        found: list[tuple[int, list[Call]]] = []
        for band in bands:
            for key, (low, high) in band.needed.items():
                found.append((makers[key], self._make_room(windows[key], low, high)))
            for i, (op, (first, last)) in enumerate(zip(self.ops, band.rows, strict=True)):
                if last > first:
                    views = [self.outside[id(p)] if id(p) in self.outside else windows[id(p)].view() for p in op.inputs]
                    out = self.outside[id(op.out)] if id(op.out) in self.outside else windows[id(op.out)].view()
                    found.append((i, op.calls(views, out, Rows(first, last))))
                    if id(op.out) in windows:
                        windows[id(op.out)].end = max(windows[id(op.out)].end, last)
        return found

    def _plan(self, begin: int, end: int, rows: int) -> list[_Band]:
        done: dict[int, int] = {}  # of ops, the row after the last
        bands = []
        for first in range(begin, end, rows):
            band = _Band([(0, 0)] * len(self.ops))
            wanted: dict[int, tuple[int, int]] = {id(self.ops[-1].out): (first, min(first + rows, end))}
            for i in reversed(range(len(self.ops))):
                op = self.ops[i]
                low, high = wanted[id(op.out)]
                height = op.out.shape[2]
                start = min(max(done.get(i, max(low, 0)), 0), height)
                stop = max(start, min(high, height))
                band.rows[i] = (start, stop)
                done[i] = stop
                for place in op.inputs:
                    if id(place) not in self.inner:
                        continue
                    # An op that has nothing to do now still needs what its next row needs.
                    need = op.needs(place, start, max(stop, min(start + 1, height)))
                    if stop == start:
                        need = (need[0], need[0])
                    before = wanted.get(id(place), need)
                    wanted[id(place)] = (min(before[0], need[0]), max(before[1], need[1]))
            band.needed = {key: wanted[key] for key in self.inner}
            bands.append(band)
        return bands

    def _windows(self, bands: Sequence[_Band]) -> dict[int, _Window]:
        windows = {}
        for key, place in self.inner.items():
            most = max(high - low for low, high in (band.needed[key] for band in bands))
            fresh = max(band.needed[key][1] - bands[max(i - 1, 0)].needed[key][1] for i, band in enumerate(bands))
            rows = most + max(fresh, 1)
            whole = place.layout
            layout = Layout(*whole_shape(place, rows), whole.itemsize, whole.block, Halo(0, 0, place.halo.gap))
            address = self.memory.new(layout.size)
            self.memory.fill(address, layout.size, place)
            first = bands[0].needed[key][0]
            windows[key] = _Window(place, layout, address, first, first)
        return windows

    def _make_room(self, window: _Window, low: int, high: int) -> list[Call]:
        """Move what is still needed to the top where there is no room below, and fill rows beyond the edges."""
        found: list[Call] = []
        layout, place = window.layout, window.place
        planes = layout.batch * layout.blocks
        start = window.address  # of the window, the left gap included
        if high - window.base > layout.height:
            kept = max(window.end - low, 0)
            if kept and low > window.base:
                size = kept * layout.row + (layout.halo.gap * layout.pixel)
                source = start + (low - window.base) * layout.row
                found.append(
                    Call(Move(), {"x": source, "y": start, "plane": layout.plane, "planes": planes, "size": size})
                )
            window.base = low
            window.end = max(window.end, low)
        for first, last in ((low, min(high, 0)), (max(low, place.shape[2], window.end), high)):
            if last > first and (first >= window.end or first < 0):
                items = ((last - first) * layout.row + layout.halo.gap * layout.pixel) // layout.itemsize
                target = start + (first - window.base) * layout.row
                arguments = {"y": target, "y_plane": layout.plane, "planes": planes, "items": items, "code": place.zero}
                found.append(Call(Fill(layout.itemsize), arguments))
                window.end = max(window.end, last)
        return found


def whole_shape(place: Place, rows: int) -> tuple[int, int, int, int]:
    """Return a place's shape with another number of rows."""
    batch, channels, _, width = place.shape
    return batch, channels, rows, width
