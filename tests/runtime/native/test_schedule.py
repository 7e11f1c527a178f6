"""Bands, regions and shares of threads, without compiling a kernel."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from qengine.kernels.isa import GENERIC
from qengine.kernels.layout import SLACK
from qengine.kernels.packing import Move
from qengine.kernels.program import Slot
from qengine.runtime.native import schedule
from qengine.runtime.native.bands import BandCalls
from qengine.runtime.native.memory import Memory
from qengine.runtime.native.op import Op, Rows, share_bounds
from qengine.runtime.native.schedule import compile_ops
from qengine.runtime.native.tensor_buffer import TensorBuffer, View, images


def buffer(name, height=32, *, batch=1, channels=16, width=4, stored="u8", zero=128, **more):
    return TensorBuffer(name, (batch, channels, height, width), stored, min(channels, 16), zero, **more)


@dataclass(eq=False)
class FakeOp(Op):
    """An op whose call is its output and its rows; a row r reads rows r * stride - above .. r * stride + below."""

    above: int = 0
    below: int = 0
    stride: int = 1
    estimate: float = 1e9
    weights: int = 0
    by_channels: bool = False

    def input_rows(self, buffer, first, end):
        return first * self.stride - self.above, (end - 1) * self.stride + self.below + 1

    @property
    def cycles(self):
        return self.estimate

    @property
    def weight_bytes(self):
        return self.weights

    @property
    def splits_channels(self):
        return self.by_channels

    def calls(self, views, out, rows):
        return [(self.out.name, rows)]


def chain(*buffers, **options):
    """Ops from each buffer to the next."""
    pairs = itertools.pairwise(buffers)
    return [FakeOp(GENERIC, (x,), y, **options) for x, y in pairs]


# Shapes and shares


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), None), ((3,), None), ((2, 3), (2, 3, 1, 1)), ((2, 3, 4), (2, 3, 1, 4)), ((2, 3, 4, 5), (2, 3, 4, 5)),
        ((1, 2, 3, 4, 5), None),
    ],
)  # fmt: skip
def test_shapes_as_images(shape, expected):
    assert images(shape) == expected


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("shares", [1, 2, 3, 8])
def test_shares_cover_a_total_once(total, shares):
    bounds = [share_bounds(total, i, shares) for i in range(shares)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == total
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    sizes = [end - begin for begin, end in bounds]
    assert max(sizes) - min(sizes) <= 1


# Bands


def computed(ops, begin, end, rows):
    """The rows of each op's calls, in order."""
    x, y = ops[0].inputs[0], ops[-1].out
    outside = {id(b): View(1 << 20, 0, 0, 64, 16) for b in (x, y)}
    calls = BandCalls(ops, outside, Memory()).calls(begin, end, rows)
    return [(i, c[1].first, c[1].end) for i, found in calls for c in found if isinstance(c, tuple)]


def test_two_convolutions_in_bands():
    """The example of the module's documentation: each row is computed once."""
    ops = chain(buffer("a"), buffer("b"), buffer("c"), above=1, below=1)
    assert computed(ops, 0, 8, 4) == [(0, 0, 5), (1, 0, 4), (0, 5, 9), (1, 4, 8)]


def test_a_thread_computes_the_rows_at_its_border_itself():
    ops = chain(buffer("a"), buffer("b"), buffer("c"), above=1, below=1)
    assert computed(ops, 16, 32, 8) == [(0, 15, 25), (1, 16, 24), (0, 25, 32), (1, 24, 32)]


def test_rows_that_a_stride_skips_are_not_computed():
    ops = chain(buffer("a", 64), buffer("b", 64))
    ops += [FakeOp(GENERIC, (ops[-1].out,), buffer("c", 16), stride=4)]
    assert computed(ops, 0, 16, 2)[:4] == [(0, 0, 5), (1, 0, 2), (0, 8, 13), (1, 2, 4)]


class Reversed(FakeOp):
    """An op whose row r reads the row r from the bottom of its input."""

    def input_rows(self, buffer, first, end):
        height = buffer.shape[2]
        return height - end, height - first


def test_a_thread_computes_only_what_its_own_rows_read():
    ops = chain(buffer("a"), buffer("b"))
    ops.append(Reversed(GENERIC, (ops[0].out,), buffer("c")))
    # Rows 0..16 of the output read rows 16..32, from the bottom up: the first band needs them all.
    assert computed(ops, 0, 16, 8) == [(0, 16, 32), (1, 0, 8), (1, 8, 16)]
    assert computed(ops, 16, 32, 8) == [(0, 0, 16), (1, 16, 24), (1, 24, 32)]


def test_a_tensor_with_two_readers():
    """The sum of a tensor and of a convolution of it, in both orders of the inputs."""
    for reverse in (False, True):
        first, conv = chain(buffer("a"), buffer("b"), buffer("c"), above=1, below=1)
        inputs = (conv.out, first.out) if reverse else (first.out, conv.out)
        ops = [first, conv, FakeOp(GENERIC, inputs, buffer("d"))]
        expected = [(0, 0, 5), (1, 0, 4), (2, 0, 4), (0, 5, 9), (1, 4, 8), (2, 4, 8)]
        assert computed(ops, 0, 8, 4) == expected


def test_a_window_has_room_for_one_more_band():
    """Rows that the next band reads again move to the top of the window in every other band."""
    ops = chain(buffer("a"), buffer("b"), buffer("c"), above=1, below=1)
    outside = {id(b): View(1 << 20, 0, 0, 64, 16) for b in (ops[0].inputs[0], ops[1].out)}
    memory = Memory()
    calls = BandCalls(ops, outside, memory).calls(0, 32, 4)
    moves = [any(getattr(c, "spec", None) == Move() for c in found) for i, found in calls if i == 0]
    # One entry to make room, and one to compute, for each of 8 bands
    assert moves[::2] == [False, False, True, False, True, False, True, False]
    row = ops[0].out.layout.row
    assert memory.bytes == (6 + 4) * row + row + SLACK  # windows of 6 rows, and 4 more


def test_an_op_that_reads_more_for_fewer_rows_is_refused():
    class Shrinking(FakeOp):
        def input_rows(self, buffer, first, end):
            return (0, end) if end - first <= 4 else (first + 2, end)

    ops = chain(buffer("a"), buffer("b"))
    ops.append(Shrinking(GENERIC, (ops[0].out,), buffer("c")))
    with pytest.raises(AssertionError):
        computed(ops, 0, 32, 4)


def test_the_last_band_may_be_shorter():
    ops = chain(buffer("a"), buffer("b"))
    ops += chain(ops[-1].out, buffer("c"))
    assert computed(ops, 0, 10, 4)[-2:] == [(0, 8, 10), (1, 8, 10)]


# Schedules


@pytest.fixture
def uncompiled(monkeypatch):
    monkeypatch.setattr(schedule, "Program", lambda isa, calls: calls)


def rows_of(compiled, index):
    return [[(r.first, r.end, r.share, r.shares) for _, r in calls] for calls in compiled.calls[index]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[(0, 16, 0, 1)], [(16, 32, 0, 1)]]),
        ({"estimate": 12_000.0}, [[(0, 32, 0, 1)], []]),  # not worth a second thread
        ({"estimate": 12_001.0}, [[(0, 16, 0, 1)], [(16, 32, 0, 1)]]),
        ({"by_channels": True}, [[(0, 16, 0, 1)], [(16, 32, 0, 1)]]),
        # The input has 32 x 4 x 16 bytes.
        ({"by_channels": True, "weights": 2048}, [[(0, 16, 0, 1)], [(16, 32, 0, 1)]]),
        ({"by_channels": True, "weights": 2049}, [[(0, 32, 0, 2)], [(0, 32, 1, 2)]]),
        ({"weights": 2049}, [[(0, 16, 0, 1)], [(16, 32, 0, 1)]]),
        ({"by_channels": True, "weights": 2049, "estimate": 1.0}, [[(0, 32, 0, 1)], []]),
    ],
)
def test_shares_of_one_op(options, expected, uncompiled):
    compiled = compile_ops(chain(buffer("a", array="x"), buffer("b"), **options), GENERIC, 2)
    assert rows_of(compiled, 0) == expected


@pytest.mark.parametrize(("height", "shares"), [(3, 2), (4, 1)])
def test_few_rows_are_shared_by_channels(height, shares, uncompiled):
    (op,) = chain(buffer("a", height, array="x"), buffer("b", height), by_channels=True)
    assert {r[3] for calls in rows_of(compile_ops([op], GENERIC, 2), 0) for r in calls} == {shares}


def test_a_thread_without_rows_has_no_calls(uncompiled):
    (op,) = chain(buffer("a", 2, array="x"), buffer("b", 2))
    assert rows_of(compile_ops([op], GENERIC, 3), 0) == [[], [(0, 1, 0, 1)], [(1, 2, 0, 1)]]


def test_barriers_between_ops_of_several_threads(uncompiled):
    ops = chain(buffer("a", array="x"), buffer("b"), buffer("c", array="y"))
    for threads in (1, 2):
        for calls in compile_ops(ops, GENERIC, threads).program:
            assert [call is None for call in calls] == ([False] * 2 if threads == 1 else [False, True, False])


@pytest.mark.parametrize(
    ("shared", "barriers"),
    [((0, 0, 0), 0), ((1, 0, 0), 1), ((0, 0, 1), 1), ((0, 1, 0), 2), ((1, 1, 0), 2), ((1, 0, 1), 2)],
)
def test_one_thread_goes_on_without_barriers(shared, barriers, uncompiled):
    ops = chain(buffer("a", array="x"), buffer("b"), buffer("c"), buffer("d", array="y"))
    for op, is_shared in zip(ops, shared, strict=True):
        op.estimate = 1e6 if is_shared else 1.0
    program = compile_ops(ops, GENERIC, 2).program
    assert len(program) == (2 if any(shared) else 1)
    for calls in program:
        assert sum(call is None for call in calls) == barriers


def test_memory_is_shared_by_tensors_that_are_not_alive_together(uncompiled):
    buffers = [buffer("in", array="x"), *(buffer(name) for name in "abcd"), buffer("out", array="y")]
    one = buffers[1].layout.size
    # Each tensor is read by the next op alone: two pieces, used in turns.
    assert compile_ops(chain(*buffers), GENERIC, 1).memory.bytes == 2 * one
    # The last op reads the first tensor too.
    ops = chain(*buffers)
    ops[-1].inputs = (buffers[1], *ops[-1].inputs)
    assert compile_ops(ops, GENERIC, 1).memory.bytes == 3 * one


def test_programs_that_run_one_after_the_other_share_memory(uncompiled):
    shared, used = Memory(), []
    for _ in range(2):
        buffers = [buffer("in", array="x"), buffer("a"), buffer("b"), buffer("out", array="y")]
        assert compile_ops(chain(*buffers), GENERIC, 1, shared).memory is shared
        used.append(shared.bytes)
    assert used == [2 * buffers[1].layout.size] * 2


def test_a_view_of_a_tensor_has_its_memory(uncompiled):
    a = buffer("a")
    view = buffer("a again", 16, width=8, view_of=a)
    ops = [*chain(buffer("in", array="x"), a), *chain(view, buffer("out", array="y"))]
    assert compile_ops(ops, GENERIC, 1).memory.bytes == a.layout.size
    assert view.storage is a
    assert a.storage is a


def large_chain(*names, **options):
    """Ops between tensors of 40 KB, in a cache of 16 KB."""
    buffers = [buffer("in", 640, array="x"), *(buffer(name, 640) for name in names), buffer("out", 640, array="y")]
    return chain(*buffers, **{"above": 1, "below": 1, **options})


@pytest.fixture
def small_cache(monkeypatch, uncompiled):
    monkeypatch.setattr(schedule, "CACHE_BYTES", 16_000)
    monkeypatch.setattr(schedule, "LARGE_BYTES", 40_959)  # a tensor has 40,960


def regions(ops, threads=1):
    return [(first, last) for first, last, _ in compile_ops(ops, GENERIC, threads).bands]


def test_a_region_of_large_tensors(small_cache):
    ops = large_chain("a", "b")
    compiled = compile_ops(ops, GENERIC, 1)
    # 70 % of the cache for rows of two tensors, 64 bytes each
    assert compiled.bands == ((0, 2, 87),)
    assert compiled.memory.bytes < 2 * 16_000 + 2 * SLACK + 2 * 64 * 8  # windows alone


@pytest.mark.parametrize(
    ("inner", "cache", "threads", "rows"),
    [
        ({}, 16_000, 1, 175),  # 70 % of 16,000 bytes, 64 bytes a row
        ({"channels": 48}, 16_000, 1, 58),  # three blocks
        ({"batch": 3}, 16_000, 1, 58),
        ({"height": 1280}, 16_000, 1, 87),  # two rows for each of the output
        ({"height": 1280, "width": 8}, 16_000, 1, 43),
        ({}, 1, 1, 2),
        ({}, 40_000, 1, 437),
        ({}, 40_000, 2, 320),  # half of the rows
        ({}, 40_000, 3, 214),
    ],
)
def test_rows_of_a_band(inner, cache, threads, rows, small_cache, monkeypatch):
    monkeypatch.setattr(schedule, "CACHE_BYTES", cache)
    first, last = chain(buffer("in", 640, array="x"), buffer("a", **{"height": 640, **inner}), buffer("b", 640))
    last.stride = first.out.shape[2] // 640
    assert compile_ops([first, last], GENERIC, threads).bands == ((0, 1, rows),)


def test_calls_of_a_region_belong_to_its_ops(small_cache):
    """Between an op before, whose output is small, and one after."""
    before = FakeOp(GENERIC, (buffer("u", 640, array="u"),), buffer("v", 8, array="v"))
    after = FakeOp(GENERIC, (buffer("v", 8, array="v"),), buffer("w", 8, array="w"))
    compiled = compile_ops([before, *large_chain("a"), after], GENERIC, 1)
    assert compiled.bands == ((1, 2, 175),)
    names = [{c[0] for calls in by_thread for c in calls if isinstance(c, tuple)} for by_thread in compiled.calls]
    assert names == [{"v"}, {"a"}, {"out"}, {"w"}]
    last_rows = [(r.first, r.end) for _, r in compiled.calls[2][0]]
    assert last_rows == [(0, 175), (175, 350), (350, 525), (525, 640)]


def test_small_tensors_need_no_region(small_cache, monkeypatch):
    monkeypatch.setattr(schedule, "LARGE_BYTES", 40_960)
    assert regions(large_chain("a", "b")) == []


def test_tensors_that_fit_the_cache_need_no_region(small_cache, monkeypatch):
    for cache, expected in ((81_919, [(0, 2)]), (81_920, [])):
        monkeypatch.setattr(schedule, "CACHE_BYTES", cache)
        assert regions(large_chain("a", "b")) == expected


@pytest.mark.parametrize(("weights", "expected"), [(1 << 18, [(0, 1)]), ((1 << 18) + 1, [])])
def test_weights_end_a_region(weights, expected, small_cache):
    assert regions(large_chain("a", weights=weights)) == expected


@pytest.mark.parametrize(("height", "expected"), [(643, [(0, 1)]), (642, [(0, 1)]), (641, [(0, 1)]), (639, [])])
def test_an_op_that_reads_a_third_of_the_rows_ends_a_region(height, expected, small_cache, monkeypatch):
    monkeypatch.setattr(schedule, "LARGE_BYTES", 0)
    ops = chain(buffer("in", 640, array="x"), buffer("a", height), buffer("b", 640, array="y"))
    ops[1].above, ops[1].below = 106, 106  # 213 rows
    assert regions(ops) == expected


@pytest.mark.parametrize(("threads", "expected"), [(79, [(0, 1)]), (80, [])])
def test_few_rows_a_thread_need_no_region(threads, expected, small_cache):
    assert regions(large_chain("a"), threads) == expected


def test_a_tensor_that_is_read_outside_ends_a_region(small_cache):
    ops = large_chain("a", "b", "c")
    assert regions(ops) == [(0, 3)]
    ops.append(FakeOp(GENERIC, (ops[0].out, ops[3].out), buffer("other", 8, array="z")))
    assert regions(ops) == [(1, 3)]


def test_an_op_that_reads_nothing_of_a_region_ends_it(small_cache):
    ops = [*large_chain("a"), *chain(buffer("in", 640, array="u"), buffer("v", 640, array="v"), above=1, below=1)]
    assert regions(ops) == [(0, 1)]


def test_a_tensor_of_several_writers_is_whole(small_cache):
    """Two ops write parts of one tensor: a region ends before both."""
    ops = large_chain("a", "b")
    part = FakeOp(GENERIC, (ops[0].inputs[0],), ops[-1].out)
    assert regions([part, *ops]) == [(1, 2)]


def test_addresses_of_arrays_are_slots(uncompiled):
    seen = []

    class Seen(FakeOp):
        def calls(self, views, out, rows):
            seen.extend([*views, out])
            return super().calls(views, out, rows)

    compile_ops([Seen(GENERIC, (buffer("a", array="x"),), buffer("b"))], GENERIC, 1)
    assert seen[0].origin == Slot("x", 0)
    assert isinstance(seen[1].origin, int)


def test_rows_count():
    assert Rows(3, 10).count == 7
