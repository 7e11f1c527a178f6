"""Expansion of whole graphs: nested graphs, functions, what is inferred, and what is refused by name."""

import numpy as np
import onnx
import pytest
from model.contrib.cases import DOMAIN, Draws, by_runtime
from networks import network
from onnx import helper, numpy_helper

import qengine
from qengine.errors import UnsupportedError
from qengine.model.custom import registration
from qengine.model.loader import load
from qengine.model.ops import operator as operators

DRAWS = Draws(3)
real = DRAWS.real


GELU = f"{DOMAIN}.Gelu"
X = real(1, 3, 6, 5)


def assert_as_runtime(model, feeds, atol=1e-5):
    found = qengine.InferenceSession(model).run(None, feeds)
    for ours, theirs in zip(found, by_runtime(model, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-5, atol, strict=True)


def test_no_node_of_onnx_runtime_is_left():
    graph = load(network([(GELU, "x", "g"), (f"{DOMAIN}.FastGelu", "g", "y")]))
    assert [(node.operator, node.domain) for node in graph.nodes] == [("Gelu", ""), ("Gelu", "")]
    assert graph.outputs[0].shape == (1, 3, 6, 5)
    assert graph.outputs[0].dtype == np.float32


def test_shapes_after_an_unknown_operator_are_inferred():
    """onnx infers nothing beyond the first node; the transposition needs the rank of its result."""
    nodes = [
        (GELU, "x", "g"),
        ("Conv", "g w", "c"),
        ("Flatten", "c", "f"),
        (f"{DOMAIN}.FusedMatMul", "m f", "y", {"transB": 1, "alpha": 0.5}),
    ]
    constants = {"w": real(2, 3, 3, 3), "m": real(4, 24)}
    model = network(nodes, constants=constants)
    assert_as_runtime(model, {"x": X}, 1e-4)
    values = load(model).values
    assert (values["c"].shape, values["f"].shape, values["y"].shape) == ((1, 2, 4, 3), (1, 24), (4, 1))


def test_the_same_name_twice():
    """Two nodes of one operator, and a tensor that has the name of a new one."""
    nodes = [("Relu", "x", "y_by_Add"), (f"{DOMAIN}.BiasGelu", "y_by_Add b", "g"), (f"{DOMAIN}.BiasGelu", "g b", "y")]
    model = onnx.load_from_string(network(nodes, constants={"b": real(5)}))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [name.replace("y_by_Add", "y by Add") for name in names]
    assert_as_runtime(model.SerializeToString(), {"x": X})


def test_before_opset_17_layer_normalization_is_onnx_runtimes():
    nodes = [("Relu", "x", "r"), ("LayerNormalization", "r s b", "y", {"axis": -1, "epsilon": 1e-3})]
    model = network(nodes, constants={"s": real(5), "b": real(5)}, opset=14)
    assert_as_runtime(model, {"x": X})


def branches():
    x = helper.make_tensor_value_info("x", 1, [1, 3, 4])
    condition = helper.make_tensor_value_info("b", 9, [])

    def branch(name, *nodes):
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("a", 1, None)])

    product = helper.make_node("FusedMatMul", ["x", "w"], ["a"], domain=DOMAIN, transB=1, alpha=0.5)
    gelu = helper.make_node("Gelu", ["x"], ["g"], domain=DOMAIN)
    biased = helper.make_node("BiasGelu", ["g", "c"], ["a"], domain=DOMAIN)
    node = helper.make_node("If", ["b"], ["y"], then_branch=branch("t", product), else_branch=branch("e", gelu, biased))
    constants = [numpy_helper.from_array(real(4, 4), "w"), numpy_helper.from_array(real(4), "c")]
    y = helper.make_tensor_value_info("y", 1, None)
    return helper.make_graph([node], "branches", [x, condition], [y], constants)


@pytest.mark.parametrize("condition", [True, False])
def test_nodes_in_branches(condition):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(branches(), opset_imports=opsets, ir_version=8).SerializeToString()
    assert_as_runtime(model, {"x": real(1, 3, 4), "b": np.array(condition)})


def test_nodes_in_a_local_function():
    body = [helper.make_node("Gelu", ["a"], ["g"], domain=DOMAIN), helper.make_node("Relu", ["g"], ["b"])]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    model = onnx.load_from_string(network([("mine.F", "x", "y")]))
    model.functions.append(helper.make_function("mine", "F", ["a"], ["b"], body, opsets))
    assert_as_runtime(model.SerializeToString(), {"x": X})


@pytest.mark.parametrize(
    ("operator", "words"),
    [
        ("com.microsoft.nchwc.ReorderInput", "graph_optimization_level = ORT_ENABLE_EXTENDED"),
        ("com.ms.internal.nhwc.Conv", "graph_optimization_level = ORT_ENABLE_EXTENDED"),
        (f"{DOMAIN}.LongformerAttention", f"{DOMAIN}.LongformerAttention-1"),
        (f"{DOMAIN}.GroupQueryAttention", "docs/models.md"),
    ],
)
def test_what_is_not_supported_is_named(operator, words):
    with pytest.raises(UnsupportedError, match=operator.rpartition(".")[2]) as caught:
        qengine.InferenceSession(network([(operator, "x", "y")]))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operator_that_the_user_registered_stays(monkeypatch):
    monkeypatch.setattr(operators, "_registered", {})
    registration.register_operator("Gelu", domain=DOMAIN)(lambda x: 2 * x)
    (y,) = qengine.InferenceSession(network([(GELU, "x", "y")])).run(None, {"x": X})
    np.testing.assert_array_equal(y, 2 * X)


def test_integers_from_the_file_never_reach_inference_unchecked():
    """onnx's inference ends the process for some of these axes."""
    for axis in (2**40, -(2**62), 7, -9):
        for operator in ("LayerNormalization", "SimplifiedLayerNormalization"):
            nodes = [("Relu", "x", "r"), (operator, "r s", "y", {"axis": axis})]
            model = network(nodes, constants={"s": real(5)}, opset=14)
            with pytest.raises(qengine.errors.QEngineError):
                qengine.InferenceSession(model).run(None, {"x": X})
