import pytest
from networks import network, weights

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
