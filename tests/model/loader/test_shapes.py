import numpy as np
import onnx
import pytest
from onnx import TensorProto

from qengine import InferenceSession
from qengine.model.loader import load

from .models import branch, conditional, info, init, model, node, put, refused, relu


def test_a_shape_that_an_initializer_decides_and_one_that_arithmetic_does():
    proto = model(
        [
            node("Reshape", ["x", "s"], ["a"]),
            node("Shape", ["a"], ["n"]),
            node("Gather", ["n", "one"], ["d"]),
            node("Concat", ["d", "minus"], ["t"], axis=0),
            node("Reshape", ["a", "t"], ["y"]),
        ],
        [info("x", (4, 6))],
        inits=[init("s", [3, 8]), init("one", [1]), init("minus", [-1])],
    )
    graph = load(proto)
    assert graph.values["a"].shape == (3, 8)
    assert graph.values["y"].shape == (8, 3)


def test_shapes_that_depend_on_an_overridable_default_are_not_inferred_from_it():
    proto = model(
        [node("Reshape", ["x", "s"], ["y"])],
        [info("x", (4,)), info("s", (2,), TensorProto.INT64)],
        inits=[init("s", [2, 2])],
    )
    assert load(proto).outputs[0].shape == (None, None)


def test_long_vectors_are_not_followed_element_by_element():
    doubling = [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(40)]
    proto = model(
        [
            node("Shape", ["x"], ["v0"]),
            *doubling,
            node("Add", ["z", "z"], ["w"]),
            node("ConstantOfShape", ["v40"], ["y"]),
        ],
        [info("x", (1, 3)), info("z", (2**50,))],
    )
    graph = load(proto)
    assert graph.values["v40"].shape == (2**41,)
    assert graph.values["w"].shape == (2**50,)


def test_big_weights_do_not_travel_through_inference(monkeypatch):
    seen = []
    real = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        onnx.shape_inference, "infer_shapes", lambda m, **kw: (seen.append(m.ByteSize()), real(m, **kw))[1]
    )
    big = np.zeros((1, 3, 500, 500), np.float32)
    proto = model(
        [
            node("Constant", [], ["k"], value=init("", big)),
            node("Add", ["w", "k"], ["a"]),
            node("Add", ["x", "a"], ["y"]),
        ],
        [info("x", (1,))],
        inits=[init("w", big)],
    )
    assert load(proto).outputs[0].shape == big.shape
    assert max(seen) < 2000


@pytest.mark.parametrize(
    "error",
    [RuntimeError("out of luck"), ValueError("above 2 GB"), onnx.shape_inference.InferenceError("no")],
)
def test_inference_that_fails_is_not_fatal(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", fail)
    graph = load(relu(values=[info("z", (3,))]))
    assert graph.values["x"].shape == (2,)
    assert graph.values["z"].shape == (3,)
    assert graph.outputs[0].name == "y"


def test_nodes_that_contradict_each_other():
    proto = model(
        [node("MatMul", ["x", "w"], ["y"], name="m")],
        [info("x", (1, 3))],
        inits=[init("w", np.ones((4, 5), "f"))],
    )
    refused(proto, "'m'", "(MatMul)", "Incompatible dimensions")


def test_a_wrong_declared_shape_gives_way():
    proto = model(
        [node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])],
        outputs=[info("y", (3,))],
        values=[info("a", (2, 9))],
    )
    graph = load(proto)
    assert (graph.values["a"].shape, graph.outputs[0].shape) == ((2,), (2,))


def test_a_declared_name_of_an_axis_is_kept_and_a_length_is_preferred():
    proto = model(
        [node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])],
        [info("x", (None, 3))],
        [info("y", ("batch", "channels"))],
        values=[info("a", (-1, 3))],
    )
    graph = load(proto)
    assert graph.values["a"].shape == (None, 3)
    assert graph.outputs[0].shape == ("batch", 3)


def test_a_wrong_declared_type_is_an_error():
    proto = model([node("Relu", ["x"], ["a"]), node("Relu", ["a"], ["y"])], values=[info("a", (2,), TensorProto.INT32)])
    refused(proto, "'a'", "int32", "float32")


def test_what_is_declared_after_an_unknown_operator_is_used():
    proto = model(
        [node("Magic", ["x"], ["a"], domain="d"), node("Relu", ["a"], ["y"])],
        values=[info("a", (7,))],
        imports=[("d", 1)],
    )
    assert load(proto).outputs[0].shape == (7,)
    load(model([node("NoSuchThing", ["x"], ["a"]), node("Conv", ["a", "a"], ["y"])]))


def test_external_weights_in_a_branch_are_no_contradiction(folder):
    proto = conditional(branch("then", [node("Reshape", ["x", "s"], ["t"])], "t"))
    inner = proto.graph.node[0].attribute
    then = next(one.g for one in inner if one.name == "then_branch")
    shape = then.initializer.add(name="s", data_type=TensorProto.INT64, dims=[1], data_location=TensorProto.EXTERNAL)
    shape.external_data.add(key="location", value="w.bin")
    load(put(folder, proto))


@pytest.mark.parametrize("tail", ["MatMul", "Relu", "Concat", "If", "SequenceConstruct", "TopK", "Split", "Where"])
@pytest.mark.parametrize("operator", ["Scaler", "Normalizer", "Imputer", "FeatureVectorizer"])
def test_a_type_that_inference_does_not_know_is_no_contradiction(operator, tail):
    """onnx infers no types for most operators of ai.onnx.ml, and then fails at the node that reads the result."""
    attributes = {"FeatureVectorizer": {"inputdimensions": [4]}, "Imputer": {"imputed_value_floats": [1.0]}}
    attributes["Scaler"] = {"scale": [1.0], "offset": [0.0]}
    inputs = {"MatMul": ["s", "w"], "Concat": ["s", "s"], "If": ["b"], "TopK": ["s", "k"], "Where": ["b", "s", "s"]}
    more = {"Concat": {"axis": 1}, "Split": {"axis": 1}}.get(tail, {})
    if tail == "If":
        body = onnx.helper.make_graph([node("Relu", ["s"], ["r"])], "body", [], [onnx.ValueInfoProto(name="r")])
        more = {"then_branch": body, "else_branch": body}
    proto = model(
        [
            onnx.helper.make_node(operator, ["x"], ["s"], domain="ai.onnx.ml", **attributes.get(operator, {})),
            node(tail, inputs.get(tail, ["s"]), ["y", "z"][: 1 + (tail in ("TopK", "Split"))], **more),
        ],
        [info("x", (2, 4))],
        inits=[init("w", np.ones((4, 3), np.float32)), init("k", [1]), init("b", np.array([True]))],
    )
    proto.opset_import.add(domain="ai.onnx.ml", version=1)
    proto.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="y"))
    assert load(proto).values["s"].dtype == np.float32
    assert InferenceSession(proto).run(None, {"x": np.ones((2, 4), np.float32)})


def test_a_type_that_no_definition_gives_is_no_contradiction_either():
    """Imputer gives the type that it reads, and onnx does not know that of an operator of another domain."""
    proto = model(
        [
            onnx.helper.make_node("Unknown", ["x"], ["u"], domain="own"),
            onnx.helper.make_node("Imputer", ["u"], ["s"], domain="ai.onnx.ml", imputed_value_floats=[1.0]),
            node("MatMul", ["s", "w"], ["y"]),
        ],
        [info("x", (2, 4))],
        inits=[init("w", np.ones((4, 3), np.float32))],
    )
    for domain in ("ai.onnx.ml", "own"):
        proto.opset_import.add(domain=domain, version=1)
    proto.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="y"))
    assert load(proto).values["s"].dtype is None
