"""Joins taken apart: the same numbers, and no Concat between the parts and what picks from them."""

import numpy as np
import pytest
from joined_heads import APART, CAT, FEEDS, WHOLE, Head, whole
from networks import network, run_onnxruntime

import qengine
from qengine.model.loader import load
from qengine.model.passes import optimize, read_quantized, take_joins_apart

JOINS = {
    "an output": 1, "a view of an output": 1, "sliced": 0, "sliced within parts": 1, "split": 0, "gathered": 0,
    "computed after a split": 1, "two outputs": 2, "joined again": 1,
}  # fmt: skip
"""Number of Concats that are left."""


def taken_apart(model):
    return take_joins_apart(read_quantized(load(model)))


def operators(model):
    return [node.operator for node in optimize(load(model))[-1].nodes]


@pytest.mark.parametrize("name", [*APART, *WHOLE])
def test_the_numbers_are_the_same(name):
    model = (APART | WHOLE)[name].model()
    expected = run_onnxruntime(model, FEEDS[0])
    for isa in ("reference", None):
        found = qengine.InferenceSession(model, isa=isa).run(None, FEEDS[0])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", JOINS)
def test_what_picks_reads_the_parts(name):
    assert operators(APART[name].model()).count("Concat") == JOINS[name]


def test_a_join_of_joins_has_all_their_parts():
    for name, parts in (("joined again", 3), ("joined along another axis", 2), ("with a constant", 3)):
        (join,) = [n for n in taken_apart(APART[name].model()).nodes if n.outputs == ("y",)]
        assert (join.operator, len(join.inputs)) == ("Concat", parts), name


@pytest.mark.parametrize("name", APART)
def test_nodes_have_names_of_their_own(name):
    names = [node.name for node in taken_apart(APART[name].model()).nodes]
    assert len(set(names)) == len(names)
    assert "the_y" in names


@pytest.mark.parametrize("name", WHOLE)
def test_what_computes_with_the_whole_reads_the_whole(name):
    model = WHOLE[name].model()
    graph = read_quantized(load(model))
    assert take_joins_apart(graph).nodes == graph.nodes


PICKS = {
    "indices that are not in order": ("Gather", "cat g", "y", {"axis": 1}),
    "steps": ("Slice", "cat i0 i6 i1 i2", "y"),
    "an axis that mixes parts": ("Reshape", "cat mixed", "y"),
    "indices that a run gives": ("Gather", "cat h", "y", {"axis": 1}),
    "a softmax over all": ("Softmax", "cat", "y", {"axis": 1}),
}


@pytest.mark.parametrize("kind", PICKS)
def test_other_picks_read_the_whole(kind):
    constants = {"g": whole(5, 0, 4), "mixed": whole(2, 90)}
    index = [("ReduceMax", "s", "m"), ("Cast", "m", "n", {"to": 7}), ("Flatten", "n", "h", {"axis": 0})]
    nodes = [CAT, *(index if kind == "indices that a run gives" else []), PICKS[kind]]
    head = Head(nodes, None, constants=constants)
    assert "Concat" in operators(head.model())
    (expected,) = run_onnxruntime(head.model(), FEEDS[0])
    np.testing.assert_allclose(qengine.InferenceSession(head.model()).run(None, FEEDS[0])[0], expected, rtol=1e-4)


def test_parts_without_elements_are_reshaped_as_a_whole():
    nodes = [("Concat", "empty x", "cat", {"axis": 1}), ("Reshape", "cat column", "y")]
    constants = {"empty": np.zeros((1, 0), np.float32), "column": whole(3, 1)}
    model = network(nodes, inputs={"x": [1, 3]}, constants=constants)
    x = np.array([[1, 2, 3]], np.float32)
    np.testing.assert_array_equal(qengine.InferenceSession(model).run(None, {"x": x})[0], x.T)
