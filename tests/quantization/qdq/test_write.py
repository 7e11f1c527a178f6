"""Quantized models that are written: ONNX Runtime runs them, and read back they have the same formats and bits."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import network

import qengine
from qengine.errors import FormatError, OptionError
from qengine.quantization.qdq import quantized_model
from qengine.quantization.qdq.spelling import OPSET, WIDE_OPSET

FAMILIES = sorted((Path(__file__).parents[2] / "golden" / "families").glob("*.onnx"))
RNG = np.random.default_rng(5)


def by_onnxruntime(model, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def feeds_of(session):
    shapes = {one.name: [n if isinstance(n, int) else 1 for n in one.shape] for one in session.get_inputs()}
    return {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("path", FAMILIES, ids=lambda path: path.stem)
@pytest.mark.parametrize(("qformat", "least", "per_channel"), [("Q3.4", OPSET, True), ("Q5.10", WIDE_OPSET, False)])
def test_families_come_back(path, qformat, least, per_channel):
    options = {"qformat": qformat, "per_channel": per_channel, "isa": "reference"}
    session = qengine.InferenceSession(path, **options)
    model = quantized_model(session)
    assert model.opset_import[0].version >= least
    onnx.checker.check_model(model, full_check=True)
    back = qengine.InferenceSession(model, isa="reference")
    assert back.notes == ()
    written = {name: form for name, form in session.formats.items() if name in session.rounded or name in back.formats}
    assert back.formats == written
    assert {name for name, form in session.formats.items() if name not in session.rounded} >= {
        name for name in back.formats if name in session.graph.constants
    }
    feeds = feeds_of(session)
    for theirs, ours in zip(session.run(None, feeds, raw=True), back.run(None, feeds, raw=True), strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)


def test_onnx_runtime_has_the_same_codes():
    """With 8 bits float32 holds every sum."""
    path = next(path for path in FAMILIES if path.stem == "resnet")
    session = qengine.InferenceSession(path, qformat="Q3.4")
    feeds = feeds_of(session)
    (found,) = by_onnxruntime(quantized_model(session), feeds)
    np.testing.assert_array_equal(found, session.run(None, feeds)[0], strict=True)


def test_a_batchnorm_of_its_own_is_a_conv():
    statistics = {name: RNG.uniform(0.5, 2, 3).astype(np.float32) for name in ("g", "b", "m", "v")}
    model = network([("BatchNormalization", "x g b m v", "y")], constants=statistics)
    session = qengine.InferenceSession(model, qformat="Q3.4", per_channel=True)
    written = quantized_model(session)
    assert [node.op_type for node in written.graph.node if "Linear" not in node.op_type] == ["Conv"]
    feeds = feeds_of(session)
    (found,) = qengine.InferenceSession(written, strict=True).run(None, feeds)
    np.testing.assert_array_equal(found, session.run(None, feeds)[0], strict=True)
    np.testing.assert_array_equal(found, by_onnxruntime(written, feeds)[0], strict=True)


def test_one_bias_beside_two_formats_is_stored_twice():
    weights = {name: RNG.standard_normal((2, 3, 1, 1)).astype(np.float32) for name in ("w", "v")}
    model = network(
        [("Conv", "x w b", "p"), ("Conv", "x v b", "q"), ("Add", "p q", "y")],
        constants={**weights, "b": [0.3, -0.7]},
    )
    session = qengine.InferenceSession(model, qformat="Q3.4", formats={"w": "Q1.6", "v": "Q2.5"})
    written = quantized_model(session)
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in written.graph.initializer if one.data_type == 6}
    biases = sorted(array.tolist() for array in stored.values() if array.any())
    assert biases == [[154, -358], [307, -717]]  # 0.3 and -0.7 in units of 2^-9 and 2^-10
    feeds = feeds_of(session)
    (found,) = qengine.InferenceSession(written, strict=True).run(None, feeds)
    np.testing.assert_array_equal(found, session.run(None, feeds)[0], strict=True)


def test_graphs_inside_of_nodes_read_the_rounded_tensors():
    from onnx import helper

    then = helper.make_graph([helper.make_node("Add", ["r", "r"], ["t"])], "then", [], [onnx.ValueInfoProto(name="t")])
    other = helper.make_graph([helper.make_node("Neg", ["r"], ["e"])], "else", [], [onnx.ValueInfoProto(name="e")])
    graph = helper.make_graph(
        [
            helper.make_node("Sigmoid", ["x"], ["r"]),
            helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        ],
        "branches",
        [helper.make_tensor_value_info("x", 1, [2, 3]), helper.make_tensor_value_info("c", 9, [])],
        [helper.make_tensor_value_info("y", 1, [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = qengine.InferenceSession(model, qformat="Q3.4")
    written = quantized_model(session)
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    for condition in (True, False):
        feeds = {"x": x, "c": np.asarray(condition)}
        (expected,) = session.run(None, feeds)
        np.testing.assert_array_equal(by_onnxruntime(written, feeds)[0], expected, strict=True)
        np.testing.assert_array_equal(qengine.InferenceSession(written).run(None, feeds)[0], expected, strict=True)


def test_what_cannot_be_written_is_refused():
    model = network([("Relu", "x", "r"), ("Sigmoid", "r", "y")])

    def session(**options):
        return qengine.InferenceSession(model, **options)

    with pytest.raises(OptionError, match="float32 has no formats to write"):
        quantized_model(session())
    with pytest.raises(OptionError, match="rounds half to even"):
        quantized_model(session(qformat="Q3.4", rounding="floor"))
    with pytest.raises(OptionError, match="no accumulator to wrap"):
        quantized_model(session(qformat="Q3.4", accumulator_bits=24))
    for rule in ("accumulator.fraction_bits", "bias.bits", "mean.method", "table.method", "aligns_add"):
        given = {"mean.method": "reciprocal", "table.method": "cut", "aligns_add": True}.get(rule, 8)
        with pytest.raises(OptionError, match=f"and nothing for {rule.partition('.')[0]}; one of QONNX"):
            quantized_model(session(qformat="Q3.4", rules={rule: given}))
    with pytest.raises(FormatError, match=r"'x' is Q2\.3, of 6 bits; a quantized model stores activations in 8 or 16"):
        quantized_model(session(qformat="Q2.3"))


def test_a_constant_without_axes_comes_back():
    model = network([("Mul", "x a", "m"), ("Add", "m b", "y")], constants={"a": 0.75, "b": 1.5})
    session = qengine.InferenceSession(model, qformat="Q3.4")
    back = qengine.InferenceSession(quantized_model(session))
    feeds = feeds_of(session)
    np.testing.assert_array_equal(back.run(None, feeds)[0], session.run(None, feeds)[0], strict=True)
