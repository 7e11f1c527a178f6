"""Calibration of models with graphs inside of nodes, where the data decides which of them run."""

import numpy as np
import onnx
import pytest
from networks import weights
from onnx import TensorProto, helper

from qengine import InferenceSession, calibrate
from qengine.errors import FormatError
from qengine.qformat import finest_format


def body(name, nodes, inputs, outputs, constants=()):
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    return helper.make_graph(
        [helper.make_node(*node) for node in nodes],
        name,
        inputs,
        infos,
        [onnx.numpy_helper.from_array(np.float32(value), n) for n, value in constants],
    )


def branching():
    then = body("then", [("Mul", ["a", "k"], ["t"]), ("Relu", ["t"], ["u"])], [], ["u"], [("k", 40.0)])
    other = body("else", [("Neg", ["a"], ["e"])], [], ["e"])
    graph = helper.make_graph(
        [
            helper.make_node("Tanh", ["x"], ["a"]),
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "limit"], ["c"]),
            helper.make_node("If", ["c"], ["y"], name="branch", then_branch=then, else_branch=other),
        ],
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.float32(1.0), "limit")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_graphs_inside_of_nodes():
    model = branching()
    low, high = np.float32([-0.5, 0.25, 0.5, 0]), np.float32([-2, 1, 2, 3])
    found = calibrate(model, [{"x": low}, {"x": high}], bits=8)
    values = 40 * np.tanh(high)
    assert found["t"] == found["u"]
    assert found["u"] == str(finest_format(np.maximum(values, 0), 8))
    assert {"x", "a", "m", "t", "u", "e", "y", "k"} <= set(found)
    session = InferenceSession(model, formats=found)
    for x in (low, high):
        exact = np.maximum(40 * np.tanh(x), 0) if x.max() > 1 else -np.tanh(x)
        (got,) = session.run(None, {"x": x})
        assert np.abs(got - exact).max() < 1


def test_weights_that_only_a_branch_reads():
    branches = {
        name: body(name, [("MatMul", ["a", f"{name}_w"], [f"{name}_y"])], [], [f"{name}_y"])
        for name in ("then", "else")
    }
    nested = body(
        "else",
        [("Less", ["m", "m"], ["less"])],
        [],
        ["if_y"],
    )
    inner = helper.make_node("If", ["less"], ["if_y"], then_branch=branches["then"], else_branch=branches["else"])
    nested.node.append(inner)
    graph = helper.make_graph(
        [
            helper.make_node("Tanh", ["x"], ["a"]),
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "limit"], ["c"]),
            helper.make_node(
                "If", ["c"], ["o"], then_branch=body("t", [("Abs", ["a"], ["b"])], [], ["b"]), else_branch=nested
            ),
            helper.make_node("Relu", ["o"], ["y"]),
        ],
        "nested",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(np.float32(0.9), "limit"),
            onnx.numpy_helper.from_array(weights(3, 3), "then_w"),
            onnx.numpy_helper.from_array(weights(3, 3, seed=2) / 64, "else_w"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    feeds = [{"x": np.float32([[0.3, -0.4, 0.5]])}, {"x": np.float32([[0.3, -0.4, 1.5]])}]
    found = calibrate(model, feeds, bits=16, headroom=1.25)
    assert found["else_w"] == str(finest_format(weights(3, 3, seed=2) / 64, 16))
    assert "if_y" in found
    session = InferenceSession(model, formats=found)
    assert session.notes == ()
    for one in feeds:
        (exact,) = InferenceSession(model).run(None, one)
        assert np.abs(session.run(None, one)[0] - exact).max() < 1e-3


def test_a_branch_that_was_never_taken_has_no_format_and_that_is_told():
    model = branching()
    found = calibrate(model, [{"x": np.float32([-0.5, 0.25, 1, 0])}], method="max")
    assert "u" not in found
    assert any("has no format: no run computed it" in note for note in found.notes)
    session = InferenceSession(model, formats=found)
    session.run(None, {"x": np.float32([0.5, 0, 0, 0])})
    with pytest.raises(FormatError, match="no format for 't', 'u'"):
        session.run(None, {"x": np.float32([5, 0, 0, 0])})
