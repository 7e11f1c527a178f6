"""Tensors that are written straight into a joined one, and those that must remain copies."""

import numpy as np
import pytest
from deploy.c.arena.simulated import operation, tensor

from qengine.deploy.c.arena import plan_arena
from qengine.deploy.c.arena.aliases import aliased
from qengine.deploy.c.ir import Call, CNetwork, Part, View

X = tensor("x", 100, place="input")
Y = tensor("y", 10, place="output")


def joined(y, *placed, fills=False):
    """Return a Concat or Pad of tensors at offsets."""
    calls = [Call("copy", {}, (t, y), offsets=(0, at)) for t, at in placed]
    parts = tuple(Part(t, at, call) for (t, at), call in zip(placed, calls, strict=True))
    more = [Call("fill", {}, (y,))] if fills else []
    return operation([y], list(dict.fromkeys(t for t, _ in placed)), calls=[*more, *calls], parts=parts)


def test_operands_of_concat_are_computed_in_place_and_their_copies_are_left_out():
    a, b, c = tensor("a", 300), tensor("b", 200), tensor("c", 500)
    concat = joined(c, (a, 0), (b, 300))
    network = CNetwork((X,), (Y,), (operation([a], [X]), operation([b], [X]), concat, operation([Y], [c])))
    arena = plan_arena(network)
    assert (arena.bytes, arena.bound) == (500, 500)
    assert arena.offsets[b] == arena.offsets[a] + 300 == arena.offsets[c] + 300
    assert not arena.network.operations[2].calls
    assert not arena.network.operations[2].reads
    assert not arena.shares


def test_a_pad_keeps_the_call_that_fills_its_borders():
    a, c = tensor("a", 300), tensor("c", 320)
    pad = joined(c, (a, 10), fills=True)
    arena = plan_arena(CNetwork((X,), (Y,), (operation([a], [X]), pad, operation([Y], [c]))))
    assert arena.bytes == 320
    assert [call.kernel for call in arena.network.operations[1].calls] == ["fill"]


def test_joins_of_joins_lie_in_the_last_one():
    a, b, c, d, e = (tensor(name, size) for name, size in zip("abcde", (40, 60, 100, 20, 120), strict=True))
    operations = (
        operation([a], [X]),
        operation([b], [a]),
        joined(c, (a, 0), (b, 40)),
        operation([d], [c]),
        joined(e, (c, 20), (d, 0)),
        operation([Y], [e]),
    )
    arena = plan_arena(CNetwork((X,), (Y,), operations))
    assert arena.bytes == 120
    assert [arena.offsets[t] - arena.offsets[e] for t in (a, b, c, d)] == [20, 60, 20, 0]


def test_a_view_of_the_whole_is_moved_with_what_holds_it():
    a, v, c = tensor("a", 300), tensor("v", 300), tensor("c", 310)
    view = operation([v], [a], view=View(a))
    operations = (operation([a], [X]), view, joined(c, (v, 10), fills=True), operation([Y], [c]))
    arena = plan_arena(CNetwork((X,), (Y,), operations))
    assert arena.offsets[a] == arena.offsets[v] == arena.offsets[c] + 10


def test_a_result_that_is_an_output_under_another_shape_is_computed_in_the_memory_of_the_caller():
    a, y = tensor("a", 300), tensor("y", 300, place="output")
    arena = plan_arena(CNetwork((X,), (y,), (operation([a], [X]), joined(y, (a, 0)))))
    assert arena.bytes == 0
    assert arena.holder(a) == (y, 0)


@pytest.mark.parametrize(
    ("source", "kept"),
    [("input", 1), ("part", 1), ("twice", 1), ("two joins", 1), ("other width", 1), ("whole", 0)],
)
def test_what_has_no_memory_of_its_own_is_copied(source, kept):
    a, b, c, e = tensor("a", 40), tensor("b", 20), tensor("c", 80), tensor("e", 80)
    start = [operation([a], [X]), operation([b], [a], view=View(a, 10))]
    join = {
        "input": [joined(c, (tensor("x", 40, place="input"), 0))],
        "part": [joined(c, (b, 0))],
        "twice": [joined(c, (a, 0), (a, 40))],
        "two joins": [joined(c, (a, 0)), joined(e, (a, 0))],
        "other width": [joined(tensor("c", 20, np.int16), (a, 0))],
        "whole": [joined(c, (a, 0))],
    }[source]
    found = aliased(CNetwork((X,), (), (*start, *join)))
    assert sum(call.kernel == "copy" for one in found.network.operations for call in one.calls) == kept


def test_a_part_is_a_copy_where_that_needs_less_memory():
    """Two parts that live long would keep 100 bytes between them that nothing larger can use."""
    a, b, e, c = tensor("a", 12), tensor("b", 100), tensor("e", 12), tensor("c", 124)
    big, d = tensor("big", 200), tensor("d", 20)
    operations = (
        operation([a], [X]),
        operation([e], [a]),
        operation([big], [e]),
        operation([d], [big]),
        operation([b], [d]),
        joined(c, (a, 0), (b, 12), (e, 112)),
        operation([Y], [c]),
    )
    arena = plan_arena(CNetwork((X,), (Y,), operations))
    assert arena.bytes == 244
    assert sum(call.kernel == "copy" for one in arena.network.operations for call in one.calls) == 1
