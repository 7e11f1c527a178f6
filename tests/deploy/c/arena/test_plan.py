"""Arenas of random networks, run byte by byte, and of networks whose best arena is known."""

from random import Random

import numpy as np
import pytest
from deploy.c.arena.simulated import Grown, Run, most_overlap, operation, row_steps, tensor

from qengine.deploy.c.arena import ArenaOptions, MemoryLimitError, plan_arena
from qengine.deploy.c.ir import CNetwork, Scratch, View


def arena_of(seed, count):
    grown = Grown(Random(seed))
    network = grown.network(count)
    return network, plan_arena(network), grown.steps


@pytest.mark.parametrize("seed", range(60))
def test_no_byte_is_overwritten_before_its_last_read(seed):
    network, arena, steps = arena_of(seed, 4 + seed % 12)
    Run(network, arena, steps).run()


@pytest.mark.parametrize("seed", range(60))
def test_an_arena_is_aligned_above_its_bound_and_in_regions_of_one_width(seed):
    _, arena, _ = arena_of(seed, 4 + seed % 12)
    assert arena.bound <= arena.bytes
    placed = [(t, offset) for t, offset in arena.offsets.items()]
    placed += [(a, offset) for (_, a), offset in arena.scratch.items()]
    for one, offset in placed:
        width = one.dtype.itemsize
        assert offset % width == 0
        size = one.bytes if hasattr(one, "bytes") else one.size * width
        assert offset + size <= arena.bytes
        homes = [r for r in arena.regions if r.start <= offset and offset + size <= r.start + r.bytes]
        assert width == 1 or [r.width for r in homes] == [width]
    start = 0
    for r in arena.regions:  # as the members of a struct of arrays, with no gap between them
        assert r.start == start
        assert r.start % r.width == 0
        assert r.bytes % r.width == 0 or r is arena.regions[-1]
        start += r.bytes
    assert start == arena.bytes


def test_the_same_network_has_the_same_arena():
    first, second = (arena_of(21, 13)[1] for _ in range(2))
    assert list(first.offsets.values()) == list(second.offsets.values())
    assert list(first.scratch.values()) == list(second.scratch.values())


def chain(*operations, inputs=(), outputs=()):
    return plan_arena(CNetwork(inputs, outputs, operations))


X = tensor("x", 100, place="input")
Y = tensor("y", 10, place="output")


def test_an_operation_in_place_has_the_offset_of_its_input_and_shares():
    a, b = tensor("a", 400), tensor("b", 400)
    table = operation([b], [a], [0])
    arena = chain(operation([a], [X]), table, operation([Y], [b]), inputs=(X,), outputs=(Y,))
    assert arena.bytes == arena.bound == 400
    assert arena.shares == {table}
    assert arena.summary == "arena 400 B; no arrangement is smaller"


@pytest.mark.parametrize(("overlap", "size"), [(None, 800), (0, 400), (-100, 500), (-500, 800), (60, 400)])
def test_the_distance_of_an_overlap_decides_the_size(overlap, size):
    a, b = tensor("a", 400), tensor("b", 400)
    arena = chain(operation([a], [X]), operation([b], [a], [overlap]), operation([Y], [b]))
    assert (arena.bytes, arena.bound) == (size, size)
    assert bool(arena.shares) == (size < 800)


def test_an_input_that_is_read_later_is_not_overwritten():
    a, b = tensor("a", 400), tensor("b", 400)
    arena = chain(operation([a], [X]), operation([b], [a], [0]), operation([Y], [b, a]))
    assert arena.bytes == 800
    assert not arena.shares


def test_a_later_read_of_a_view_keeps_its_bytes_only():
    a, v, b, w = tensor("a", 400), tensor("v", 100), tensor("b", 300), tensor("w", 100)
    arena = chain(
        operation([a], [X]),
        operation([v], [a], view=View(a, 300)),
        operation([w], [v]),
        operation([b], [w]),
        operation([Y], [b, v]),
    )
    assert arena.offsets[v] == arena.offsets[a] + 300
    assert arena.bytes == 500  # w onto the first bytes of a, b onto the rest


def test_elements_of_different_widths_lie_apart_and_those_of_a_byte_where_there_is_room():
    wide, bytes_, words = tensor("wide", 100, np.int32), tensor("bytes", 400), tensor("words", 10, np.int16)
    last = operation([Y], [wide, bytes_])
    arena = chain(operation([words], [X]), operation([wide], [words]), operation([bytes_], [X]), last)
    assert arena.bytes == arena.bound == 800  # bytes lie over the words
    assert {r.width for r in arena.regions} == {2, 4}
    narrow = operation([bytes_], [X])
    arena = chain(operation([words], [X]), operation([wide], [words]), operation([Y], [wide]), narrow)
    assert arena.bytes == arena.bound == 420


def test_scratch_is_apart_from_all_that_is_live_and_shared_by_operations():
    a, b = tensor("a", 40), tensor("b", 40)
    first = operation([a], [X], scratch=(Scratch(np.dtype(np.int8), 60), Scratch(np.dtype(np.int8), 4, 60)))
    second = operation([b], [a], [0], scratch=(Scratch(np.dtype(np.int8), 64),))
    arena = chain(first, second, operation([Y], [b]))
    assert arena.bytes == 104
    places = {arena.scratch[first, one] for one in first.calls[0].arguments[2:]}
    assert arena.scratch[second, second.calls[0].arguments[2]] in places


def test_independent_branches_run_in_the_order_that_needs_least():
    big, small, wide = tensor("big", 1000), tensor("small", 12), tensor("wide", 1000)
    little = tensor("little", 12)
    one, two = operation([big], [X]), operation([wide], [X])
    arena = chain(one, two, operation([small], [big]), operation([little], [wide]), operation([Y], [small, little]))
    assert arena.bytes == arena.bound == 1024
    assert abs(arena.network.operations.index(one) - arena.network.operations.index(two)) > 1


def test_a_limit_names_what_lives_at_the_peak():
    a, b = tensor("a", 40_000), tensor("b", 30_000)
    operations = (operation([a], [X]), operation([b], [a]), operation([Y], [b]))
    network = CNetwork((X,), (Y,), operations)
    assert plan_arena(network, ArenaOptions(ram=70_000)).bytes == 70_000
    with pytest.raises(MemoryLimitError) as error:
        plan_arena(network, ArenaOptions(ram=65_536))
    assert "needs 70,000 B and --ram allows 65,536 B: at Op 'b' live a 40,000 B, b 30,000 B" in str(error.value)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (2, 2)])
def test_the_steps_of_the_model_have_the_distance_of_a_convolution(kernel, stride):
    """Row r of the output may not reach row r * stride + 1 of the input, that is read later, where there is one."""
    rows, in_row, out_row = 5, 7, 4
    steps = row_steps(rows, kernel, stride, in_row, out_row)
    by_hand = min((r + 1) * stride * in_row - ((r + 1) * out_row - 1) for r in range(rows - 1)) - 1
    assert most_overlap(steps) == by_hand
