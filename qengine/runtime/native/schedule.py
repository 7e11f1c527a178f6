"""Schedule of a segment: the rows, the thread and the memory of every op.

The ops of a segment run in order. There are two ways to run them, and the schedule chooses for each:

- **One op at a time.** Every thread computes a share of the rows of the output, or, where the output has few rows or
  the weights outweigh the input, a share of the channels. Then the threads meet at a *barrier*, because the next op
  reads rows that other threads wrote. An op of few cycles runs on one thread, and several such ops without a barrier.
- **A region of ops in bands** (see `bands`). Where tensors between ops do not fit the L2 cache, each op would
  write them to memory and the next one read them back. In a region, a thread instead computes some rows of the last
  op with all the rows before that they take, and then the next rows: the tensors between stay in the cache. The
  threads need no barrier within a region. A region must be closed: only its last output is read outside. Where a run
  counts (see `counting`) two plans alternate: a region may have several outputs, and records that nothing reads.

Memory is shared: a tensor gets memory when it is first written, and returns it after its last reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qengine.kernels.isa import Isa
from qengine.kernels.program import BARRIER, Call, Program, Slot
from qengine.runtime.native.bands import BandCalls
from qengine.runtime.native.memory import Allocation, Memory
from qengine.runtime.native.op import Op, Rows, share_bounds
from qengine.runtime.native.statistics import StatisticsOp
from qengine.runtime.native.tensor_buffer import TensorBuffer, View

CACHE_BYTES = 1 << 20
"""The bytes that windows may hold: half of a core's L2 cache, as the other half is for weights."""

LARGE_BYTES = 1 << 21
"""The bytes of a tensor above which it does not fit the L2 cache."""

_MIN_CYCLES = 12_000  # below this, starting another thread costs more than it saves
_MAX_BAND_WEIGHT_BYTES = 1 << 19  # weights are read again for every band
_MIN_COUNTED_ROWS = 16  # bands of two plans: fewer rows make many calls, and those do not stay in the cache either

ThreadCalls = list[list[Call | None]]
"""The calls of each thread; None is a barrier."""


@dataclass(frozen=True)
class CompiledOps:
    """Ops that are ready to run.

    Attributes
    ----------
    program : calls of all threads.
    memory : memory of the tensors between ops.
    bands : index of the first op, index of the last op, and number of rows of a band, for each region.
    calls : calls of each op on each thread, with the moves that make room for it.
    """

    program: Program
    memory: Memory
    bands: tuple[tuple[int, int, int], ...]
    calls: tuple[ThreadCalls, ...]


def compile_ops(ops: Sequence[Op], isa: Isa, threads: int, memory: Memory | None = None) -> CompiledOps:
    """Return ops as a program that runs them in order on some threads.

    Programs that run one after the other, and pass nothing on in memory, may share it; None is memory of its own.
    """
    return _Schedule(ops, isa, threads, memory or Memory()).compiled()


class _Schedule:
    """Schedule under construction.

    Attributes
    ----------
    calls, calls_of_op : calls of each thread so far, in all and for each op.
    addresses : address of the memory of each buffer, by the buffer's id.
    busy : number of threads that have calls since they met.
    scratch : size and address of the memory of its own that each thread has.
    readers, writers : indices of the ops that read and that write each buffer, by the buffer's id.
    """

    def __init__(self, ops: Sequence[Op], isa: Isa, threads: int, memory: Memory) -> None:
        self.ops, self.isa, self.threads, self.memory = list(ops), isa, threads, memory
        self.calls: ThreadCalls = [[] for _ in range(threads)]
        self.calls_of_op: list[ThreadCalls] = [[[] for _ in range(threads)] for _ in self.ops]
        self.addresses: dict[int, int] = {}
        self.busy = 0
        self.scratch: dict[int, tuple[int, int]] = {}
        self.readers: dict[int, list[int]] = {}
        self.writers: dict[int, list[int]] = {}
        for i, op in enumerate(self.ops):
            for buffer in (op.out, *op.other_outputs):
                self.writers.setdefault(id(buffer.storage), []).append(i)
            for buffer in op.inputs:
                self.readers.setdefault(id(buffer.storage), []).append(i)
        self.counts = any(isinstance(op, StatisticsOp) for op in self.ops)

    def compiled(self) -> CompiledOps:
        """Schedule all ops and return them as a program."""
        allocations: dict[int, Allocation] = {}
        bands = []
        first = 0
        while first < len(self.ops):
            region_end = self._region_end(first)
            last = first if region_end is None else region_end
            for op in self.ops[first : last + 1]:
                is_window = region_end is not None and not self._is_end(op, last)
                for buffer in () if is_window else (op.out.storage, *(b.storage for b in op.other_outputs)):
                    if buffer.array is None and id(buffer) not in self.addresses:
                        allocations[id(buffer)] = self.memory.acquire(buffer)
                        self.addresses[id(buffer)] = allocations[id(buffer)].address
            if region_end is None:
                self._add_op(first)
            else:
                self._meet(self.threads)
                bands.append((first, last, self._add_region(first, last)))
            for key in [key for key in allocations if self._is_done(key, last)]:
                self.memory.release(allocations.pop(key))
            first = last + 1
        others = any(self.calls[1:])
        program = Program(self.isa, self.calls if others else self.calls[:1])
        return CompiledOps(program, self.memory, tuple(bands), tuple(self.calls_of_op))

    def _is_done(self, key: int, index: int) -> bool:
        """Whether no op after an index reads or writes a buffer."""
        return max(self.readers.get(key, [-1])) <= index and max(self.writers[key]) <= index

    def _is_end(self, op: Op, last: int) -> bool:
        """Whether the output of an op is that of a region up to an op: read after it, by nobody, or an array."""
        readers = self.readers.get(id(op.out.storage), [])
        return op.out.storage.array is not None or op.out is self.ops[last].out or max(readers, default=last + 1) > last

    def _meet(self, threads: int) -> None:
        """Add a barrier before the calls of several threads, not where a single thread continues."""
        if max(threads, self.busy) > 1 and self.busy:
            for calls in self.calls:
                calls.append(BARRIER)
        self.busy = threads

    def _view(self, buffer: TensorBuffer) -> View:
        """Return the view of a whole tensor outside of regions."""
        storage = buffer.storage
        if storage.elements is not None:
            return View.whole(int(storage.elements.ctypes.data), buffer.layout)
        if storage.array is not None:
            return View.whole(Slot(storage.array), buffer.layout)
        return View.whole(self.addresses[id(storage)], buffer.layout)

    def _add(self, thread: int, index: int, calls: list[Call]) -> None:
        self.calls[thread] += calls
        self.calls_of_op[index][thread] += calls

    # One op at a time

    def _add_op(self, index: int) -> None:
        """Add the calls of one op, in shares of rows or of channels."""
        op = self.ops[index]
        views, out = [self._view(b) for b in (*op.inputs, *op.other_outputs)], self._view(op.out)
        height = op.part_count
        is_shared = op.cycles > _MIN_CYCLES and (height > 1 or op.splits_channels)
        threads = self.threads if is_shared else 1
        self._meet(threads)
        outweighs = op.weight_bytes > sum(b.bytes for b in op.inputs)
        by_channels = threads > 1 and op.splits_channels and (height < 2 * threads or outweighs)
        for t in range(threads):
            rows = Rows(0, height, t, threads) if by_channels else Rows(*share_bounds(height, t, threads))
            rows = replace(rows, scratch=self._scratch(t, op.scratch_bytes))
            if rows.count:
                self._add(t, index, op.calls(views, out, rows))

    def _scratch(self, thread: int, size: int) -> int:
        """Return the address of memory of a thread's own; ops use it one after the other."""
        held, address = self.scratch.get(thread, (0, 0))
        if size > held:
            self.scratch[thread] = held, address = size, self.memory.allocate(size)
        return address

    # Regions of ops in bands

    def _region_end(self, first: int) -> int | None:
        """Return the last op of the longest region that begins at an op and gains from bands; None for no region."""
        end, bytes_between, weight_bytes = None, 0, 0
        written: set[int] = set()  # buffers of the region
        for last in range(first, len(self.ops)):
            op = self.ops[last]
            weight_bytes += op.weight_bytes
            inner = [b for b in op.inputs if id(b.storage) in written]
            is_tall = op.out.shape[2] > 8 * self.threads
            is_local = all(_reads_few_rows(op, b) for b in inner)
            is_large = all(b.bytes > LARGE_BYTES for b in inner)
            is_connected = last == first or bool(inner)
            if self.counts:  # of codes and float32 values side by side the latter are larger
                is_large = is_connected = any(b.bytes > LARGE_BYTES for b in (*inner, op.out))
            if not (is_tall and is_local and is_large and is_connected) or weight_bytes > _MAX_BAND_WEIGHT_BYTES:
                break
            has_one_writer = len(self.writers[id(op.out.storage)]) == 1
            is_closed = self._is_closed(written, first, last)
            if last > first and is_closed and has_one_writer and bytes_between > CACHE_BYTES:
                end = last
            written.add(id(op.out.storage))
            if op.out.array is None:
                bytes_between += op.out.bytes
        return end

    def _is_closed(self, written: set[int], first: int, last: int) -> bool:
        """Whether buffers are read, and written, only by ops first..last.

        In a run that counts a buffer may be read later too, if within the region it is only counted: row for row.
        """
        return all(self._ends_within(key, first, last) for key in written)

    def _ends_within(self, key: int, first: int, last: int) -> bool:
        readers, writers = self.readers.get(key, []), self.writers[key]
        is_within = min(writers) >= first and max(writers) <= last
        if not self.counts:
            return is_within and bool(readers) and max(readers) <= last
        inside = [self.ops[i] for i in readers if i <= last]
        return is_within and (len(inside) == len(readers) or all(isinstance(op, StatisticsOp) for op in inside))

    def _add_region(self, first: int, last: int) -> int:
        """Add the calls of a region, a share of the last output's rows on each thread; return the rows of a band."""
        ops = self.ops[first : last + 1]
        height = ops[-1].out.shape[2]
        ends = {id(op.out) for op in ops if self._is_end(op, last)}
        row_bytes = sum(op.out.layout.row * op.out.layout.planes for op in ops if id(op.out) not in ends)
        # A tensor taller than the last one adds more than one row to a row of the band.
        scale = max(1.0, max(op.out.shape[2] for op in ops) / height)
        # 70 % of the cache for the rows of a band: the rest is for rows that several bands read.
        least = _MIN_COUNTED_ROWS if self.counts else 2
        rows = int(min(max(CACHE_BYTES * 0.7 / max(row_bytes * scale, 1), least), -(-height // self.threads)))
        for t in range(self.threads):
            begin, end = share_bounds(height, t, self.threads)
            for index, calls in BandCalls(ops, self._outside_views(ops, ends), self.memory).calls(begin, end, rows):
                self._add(t, first + index, calls)
        return rows

    def _outside_views(self, ops: Sequence[Op], ends: set[int]) -> dict[int, View]:
        """Return the views of the tensors that a region reads from outside, and of those that its ends write."""
        written = {id(op.out) for op in ops} - ends
        buffers = [b for op in ops for b in (*op.inputs, op.out) if id(b) not in written]
        return {id(b): self._view(b) for b in buffers}


def _reads_few_rows(op: Op, buffer: TensorBuffer) -> bool:
    """Whether a row of the output reads less than a third of an input's rows."""
    rows = op.input_rows(buffer, 0, 1)
    count = 0 if rows is None else rows[1] - rows[0]
    return 3 * count < max(buffer.shape[2], 1) and buffer.view_of is None
