import numpy as np
import pytest

from qengine.errors import FormatError, ModelError, UnsupportedError
from qengine.model.graph import Graph, Node, Value

NODE = Node("Conv", ("x", "W"), ("y",), {"alpha": 0.5, "group": 2, "mode": "linear"}, name="first")


def graph(*nodes, outputs=("y",), constants=("W",)):
    return Graph(
        "g",
        (Value("x"),),
        tuple(Value(name) for name in outputs),
        nodes,
        {name: np.zeros(1) for name in constants},
    )


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (NODE, "node 'first' (Conv)"),
        (Node("Relu", ("x",), ("", "b")), "node 'b' (Relu)"),
        (Node("Relu", ("x",), ("b",), domain="my.own"), "node 'b' (my.own.Relu)"),
    ],
)
def test_a_node_as_text(node, text):
    assert str(node) == text


def test_numeric_attributes():
    assert NODE.number("alpha", 1.0) == 0.5
    assert NODE.number("beta", 1.0) == 1.0
    assert NODE.number("group", 1) == 2
    for name, default in (("mode", 1.0), ("alpha", 1), ("group", 1.0)):
        with pytest.raises(ModelError, match=rf"^node 'first' \(Conv\): attribute '{name}' has the wrong type"):
            NODE.number(name, default)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (FormatError("no code"), FormatError, "node 'first' (Conv): no code"),
        (FormatError("node 'other' (Add): no code"), FormatError, "node 'other' (Add): no code"),
        (ValueError("shapes\ndiffer"), ModelError, "node 'first' (Conv): shapes"),
        (ValueError(), ModelError, "node 'first' (Conv): ValueError"),
        (OverflowError("too large"), ModelError, "node 'first' (Conv): too large"),
        (MemoryError(), UnsupportedError, "node 'first' (Conv): not enough memory"),
    ],
)
def test_errors_name_the_node(error, kind, text):
    with pytest.raises(kind) as found, NODE.errors_named():
        raise error
    assert str(found.value) == text


def test_other_errors_pass():
    for error in (KeyboardInterrupt, TypeError, IndexError):  # a fault of ours is no bad model
        with pytest.raises(error), NODE.errors_named():
            raise error


def test_who_makes_and_who_reads():
    a = Node("Relu", ("x",), ("a", ""))
    b = Node("Mul", ("a", "a"), ("b",))
    c = Node("Clip", ("b", "", "W"), ("y",))
    found = graph(a, b, c)
    assert found.producers() == {"a": a, "b": b, "y": c}
    assert found.readers() == {"x": [a], "a": [b, b], "b": [c], "W": [c]}
    assert found.tensors_read_once() == {"x", "b", "W"}
    assert found.tensors() == {"x", "a", "b", "y", "W"}


def test_an_output_is_not_read_by_its_reader_alone():
    a, b = Node("Relu", ("x",), ("a",)), Node("Relu", ("a",), ("y",))
    assert graph(a, b).tensors_read_once() == {"x", "a"}
    assert graph(a, b, outputs=("y", "a")).tensors_read_once() == {"x"}
    assert graph(a, outputs=("a", "a")).tensors_read_once() == {"x"}
