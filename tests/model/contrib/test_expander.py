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


def test_ranks_after_attention_are_known_at_every_opset():
    """A second node of attention needs the rank of its inputs, which nothing in the file declares."""
    nodes = [
        (f"{DOMAIN}.MultiHeadAttention", "x x x b lengths", "a", {"num_heads": 2}),
        ("MatMul", "a w", "q"),
        (f"{DOMAIN}.MultiHeadAttention", "q q q b lengths", "y", {"num_heads": 2}),
    ]
    constants = {"w": real(8, 8), "b": real(24), "lengths": np.array([3, 5], np.int32)}
    for opset in (11, 14, 17):
        model = network(nodes, inputs={"x": [2, 5, 8]}, constants=constants, opset=opset)
        assert_as_runtime(model, {"x": real(2, 5, 8)}, 1e-4)


def test_the_rank_after_a_reshape_is_that_of_its_constant():
    nodes = [
        (f"{DOMAIN}.UnfoldTensor", "x", "u", {"size": 2}),
        ("Relu", "u", "r"),
        ("Reshape", "r s", "m"),
        (f"{DOMAIN}.FusedMatMul", "m m", "y", {"transB": 1}),
    ]
    model = network(nodes, inputs={"x": [3, 4]}, constants={"s": np.array([3, -1])}, values={"r": (np.float32, None)})
    assert_as_runtime(model, {"x": real(3, 4)})


def test_ranks_after_a_recurrent_layer_are_known():
    nodes = [
        (f"{DOMAIN}.DynamicQuantizeLSTM", "x w r - - - - - s z s z", "h", {"hidden_size": 4}),
        ("Squeeze", "h one", "q"),
        (f"{DOMAIN}.FusedMatMul", "q q", "y", {"transB": 1}),
    ]
    codes = np.random.default_rng(0).integers(-99, 99, (2, 1, 4, 16)).astype(np.int8)
    constants = {"w": codes[0], "r": codes[1], "s": [0.01], "z": np.zeros(1, np.int8), "one": np.array([1])}
    model = network(nodes, inputs={"x": [5, 2, 4]}, constants=constants)
    assert_as_runtime(model, {"x": real(5, 2, 4)})


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
        (f"{DOMAIN}.GroupQueryAttention", "docs/reference/models.md"),
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


def test_axes_that_do_not_exist_are_refused():
    for axis in (2**40, -(2**62), 7, -9):
        for operator in ("LayerNormalization", "SimplifiedLayerNormalization"):
            nodes = [("Relu", "x", "r"), (operator, "r s", "y", {"axis": axis})]
            model = network(nodes, constants={"s": real(5)}, opset=14)
            with pytest.raises(qengine.errors.QEngineError):
                qengine.InferenceSession(model).run(None, {"x": X})


def test_integers_that_end_onnx_do_not_reach_it():
    """onnx's inference ends the process for this node, now that the rank of the tensor before it is known."""
    nodes = [(GELU, "x", "g"), ("GatherND", "g i", "y", {"batch_dims": -3})]
    model = network(nodes, constants={"i": np.zeros((1, 3, 1), np.int64)})
    assert load(model).values["g"].shape == (1, 3, 6, 5)


def test_new_nodes_have_names_of_their_own():
    """ONNX Runtime refuses two nodes of one name."""
    nodes = [(f"{DOMAIN}.SkipLayerNormalization", "x x s", "n"), (f"{DOMAIN}.BiasGelu", "n s", "y")]
    names = [node.name for node in load(network(nodes, constants={"s": real(5)})).nodes]
    assert names == ["the_n/Add", "the_n/LayerNormalization", "the_y/Add", "the_y/Gelu"]
    assert [node.name for node in load(network([(GELU, "x", "y")])).nodes] == ["the_y"]
