import numpy as np
import pytest
from networks import network, weights
from onnx import helper

from qengine import InferenceSession
from qengine.model.loader import load
from qengine.model.passes import remove_dead


def test_what_no_output_needs_goes():
    model = network(
        [
            ("Relu", "x", "a"),
            ("Conv", "x W", "dead"),
            ("Relu", "dead", "dead_too"),
            ("Add", "a c", "y"),
        ],
        constants={"W": weights(2, 3, 1, 1), "c": 1.0, "unused": 2.0},
    )
    graph = remove_dead(load(model))
    assert [node.operator for node in graph.nodes] == ["Relu", "Add"]
    assert set(graph.constants) == {"c"}


def test_inputs_stay_read_or_not():
    graph = remove_dead(load(network([("Relu", "x", "y")], inputs={"x": [2], "other": [3]})))
    assert [value.name for value in graph.inputs] == ["x", "other"]


def test_a_node_stays_for_one_of_its_outputs():
    model = network([("Split", "x", "a b", {"axis": 0})], inputs={"x": [4]}, outputs=["b"])
    (node,) = remove_dead(load(model)).nodes
    assert node.outputs == ("a", "b")


@pytest.mark.parametrize("output", ["x", "c"])
def test_an_output_may_be_an_input_or_a_constant(output):
    model = network([("Relu", "x", "y")], constants={"c": 1.0}, outputs=["y", output])
    graph = remove_dead(load(model))
    assert output in graph.tensors()
    assert len(graph.nodes) == 1


def test_nothing_left():
    model = network([("Relu", "x", "y")], outputs=["x"])
    assert remove_dead(load(model)).nodes == ()


IMAGE = {"x": [1, 2, 6, 6]}
SEQUENCE = {"x": [3, 1, 4]}
GATES = {"w": weights(1, 8, 4), "r": weights(1, 8, 2)}
STATISTICS = {"c": weights(2), "v": weights(2) ** 2}
POOL = {"kernel_shape": [2, 2]}

# a node, its opset, inputs and constants of the model; outputs of the model, and outputs of the node that are left
UNREAD = {
    "mask, opset 7": (("Dropout", "x", "y m"), 7, IMAGE, {}, "y", ("y",)),
    "mask, opset 10": (("Dropout", "x", "y m"), 10, IMAGE, {}, "y", ("y",)),
    "mask, opset 22": (("Dropout", "x", "y m"), 22, IMAGE, {}, "y", ("y",)),
    "a mask alone": (("Dropout", "x", "y m"), 13, IMAGE, {}, "m", ("y", "m")),
    "a mask that is read": (("Dropout", "x", "y m"), 13, IMAGE, {}, "y m", ("y", "m")),
    "places": (("MaxPool", "x", "y i", POOL), 12, IMAGE, {}, "y", ("y",)),
    "statistics": (("LayerNormalization", "x g", "y m d"), 17, SEQUENCE, {"g": weights(4)}, "y", ("y",)),
    "the last statistics": (("LayerNormalization", "x g", "y m d"), 17, SEQUENCE, {"g": weights(4)}, "y m", ("y", "m")),
    "the middle": (("LayerNormalization", "x g", "y m d"), 17, SEQUENCE, {"g": weights(4)}, "y d", ("y", "", "d")),
    "states": (
        ("GRU", "x w r", "y h", {"hidden_size": 2}),
        *(14, SEQUENCE, {"w": weights(1, 6, 4), "r": weights(1, 6, 2)}, "y", ("y",)),
    ),
    "the sequence": (("LSTM", "x w r", "y h c", {"hidden_size": 2}), 14, SEQUENCE, GATES, "h", ("", "h")),
    "the cells": (("LSTM", "x w r", "y h c", {"hidden_size": 2}), 14, SEQUENCE, GATES, "c", ("", "", "c")),
    "counts": (("Unique", "x", "u i j n"), 11, {"x": [5]}, {}, "u j", ("u", "", "j")),
    "an output that is needed": (("TopK", "x k", "y i"), 11, {"x": [5]}, {"k": np.int64([2])}, "y", ("y", "i")),
    "one of many": (("Split", "x", "y z", {"axis": 3}), 13, IMAGE, {}, "y", ("y", "z")),
    "an operator of the user's": (("my.domain.Thing", "x", "y z"), 13, IMAGE, {}, "y", ("y", "z")),
    "outputs that mean training": (("BatchNormalization", "x c c c v", "y m v1"), 9, IMAGE, STATISTICS, "y", None),
    "statistics of a run": (
        ("BatchNormalization", "x c c c v", "y m v1", {"training_mode": 1}),
        *(15, IMAGE, STATISTICS, "y", ("y",)),
    ),
}


@pytest.mark.parametrize("name", UNREAD)
def test_optional_outputs_that_nobody_reads_go(name):
    node, opset, inputs, constants, asked, left = UNREAD[name]
    model = network([node], inputs=inputs, constants=constants, outputs=asked.split(), opset=opset)
    (found,) = remove_dead(load(model)).nodes
    assert found.outputs == (tuple(node[2].split()) if left is None else left)


READERS = {
    "nobody": [("Dropout", "x", "y m")],
    "an output of the graph": [("Dropout", "x", "t m"), ("Cast", "m", "y", {"to": 1})],
    "a branch": [("Dropout", "x", "t m"), ("If", "condition", "y", "BRANCHES")],
}


def branches():
    """The branches of an If that read m and t of the graph around it."""
    bodies = {}
    for name, source in (("then_branch", "m"), ("else_branch", "t")):
        cast = helper.make_node("Cast", [source], [f"{name}_y"], to=1)
        value = helper.make_tensor_value_info(f"{name}_y", 1, None)
        bodies[name] = helper.make_graph([cast], name, [], [value])
    return bodies


@pytest.mark.parametrize("opset", [7, 10, 13])
@pytest.mark.parametrize("name", READERS)
def test_outputs_with_and_without_readers(name, opset):
    nodes = [(*node[:3], branches()) if node[3:] == ("BRANCHES",) else node for node in READERS[name]]
    inputs = IMAGE | ({"condition": (np.dtype(bool), [1])} if name == "a branch" else {})
    model = network(nodes, inputs=inputs, opset=opset)
    feeds = {"x": weights(1, 2, 6, 6)} | ({"condition": np.array([True])} if name == "a branch" else {})
    session = InferenceSession(model)
    (y,) = session.run(None, feeds)
    np.testing.assert_array_equal(y, feeds["x"] if name == "nobody" else np.ones_like(feeds["x"]))
    (mask,) = session.run(["m"], feeds)  # also where the run itself has no need of it
    np.testing.assert_array_equal(mask.astype(bool), np.ones(mask.shape, bool))
    assert mask.dtype == (np.float32 if opset < 10 else bool)


@pytest.mark.parametrize("options", [{}, {"qformat": "Q3.4"}])
def test_an_output_that_nobody_reads_leaves_one_plan(options):
    nodes = [("Dropout", "x", "t m"), ("MaxPool", "t", "p i", POOL), ("Relu", "p", "y")]
    session = InferenceSession(network(nodes, inputs=IMAGE, opset=8), **options)
    plan = session.plan(session.check_feeds({"x": weights(1, 2, 6, 6)}))
    assert [bound.node.operator for bound in plan.steps] == ["Dropout", "MaxPool", "Relu"]


REQUESTED = {
    "places": (("MaxPool", "x", "y i", POOL), IMAGE, {}, "i"),
    "the cells": (("LSTM", "x w r", "y h c", {"hidden_size": 2}), SEQUENCE, GATES, "c"),
    "the mean": (("LayerNormalization", "x g", "y m d"), SEQUENCE, {"g": weights(4)}, "m"),
    "counts": (("Unique", "x", "y i j n"), {"x": [5]}, {}, "n"),
}


@pytest.mark.parametrize("name", REQUESTED)
def test_an_output_that_nobody_reads_can_be_requested(name):
    node, inputs, constants, asked = REQUESTED[name]
    feeds = {"x": weights(*inputs["x"])}
    small, whole = (
        InferenceSession(network([node], inputs=inputs, constants=constants, outputs=outputs))
        for outputs in (["y"], ["y", asked])
    )
    for found, expected in zip(small.run(["y", asked], feeds), whole.run(None, feeds), strict=True):
        np.testing.assert_array_equal(found, expected)
