from dataclasses import replace

import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

import qengine
from qengine.model.graph import ActivationBounds
from qengine.model.loader import load
from qengine.model.ops.functions import LARGEST
from qengine.model.passes import fuse_activations, optimize

X = weights(2, 3, 6, 5, seed=1, scale=2.0)
W = weights(4, 3, 3, 3)
CONV = ("Conv", "x W", "c")


def build(*nodes, outputs=("y",), opset=17, **constants):
    return network(nodes, inputs={"x": ["N", 3, 6, 5]}, outputs=outputs, constants={"W": W, **constants}, opset=opset)


def fused(model):
    """Return (operator, activation) of each node after the passes."""
    return [(node.operator, node.activation) for node in optimize(load(model))[-1].nodes]


def check(model, names=None):
    for found, wanted in zip(
        qengine.InferenceSession(model).run(names, {"x": X}),
        run_onnxruntime(model, {"x": X}, names),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


RELU = ActivationBounds(0.0, None)
CLIPS = {
    "relu": (("Relu", "c", "y"), {}, 17, RELU),
    "attributes": (("Clip", "c", "y", {"min": -0.5, "max": 1.5}), {}, 7, ActivationBounds(-0.5, 1.5)),
    "one attribute": (("Clip", "c", "y", {"max": 1.5}), {}, 10, ActivationBounds(-LARGEST, 1.5)),
    "inputs": (("Clip", "c lo hi", "y"), {"lo": 0.0, "hi": 6.0}, 11, ActivationBounds(0.0, 6.0)),
    "an input": (("Clip", "c lo", "y"), {"lo": 0.25}, 17, ActivationBounds(0.25, None)),
    "the other input": (("Clip", "c - hi", "y"), {"hi": 0.25}, 17, ActivationBounds(None, 0.25)),
    "an infinite input": (("Clip", "c lo hi", "y"), {"lo": 0.0, "hi": np.inf}, 17, ActivationBounds(0.0, np.inf)),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_it_goes_into_the_operator_before(kind):
    node, constants, opset, activation = CLIPS[kind]
    model = build(CONV, node, opset=opset, **constants)
    assert fused(model) == [("Conv", activation)]
    check(model)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Sum"])
def test_it_goes_into_what_combines(operator):
    model = build((operator, "x k", "c"), ("Relu", "c", "y"), k=weights(3, 1, 1) + 2)
    assert fused(model) == [(operator, RELU)]
    check(model)


@pytest.mark.parametrize(
    "node", [("Gemm", "x W", "c"), ("MatMul", "x W", "c"), ("Gemm", "x W b", "c", {"alpha": 2.0, "beta": 0.5})]
)
def test_it_goes_into_matrix_products(node):
    model = network(
        [node, ("Clip", "c lo hi", "y")],
        inputs={"x": [4, 3]},
        constants={"W": weights(3, 5), "b": weights(5), "lo": 0.0, "hi": 1.0},
    )
    assert fused(model) == [(node[0], ActivationBounds(0.0, 1.0))]
    feeds = {"x": weights(4, 3, seed=1)}
    np.testing.assert_allclose(
        qengine.InferenceSession(model).run(None, feeds)[0], run_onnxruntime(model, feeds)[0], atol=1e-6
    )


NOT = {
    "read twice": ((CONV, ("Relu", "c", "r"), ("Add", "r c", "y")), ["y"], {}),
    "read by another": ((CONV, ("Relu", "c", "r"), ("Softmax", "c", "s"), ("Add", "r s", "y")), ["y"], {}),
    "an output": ((CONV, ("Relu", "c", "y")), ["y", "c"], {}),
    "not linear": ((("Sigmoid", "x", "c"), ("Relu", "c", "y")), ["y"], {}),
    "an input": ((("Relu", "x", "y"),), ["y"], {}),
    "no bounds": ((CONV, ("Clip", "c", "y")), ["y"], {}),
    "not a number": ((CONV, ("Clip", "c lo", "y")), ["y"], {"lo": np.float32("nan")}),
}


@pytest.mark.parametrize("kind", NOT)
def test_it_stays(kind):
    nodes, outputs, constants = NOT[kind]
    model = build(*nodes, outputs=outputs, **constants)
    assert [activation for _, activation in fused(model)].count(None) == len(nodes)
    if kind != "not a number":
        check(model)


def test_one_of_two_in_a_row_goes():
    model = build(CONV, ("Relu", "c", "r"), ("Clip", "r - hi", "y"), hi=1.0)
    assert fused(model) == [("Conv", RELU), ("Clip", None)]
    check(model)


def test_bounds_that_only_a_run_knows():
    model = build(
        CONV,
        ("Shape", "x", "s"),
        ("Gather", "s two", "height"),
        ("Cast", "height", "h", {"to": 1}),
        ("Div", "h ten", "hi"),
        ("Clip", "c - hi", "y"),
        two=np.int64(2),
        ten=10.0,
    )
    assert fused(model)[-1] == ("Clip", None)
    check(model)
    (y,) = qengine.InferenceSession(model, qformat="Q4.3").run(None, {"x": X})
    assert y.max() == 0.625  # 6 / 10 in Q4.3


def test_bounds_of_integers_are_kept_exactly():
    most = np.int64(2**62 + 1)
    model = network(
        [("Add", "x k", "c"), ("Clip", "c - hi", "y")],
        inputs={"x": (np.int64, [2])},
        constants={"k": np.int64(0), "hi": most},
    )
    (y,) = qengine.InferenceSession(model).run(None, {"x": np.array([5, 2**62 + 7])})
    assert y.tolist() == [5, most]


def test_a_node_whose_first_output_is_left_out_stays():
    model = network(
        [
            ("Split", "x", "- b", {"axis": 0}),
            ("Split", "b", "- d", {"axis": 0}),
            ("Add", "b d", "s"),
            ("Relu", "s", "y"),
        ],
        inputs={"x": [4]},
        opset=11,
    )
    assert [operator for operator, _ in fused(model)] == ["Split", "Split", "Add"]
    (y,) = qengine.InferenceSession(model).run(None, {"x": np.array([9, 9, -3, 4], np.float32)})
    assert y.tolist() == [1, 8]


def test_an_operator_of_another_domain_is_not_taken_for_relu():
    model = build(CONV, ("Relu", "c", "y"))
    graph = load(model)
    other = replace(graph.nodes[1], domain="qengine")
    assert len(fuse_activations(replace(graph, nodes=(graph.nodes[0], other))).nodes) == 2


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, LARGEST), (np.float16, np.inf)])
def test_a_bound_that_is_left_out_before_opset_11_is_the_largest_float32(dtype, most):
    model = network(
        [("Mul", "x x", "c"), ("Clip", "c", "y", {"min": 0.0})],
        inputs={"x": (dtype, [3])},
        values={"y": (dtype, [3])},
        opset=10,
    )
    (y,) = qengine.InferenceSession(model).run(None, {"x": np.array([1, -2, np.inf], dtype)})
    np.testing.assert_array_equal(y, np.array([1, 4, most], dtype), strict=True)
