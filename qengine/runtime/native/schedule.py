"""When ops run, on which rows and on which thread, and where in memory their tensors lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qengine.kernels.isa import Isa
from qengine.kernels.program import Call, Program, Slot
from qengine.runtime.native.bands import Bands
from qengine.runtime.native.memory import Memory
from qengine.runtime.native.op import Op, Rows, pieces
from qengine.runtime.native.place import Place, View

CACHE_BYTES = 1 << 20
"""What windows may hold: half of a core's second cache, the rest is for weights."""

_SMALL = 12_000  # cycles that are not worth another thread
LARGE_BYTES = 1 << 21  # bytes of a tensor that the second cache does not hold
_WEIGHTS = 1 << 19  # bytes that are read again for every band

Calls = list[list[Call | None]]


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
        need = op.needs(place, 0, 1)
        reach = 0 if need is None else need[1] - need[0]
        return 3 * reach < max(place.shape[2], 1) and place.same_as is None

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
            for index, calls in Bands(ops, self._view_of_outside(ops), self.memory).calls(begin, end, rows):
                self._add(t, first + index, calls)
        return rows

    def _view_of_outside(self, ops: Sequence[Op]) -> dict[int, View]:
        """Return the whole tensors that a region reads, and the one that it writes."""
        made = {id(op.out) for op in ops[:-1]}
        places = [p for op in ops for p in op.inputs if id(p) not in made]
        return {id(p): self._view(p) for p in [*places, ops[-1].out]}
