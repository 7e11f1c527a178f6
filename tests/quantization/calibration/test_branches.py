"""Calibration of models with graphs inside of nodes, where the data decides which of them run."""

import numpy as np
import onnx
import pytest
from networks import network, weights
from onnx import TensorProto, helper

import qengine
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
    found = calibrate(model, [{"x": low}, {"x": high}], bits=8, output_bits=8, method="max", unsigned=False)
    values = 40 * np.tanh(high)
    assert found["t"] == found["u"]
    assert found["u"] == str(finest_format(np.maximum(values, 0), 8))
    assert {"x", "a", "m", "t", "u", "e", "y", "k"} <= set(found)
    session = InferenceSession(model, formats=found)
    for x in (low, high):
        exact = np.maximum(40 * np.tanh(x), 0) if x.max() > 1 else -np.tanh(x)
        (got,) = session.run(None, {"x": x})
        assert np.abs(got - exact).max() < 1


def test_a_branch_of_small_results_is_a_part_of_the_if():
    model, feeds = branching(), [{"x": np.float32([-0.5, 0.25, 0.5, 0])}, {"x": np.float32([-2, 1, 2, 3])}]
    found = calibrate(model, feeds, method="max")
    assert found.notes == ("output 'y' has 16 bits: in Q6.1 part 'e' (up to 0.462) would have fewer than 4 steps",)
    assert qengine.QFormat.parse(found["y"]).bits == 16
    found = calibrate(model, feeds, method="max", output_bits=8)
    assert "leaves 0.92 steps to part 'e' (up to 0.462): try --output-bits 16" in found.notes[0]


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
    found = calibrate(model, feeds, bits=16, headroom=1.25, per_channel=False)
    assert found["else_w"] == str(finest_format(weights(3, 3, seed=2) / 64, 16))
    assert "if_y" in found
    session = InferenceSession(model, formats=found)
    assert session.notes == ()
    for one in feeds:
        (exact,) = InferenceSession(model).run(None, one)
        assert np.abs(session.run(None, one)[0] - exact).max() < 1e-3


def test_a_branch_that_was_never_taken_runs_once_for_its_formats_and_that_is_told():
    model = branching()
    found = calibrate(model, [{"x": np.float32([-0.5, 0.25, 1, 0])}], method="max")
    assert found["u"] == found["t"] == "UQ5.3"  # 40 tanh(1) = 30.5
    told = "no sample ran the then_branch of node 'branch' (If): its formats are from a run on the last sample's values"
    assert [note for note in found.notes if note.startswith(told)]
    session = InferenceSession(model, formats=found)
    session.run(None, {"x": np.float32([5, 0, 0, 0])})
    both = calibrate(model, [{"x": np.float32([-0.5, 0.25, 1, 0])}, {"x": np.float32([0, 0, 0, 2])}], method="max")
    assert not [note for note in both.notes if note.startswith(told)]


def loop(count):
    """Return a Loop that halves a constant state and adds x, for `count` times."""
    value = helper.make_tensor_value_info
    inner = helper.make_graph(
        [
            helper.make_node("Mul", ["h", "half"], ["g"]),
            helper.make_node("Add", ["g", "x"], ["f"]),
            helper.make_node("Identity", ["c"], ["d"]),
        ],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("h", TensorProto.FLOAT, [4])],
        [value("d", TensorProto.BOOL, []), value("f", TensorProto.FLOAT, [4])],
        [onnx.numpy_helper.from_array(np.float32(0.5), "half")],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "start"], ["y"], name="loop", body=inner)],
        "loop",
        [value("x", TensorProto.FLOAT, [4]), value("n", TensorProto.INT64, [])],
        [value("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.float32([0.5, 1, 2, -3]), "start")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), {"x": np.float32([1, -2, 0.5, 0]), "n": np.int64(count)}


def test_the_body_of_a_loop_without_iterations_has_formats():
    model, feeds = loop(0)
    found = calibrate(model, [feeds], bits=16)
    assert {"h", "g", "f", "half"} <= set(found)
    assert [note for note in found.notes if "the body of node 'loop' (Loop)" in note]
    session, more = InferenceSession(model, formats=found), loop(1)[1]
    assert np.abs(session.run(None, more)[0] - InferenceSession(model).run(None, more)[0]).max() < 1e-3


def test_a_branch_for_other_shapes_has_the_formats_of_the_one_that_ran():
    def branch(name, rows):
        nodes = [("MatMul", ["x", f"{name}_w"], [f"{name}_p"]), ("Tanh", [f"{name}_p"], [f"{name}_y"])]
        graph = body(name, nodes, [], [f"{name}_y"])
        graph.initializer.append(onnx.numpy_helper.from_array(weights(rows, 3), f"{name}_w"))
        return graph

    def model_of(then):
        graph = helper.make_graph(
            [
                helper.make_node("Equal", ["rate", "eight"], ["c"]),
                helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=branch("else", 4)),
            ],
            "rates",
            [
                helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
                helper.make_tensor_value_info("rate", TensorProto.INT64, []),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(np.int64(8), "eight")],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

    x = np.random.default_rng(4).normal(size=8).astype(np.float32)
    low, high = {"x": x[:4], "rate": np.int64(4)}, {"x": x, "rate": np.int64(8)}
    model = model_of(branch("then", 8))
    found = calibrate(model, [low], method="max")
    assert found["then_p"] == found["else_p"]
    assert [note for note in found.notes if "its formats are from the other branch" in note]
    InferenceSession(model, formats=found).run(None, high)
    # Other operators: only the result of the branch is known.
    only = branch("then", 8)
    only.node[1].op_type = "Sigmoid"
    found = calibrate(model_of(only), [low])
    assert "then_y" in found
    assert "then_p" not in found
    with pytest.raises(FormatError, match="no format for 'then_p'"):
        InferenceSession(model_of(only), formats=found).run(None, high)


def test_a_constant_branch_widens_the_result():
    model = onnx.load_from_string(branching())
    branch = next(one.g for one in model.graph.node[3].attribute if one.name == "then_branch")
    del branch.node[:]
    branch.initializer.append(onnx.numpy_helper.from_array(np.float32([9, 0, 0, 0]), "u"))
    found = calibrate(model.SerializeToString(), [{"x": np.float32([-0.5, 0.25, 1, 0])}], method="max")
    assert qengine.QFormat.parse(found["y"]).max >= 9


def test_nan_that_where_picks_is_refused_by_name():
    model = network([("Where", "c n x", "y")], inputs={"c": (bool, [3]), "x": [3]}, constants={"n": np.nan})
    feeds = {"c": np.array([True, False, False]), "x": np.float32([1, 2, 3])}
    with pytest.raises(FormatError, match="constant 'n' holds NaN, which Where picks as a fill"):
        calibrate(model, [feeds])
    with pytest.raises(FormatError, match="constant 'n' holds NaN, which Where picks as a fill"):
        InferenceSession(model, qformat="Q3.4").run(None, feeds)


@pytest.mark.parametrize("is_first", [True, False])
def test_weights_that_one_branch_folds_a_factor_into_have_a_format_for_both(is_first):
    first = body("first", [("Gemm", ["x", "w"], ["t"])], [], ["t"])
    second = body("second", [("Gemm", ["x", "w"], ["p"]), ("Mul", ["p", "k"], ["e"])], [], ["e"], [("k", 1 / 64)])
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "limit"], ["c"]),
            helper.make_node(
                "If", ["c"], ["y"], then_branch=first if is_first else second, else_branch=second if is_first else first
            ),
        ],
        "folded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.float32(1), "limit"), onnx.numpy_helper.from_array(weights(3, 3), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    feeds = [{"x": np.float32([[0.5, -1, 0.25], [x, 0, -0.5]])} for x in (0.75, 2)]
    for given in ({"formats": calibrate(model, feeds, bits=16)}, {"qformat": "Q3.12", "per_channel": True}):
        session = InferenceSession(model, **given)
        for one in feeds:
            (exact,) = InferenceSession(model).run(None, one)
            assert np.abs(session.run(None, one)[0] - exact).max() < 1e-3
