"""Conversions behind operators that copy codes, where the user gives both tensors formats of their own."""

import numpy as np
import onnx
import onnxruntime
import pytest
from model.formats.sessions import CHAIN, CONV, Q, X, session
from model.formats.test_groups import INDICES, PRESERVING
from networks import weights
from onnx import helper

import qengine
from qengine import dequantize, quantize
from qengine.quantization.qdq import quantized_model

ISAS = ["reference", None]
FEEDS = {"x": X}


def operators(s):
    return [node.operator for node in s.optimized.nodes]


def codes(s, *names):
    return s.run(list(names), FEEDS, raw=True)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", PRESERVING)
def test_another_format_behind_every_operator_that_copies(kind, isa):
    options = {"constants": INDICES, "isa": isa}
    (plain,) = codes(session([PRESERVING[kind]], {"x": "Q2.5"}, qformat="Q2.5", **options), "y")
    for fmt in ("Q1.3", "Q2.9", "UQ3.5"):
        s = session([PRESERVING[kind]], {"x": "Q2.5", "y": fmt}, qformat="Q4.3", **options)
        assert (s.formats["x"], s.formats["y"]) == (Q("Q2.5"), Q(fmt))
        (found,) = codes(s, "y")
        np.testing.assert_array_equal(found, quantize(dequantize(plain, "Q2.5"), fmt), strict=True)


WHERE = {
    "one name is no conversion": ({"p": "Q2.5"}, [], {"c": "Q2.5", "r": "Q2.5", "p": "Q2.5"}),
    "equal names are none": ({"c": "Q2.5", "p": "Q2.5"}, [], {"r": "Q2.5"}),
    "before the last": ({"c": "Q2.5", "p": "Q1.6"}, ["p"], {"r": "Q2.5"}),
    "at once": ({"c": "Q2.5", "r": "Q1.6"}, ["r"], {"c": "Q2.5", "p": "Q1.6"}),
    "the first takes the first that is named": ({"r": "Q1.6", "p": "Q2.5"}, ["p"], {"c": "Q1.6"}),
    "there and back": ({"c": "Q2.5", "r": "Q1.6", "p": "Q2.5"}, ["r", "p"], {}),
}


@pytest.mark.parametrize("case", WHERE)
def test_where_a_conversion_stands(case):
    given, converted, others = WHERE[case]
    for names in (given, dict(reversed(given.items()))):  # the order of the names does not matter
        s = session(CHAIN, names, qformat="Q4.3")
        found = [node.outputs[0] for node in s.optimized.nodes if node.operator == "Requantize"]
        assert found == converted
        for name, fmt in (given | others).items():
            assert s.formats[name] == Q(fmt)
        assert s.notes == ()


def test_branches_are_converted_by_themselves():
    nodes = [CONV, ("Relu", "c", "r"), ("MaxPool", "c", "p", {"kernel_shape": [2, 2]})]
    s = session(nodes, {"r": "Q1.6", "p": "Q3.4"}, qformat="Q4.3", outputs=["r", "p"])
    assert (s.formats["c"], s.formats["p"]) == (Q("Q1.6"), Q("Q3.4"))  # r is the first
    assert operators(s) == ["Conv", "Relu", "MaxPool", "Requantize"]


@pytest.mark.parametrize("isa", ISAS)
def test_a_fused_relu_is_bounded_before_the_conversion(isa):
    """Round to Q1.6, bound, round to Q2.3: what a Relu by itself gives, and not one rounding of the sum."""
    given = {"x": "Q2.5", "c": "Q1.6", "r": "Q2.3", "y": "Q4.3"}
    s = session(CHAIN, given, isa=isa)
    assert operators(s) == ["Conv", "Requantize", "MaxPool", "Conv"]
    c, r = codes(s, "c", "r")
    np.testing.assert_array_equal(r, quantize(np.maximum(dequantize(c, "Q1.6"), 0), "Q2.3"), strict=True)
    once = codes(session(CHAIN, {**given, "c": "Q2.3"}, isa=isa), "r")[0]
    assert (r != once).any()


def test_a_clip_has_its_bounds_in_the_format_before():
    nodes = [CONV, ("Clip", "c low high", "y")]
    constants = {"low": -0.30, "high": 0.30}
    s = session(nodes, {"x": "Q2.5", "c": "Q1.3", "y": "Q1.9"}, constants=constants)
    (y,) = codes(s, "y")
    assert (y.min(), y.max()) == (-0.25 * 512, 0.25 * 512)  # 0.3 is 0.25 in steps of 1/8


RULES = {"rounding": "floor", "overflow": "wrap"}


@pytest.mark.parametrize("isa", ISAS)
def test_a_conversion_rounds_as_the_run_does(isa):
    s = session(CHAIN, {"x": "Q2.5", "c": "Q1.6", "p": "Q-2.5", "y": "Q4.3"}, isa=isa, **RULES)
    r, p = codes(s, "r", "p")
    pooled = r.reshape(1, 4, 6, 5)[:, :, :, :].astype(int)
    windows = [pooled[:, :, i : i + 5, j : j + 4] for i in (0, 1) for j in (0, 1)]
    wanted = quantize(dequantize(np.maximum.reduce(windows), "Q2.6"), "Q-2.5", **RULES)
    np.testing.assert_array_equal(p, wanted, strict=True)


def test_formats_that_are_kept_give_the_same_session():
    s = session(CHAIN, {"c": "Q2.5", "p": "Q1.6"}, qformat="Q4.3")
    again = session(CHAIN, s.formats)
    assert again.formats == s.formats
    np.testing.assert_array_equal(codes(again, "y"), codes(s, "y"))


def test_a_session_with_other_formats_converts_elsewhere():
    first = session(CHAIN, qformat="Q4.3")
    both = {"c": "Q2.5", "p": "Q1.6"}
    for given, converted in ((both, 1), ({**both, "p": "Q2.5"}, 0), (both, 1), ({"r": "Q2.5", "p": "Q1.6"}, 1)):
        options = qengine.SessionOptions(qformat="Q4.3", formats=given)
        first = other = first.with_options(options)
        assert operators(other).count("Requantize") == converted
        np.testing.assert_array_equal(codes(other, "y"), codes(session(CHAIN, given, qformat="Q4.3"), "y"))
        np.testing.assert_allclose(other.in_float32().run(None, FEEDS)[0], first.in_float32().run(None, FEEDS)[0])


@pytest.mark.parametrize("isa", ISAS)
def test_states_of_an_lstm_may_differ(isa):
    constants = {"W": weights(1, 16, 3), "R": weights(1, 16, 4)}
    nodes = [("LSTM", "x W R", "Y h c", {"hidden_size": 4})]
    build = {"inputs": {"x": [5, 2, 3]}, "outputs": ["Y", "h", "c"], "constants": constants, "isa": isa}
    given = {"x": "Q2.5", "Y (gates)": "Q3.8", "Y (cell)": "Q2.9", "Y": "Q0.7"}
    feeds = {"x": weights(5, 2, 3)}
    _, h, c = session(nodes, given, **build).run(None, feeds, raw=True)
    s = session(nodes, {**given, "h": "Q0.4", "c": "Q3.4"}, **build)
    y, *states = s.run(None, feeds, raw=True)
    np.testing.assert_array_equal(states[0], quantize(dequantize(h, "Q0.7"), "Q0.4"), strict=True)
    np.testing.assert_array_equal(states[1], quantize(dequantize(c, "Q2.9"), "Q3.4"), strict=True)
    np.testing.assert_array_equal(y[-1], h)


@pytest.mark.parametrize("outputs", [["y"], ["p"], ["c", "r", "p", "y"]])
@pytest.mark.parametrize("given", [{"c": "Q1.6", "p": "Q2.5"}, {"c": "Q1.6", "r": "Q2.5", "p": "UQ1.7"}])
def test_written_and_read_back(given, outputs):
    s = session(CHAIN, {"x": "Q2.5", **given, "y": "Q3.4"}, outputs=outputs)
    written = quantized_model(s)
    back = qengine.InferenceSession(written)
    wanted = {name: fmt for name, fmt in s.formats.items() if name in back.formats}
    assert back.formats == wanted
    assert {"x", "p"} <= wanted.keys()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    theirs = onnxruntime.InferenceSession(written.SerializeToString(), options).run(None, FEEDS)
    for ours, found in zip(codes(s, *outputs), codes(back, *outputs), strict=True):
        np.testing.assert_array_equal(found, ours, strict=True)
    for real, ours in zip(theirs, s.run(None, FEEDS), strict=True):
        np.testing.assert_array_equal(real, ours)


def test_in_the_branch_of_an_if():
    kept = helper.make_node("Relu", ["x"], ["kept"])
    branch = helper.make_graph([kept], "then", [], [helper.make_empty_tensor_value_info("kept")])
    other = helper.make_node("Neg", ["x"], ["other"])
    otherwise = helper.make_graph([other], "else", [], [helper.make_empty_tensor_value_info("other")])
    node = helper.make_node("If", ["k"], ["y"], then_branch=branch, else_branch=otherwise)
    info = helper.make_tensor_value_info
    inputs = [info("x", onnx.TensorProto.FLOAT, [1, 3, 6, 5]), info("k", onnx.TensorProto.BOOL, [])]
    graph = helper.make_graph([node], "g", inputs, [info("y", onnx.TensorProto.FLOAT, [1, 3, 6, 5])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    s = qengine.InferenceSession(model, formats={"x": "Q1.6", "kept": "Q0.3", "other": "Q1.6", "y": "Q1.6"})
    (y,) = s.run(None, {"x": X, "k": np.array(True)}, raw=True)
    wanted = quantize(dequantize(quantize(np.maximum(X, 0), "Q1.6"), "Q1.6"), "Q0.3")
    np.testing.assert_array_equal(y, wanted.astype(int) << 3)
