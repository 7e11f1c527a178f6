"""FlexAttention with graphs that modify the scores and the probabilities."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from qengine import InferenceSession
from qengine.errors import ModelError, UnsupportedError

Q = np.random.default_rng(0).normal(size=(2, 4, 3, 4)).astype(np.float32)
K, V = np.random.default_rng(1).normal(size=(2, 2, 2, 5, 4)).astype(np.float32)


def modifier(operator, constant):
    """Return a graph of one operator on its input and a constant."""
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("in", "out")]
    held = [numpy_helper.from_array(constant, "held")] if isinstance(constant, np.ndarray) else []
    name = "held" if held else constant
    return helper.make_graph([helper.make_node(operator, ["in", name], ["out"])], "modifier", info[:1], info[1:], held)


def model(**graphs):
    """Return FlexAttention behind a Relu of Q, with an outer constant that graphs may read."""
    nodes = [
        helper.make_node("Relu", ["q"], ["r"]),
        helper.make_node("FlexAttention", ["r", "k", "v"], ["y"], domain="ai.onnx.preview", **graphs),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in FEEDS.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    held = [numpy_helper.from_array(np.float32(0.25), "outer")]
    graph = helper.make_graph(nodes, "flex", inputs, outputs, held)
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("ai.onnx.preview", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


FEEDS = {"q": Q, "k": K, "v": V}
MASK = np.where(np.tri(3, 5, 1) > 0, 0, -np.inf).astype(np.float32)


def by_numpy(score=lambda s: s, prob=lambda p: p, feeds=FEEDS):
    q, k, v = np.maximum(feeds["q"], 0), *(np.repeat(feeds[name], 2, axis=1) for name in "kv")
    scores = score(q @ k.swapaxes(-1, -2) / 2)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return prob(powers / powers.sum(-1, keepdims=True)) @ v


CASES = {
    "none": ({}, {}),
    "scores": ({"score_mod": modifier("Add", MASK)}, {"score": lambda s: s + MASK}),
    "probabilities": ({"prob_mod": modifier("Mul", np.float32([0.5]))}, {"prob": lambda p: p / 2}),
    "both": (
        {"score_mod": modifier("Mul", "outer"), "prob_mod": modifier("Sub", np.float32([0.1]))},
        {"score": lambda s: s / 4, "prob": lambda p: p - np.float32(0.1)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_graphs_modify_scores_and_probabilities(name):
    graphs, functions = CASES[name]
    (y,) = InferenceSession(model(**graphs)).run(None, FEEDS)
    np.testing.assert_allclose(y, by_numpy(**functions), 1e-5, 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_graphs_compute_real_numbers_in_fixed_point(name):
    graphs, functions = CASES[name]
    (y,) = InferenceSession(model(**graphs), qformat="Q3.12").run(None, FEEDS)
    rounded = {key: np.rint(np.ldexp(a, 12)) / 4096 for key, a in FEEDS.items()}
    # The inputs and the output are rounded, and nothing between them.
    np.testing.assert_allclose(y, by_numpy(**functions, feeds=rounded), rtol=0, atol=0.51 / 4096)
    with pytest.raises(UnsupportedError, match="strict"):
        InferenceSession(model(**graphs), qformat="Q3.12", strict=True).run(None, FEEDS)


def test_a_graph_that_changes_the_shape_is_an_error():
    graph = modifier("ReduceSum", np.int64([0]))
    with pytest.raises(ModelError, match="score_mod gives float32"):
        InferenceSession(model(score_mod=graph)).run(None, FEEDS)
