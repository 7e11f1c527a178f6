import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, Target
from qengine.runtime.description import lines_of

NODES = [("Conv", "x w", "c"), ("Sin", "c", "s"), ("Erf", "s", "y")]


@pytest.fixture(scope="module")
def model():
    return network(NODES, inputs={"x": ["N", 3, 6, 5]}, constants={"w": weights(4, 3, 3, 3)})


def test_float32(model):
    session = InferenceSession(model)
    assert repr(session).startswith("<InferenceSession ")
    assert "x float32 [N, 3, 6, 5] -> y" in repr(session)
    assert repr(session).endswith("; float32>")
    labels = [label for label, _ in lines_of(session)]
    assert labels == ["model", "input", "output", "arithmetic"]
    assert len(str(session).splitlines()) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"qformat": "Q4.3"}, "Q4.3, half_even, saturate"),
        ({"qformat": "Q4.3", "weight_qformat": "Q0.7"}, "Q4.3, weights Q0.7, half_even, saturate"),
        ({"qformat": "Q4.3", "rounding": "floor", "accumulator_bits": 24}, "Q4.3, floor, saturate, 24-bit accumulator"),
        ({"qformat": "Q4.3", "target": "cmsis-nn-q7"}, "Q4.3, target cmsis-nn-q7, half_up, saturate"),
        ({"formats": dict.fromkeys("xcsyw", "Q4.3")}, "formats of 5 tensors, half_even, saturate"),
    ],
)
def test_fixed_point(model, options, words):
    session = InferenceSession(model, **options)
    lines = dict(lines_of(session))
    assert lines["arithmetic"] == words
    assert repr(session).endswith(f"; {words}>")
    assert "Q4.3 (" in lines["formats"]


def test_nodes_in_float32_are_named_once_they_are_known():
    nodes = [("Relu", "x", "r"), ("Det", "r", "y")]
    session = InferenceSession(network(nodes, inputs={"x": ["N", 3, 3]}), qformat="Q4.3")
    assert "in float32" not in dict(lines_of(session))
    session.run(None, {"x": np.zeros((1, 3, 3), np.float32)})
    assert dict(lines_of(session))["in float32"] == "node 'the_y' (Det)"


def test_hostile_names_are_text():
    name = "<b>\x1b[31m"
    session = InferenceSession(network([("Relu", name, "y")], inputs={name: [2]}), qformat="Q1.2")
    for text in (repr(session), str(session), session._repr_html_()):
        assert "\x1b" not in text
    assert "<b>\\x1b" not in session._repr_html_()
    assert "&lt;b&gt;" in session._repr_html_()


def test_graph_value_and_target():
    session = InferenceSession(network([("Relu", "x", "y")], inputs={"x": ["N", 2]}))
    assert str(session.graph.inputs[0]) == "x float32 [N, 2]"
    assert repr(session.graph).startswith("<Graph ")
    assert "1 nodes, 0 constants" in repr(session.graph)
    assert repr(Target.named("cmsis-nn-q7")).startswith("<Target cmsis-nn-q7, verified: ")
    assert repr(Target("mine")) == "<Target mine, unverified>"
