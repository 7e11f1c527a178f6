"""Networks of which the data decides how they go on, beside onnx.reference and in fixed point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from networks import network, weights
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from qengine import InferenceSession, dequantize
from qengine.analysis.report import compare
from qengine.errors import FormatError, ModelError, UnsupportedError
from qengine.model.loader import load
from qengine.runtime import environment, sections

X = weights(1, 3, 6, 5, seed=1, scale=1.0)


def value(name, kind=TensorProto.FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def branch(nodes, output, kind=TensorProto.FLOAT):
    return helper.make_graph(nodes, "branch", [], [value(output, kind)])


def model(nodes, inputs, outputs, constants=()):
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info(n) for n in outputs], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def choice():
    """A convolution, then one of two branches that read it and the weights around them."""
    then = branch([helper.make_node("Conv", ["c", "v"], ["t"])], "t")
    other = branch([helper.make_node("Mul", ["c", "h"], ["o"])], "o")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ReduceMax", ["c"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["p"]),
        helper.make_node("If", ["p"], ["b"], then_branch=then, else_branch=other),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    constants = {
        "w": weights(3, 3, 1, 1),
        "v": weights(3, 3, 1, 1, seed=5),
        "h": np.float32(0.5),
        "zero": np.float32(0),
    }
    return model(nodes, [value("x", shape=[1, 3, 6, 5])], ["y"], constants)


def loop():
    """Repeated while a sum is small, as often as an input says at most; every state is kept."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["s", "x"], ["d"]),
            helper.make_node("Add", ["d", "s"], ["s_out"]),
            helper.make_node("ReduceSum", ["s_out"], ["total"], keepdims=0),
            helper.make_node("Less", ["total", "most"], ["go"]),
            helper.make_node("Identity", ["s_out"], ["kept"]),
        ],
        "body",
        [value("i", TensorProto.INT64, []), value("go_in", TensorProto.BOOL, []), value("s", shape=[4])],
        [value("go", TensorProto.BOOL, []), value("s_out", shape=[4]), value("kept", shape=[4])],
    )
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["last", "all"], body=body)]
    inputs = [value("x", shape=[4]), value("n", TensorProto.INT64, [])]
    return model(nodes, inputs, ["last", "all"], {"most": np.float32(12)})


def expected(proto, feeds):
    return ReferenceEvaluator(proto).run(None, feeds)


@pytest.mark.parametrize("isa", ["reference", None])
@pytest.mark.parametrize("sign", [1, -1])
def test_if_in_float32(sign, isa):
    proto, feeds = choice(), {"x": np.abs(X) * sign}
    session = InferenceSession(proto, isa=isa)
    for _ in range(2):
        (y,) = session.run(None, feeds)
        np.testing.assert_allclose(y, expected(proto, feeds)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("isa", ["reference", None])
@pytest.mark.parametrize("sign", [1, -1])
def test_if_in_fixed_point_is_what_the_branch_alone_gives(sign, isa):
    feeds = {"x": np.abs(X) * sign}
    inside = InferenceSession(choice(), isa=isa, qformat="Q3.4")
    taken = [("Conv", "c v", "b")] if inside.run(["p"], feeds)[0] else [("Mul", "c h", "b")]
    plain = network(
        [("Conv", "x w", "c"), *taken, ("Relu", "b", "y")],
        constants={"w": weights(3, 3, 1, 1), "v": weights(3, 3, 1, 1, seed=5), "h": np.float32(0.5)},
    )
    alone = InferenceSession(plain, isa="reference", qformat="Q3.4")
    for found, wanted in zip(
        inside.run(["y", "c"], feeds, raw=True), alone.run(["y", "c"], feeds, raw=True), strict=True
    ):
        np.testing.assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize(("most", "count"), [(9, 2), (2, 2), (1, 1), (0, 0)])
def test_loops(most, count):
    proto = loop()
    feeds = {"x": np.float32([1, 0.5, 2, 0.25]), "n": np.int64(most)}
    last, kept = InferenceSession(proto).run(None, feeds)
    assert kept.shape == (count, 4)
    states = [feeds["x"]]
    for _ in range(count):
        states.append(states[-1] * feeds["x"] + states[-1])
    np.testing.assert_allclose(last, states[-1], rtol=1e-6)
    np.testing.assert_allclose(kept, np.array(states[1:]).reshape(count, 4), rtol=1e-6)
    codes, all_codes = InferenceSession(proto, qformat="Q4.3").run(None, feeds, raw=True)
    assert (codes.dtype, all_codes.dtype) == ((np.int8, np.int8) if count else (np.int8, all_codes.dtype))
    if count:
        np.testing.assert_array_equal(all_codes[-1], codes)


def test_formats_of_tensors_in_a_branch():
    feeds = {"x": np.abs(X)}
    fine = InferenceSession(choice(), qformat="Q3.4", formats={"t": "Q3.12", "y": "Q3.12", "b": "Q3.12"})
    assert fine.run(None, feeds, raw=True)[0].dtype == np.int16
    with pytest.raises(FormatError, match="no such tensor"):
        InferenceSession(choice(), qformat="Q3.4", formats={"nowhere": "Q3.12"})


def test_what_onnx_computes_is_an_island():
    built = network([("Conv", "x w", "c"), ("Det", "c", "d"), ("Relu", "d", "y")], inputs={"x": [1, 3, 5, 5]},
                    constants={"w": weights(3, 3, 1, 1)})  # fmt: skip
    feeds = {"x": X[..., :5, :]}
    exact = InferenceSession(built).run(None, feeds)[0]
    np.testing.assert_allclose(exact, expected(onnx.load_from_string(built), feeds)[0], rtol=1e-4, atol=1e-6)
    fixed = InferenceSession(built, qformat="Q3.12")
    c, y = fixed.run(["c", "d"], feeds, raw=True)
    again = np.clip(np.rint(np.linalg.det(dequantize(c, "Q3.12")) * 2.0**12), -(2**15), 2**15 - 1)
    np.testing.assert_array_equal(y, again.astype(np.int16))
    assert compare(fixed, InferenceSession(built), feeds).islands == ("node 'the_d' (Det)",)
    with pytest.raises(UnsupportedError, match=r"strict: no fixed-point rule for node 'the_d' \(Det\)"):
        InferenceSession(built, qformat="Q3.12", strict=True).run(None, feeds)


def test_shapes_that_only_the_data_decides():
    built = network(
        [("NonZero", "x", "n"), ("Transpose", "n", "p"), ("GatherND", "x p", "y")], inputs={"x": [2, 3]}, opset=17
    )
    for x in ([[0, 1, 0], [2, 0, 3]], [[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]]):
        (y,) = InferenceSession(built).run(None, {"x": np.float32(x)})
        np.testing.assert_array_equal(y, np.float32(x)[np.nonzero(x)])


def test_sequences_and_optionals():
    nodes = [
        helper.make_node("SequenceInsert", ["s", "x"], ["t"]),
        helper.make_node("SequenceLength", ["t"], ["n"]),
        helper.make_node("ConcatFromSequence", ["t"], ["y"], axis=0),
    ]
    inputs = [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None), value("x", shape=[None])]
    session = InferenceSession(model(nodes, inputs, ["t", "n", "y"]))
    assert session.get_inputs()[0].type == "seq(tensor(float))"
    t, n, y = session.run(None, {"s": [np.float32([1]), np.float32([2, 3])], "x": np.float32([4])})
    assert ([a.tolist() for a in t], n.item(), y.tolist()) == ([[1], [2, 3], [4]], 3, [1, 2, 3, 4])


def test_types_that_onnx_does_not_allow_are_refused():
    built = network([("Det", "x", "y")], inputs={"x": (np.int32, [3, 3])})
    with pytest.raises(ModelError, match="'x' is int32; Det takes"):
        InferenceSession(built).run(None, {"x": np.eye(3, dtype=np.int32)})


def test_an_evaluator_on_codes_is_an_island_though_it_gives_truth_values():
    model = network([("IsNaN", "x", "y")], inputs={"x": [2, 3]})
    session = InferenceSession(model, qformat="Q3.4")
    x = np.float32([[0, 1, 0.01], [0.5, 0, -2]])
    (found,) = session.run(None, {"x": x})
    assert not found.any()
    assert [event.tensor.name for event in session.trace({"x": x}) if event.is_island] == ["y"]
    with pytest.raises(UnsupportedError, match="strict"):
        InferenceSession(model, qformat="Q3.4", strict=True).run(None, {"x": x})


def test_integers_that_a_branch_captures_are_not_quantized():
    then = branch([helper.make_node("Gather", ["x", "i"], ["t"], axis=1)], "t")
    other = branch([helper.make_node("Identity", ["i"], ["j"]), helper.make_node("Gather", ["x", "j"], ["o"])], "o")
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "zero"], ["p"]),
        helper.make_node("If", ["p"], ["y"], then_branch=then, else_branch=other),
    ]
    proto = model(nodes, [value("x", shape=[2, 3]), value("i", TensorProto.INT64, [2])], ["y"], {"zero": np.float32(0)})
    x = np.float32([[1, 2, -3], [4, 5, 6]])
    for sign, axis, index in ((1, 1, [2, 1]), (-1, 0, [1, 0])):
        feeds = {"x": np.abs(x) * sign, "i": np.int64(index)}
        (y,) = InferenceSession(proto, qformat="Q4.3").run(None, feeds)
        np.testing.assert_array_equal(y, np.take(feeds["x"], index, axis))


def test_a_trip_count_that_follows_from_shapes():
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "s"], ["s_out"]), helper.make_node("Identity", ["go"], ["go_out"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("s", shape=[3])],
        [value("go_out", TensorProto.BOOL, []), value("s_out", shape=[3])],
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["n"]),
        helper.make_node("Gather", ["n", "first"], ["count"]),  # one element of a vector: no axes are left
        helper.make_node("Loop", ["count", "", "x"], ["y"], body=body),
    ]
    proto = model(nodes, [value("x", shape=[3])], ["y"], {"first": np.int64(0)})
    (y,) = InferenceSession(proto).run(None, {"x": np.float32([1, 2, 0.5])})
    np.testing.assert_array_equal(y, np.float32([8, 16, 4]))


def test_a_comparison_of_outputs_that_only_a_run_makes_known():
    built = network([("Greater", "x zero", "p"), ("NonZero", "p", "n"), ("Transpose", "n", "y")], inputs={"x": [2, 3]},
                    constants={"zero": np.float32(0)})  # fmt: skip
    x = np.float32([[1, -1, 2], [-1, 0, 1]])
    found = compare(InferenceSession(built, qformat="Q4.3"), InferenceSession(built), {"x": x})
    for outputs in (found.outputs, found.float_outputs):
        np.testing.assert_array_equal(outputs["y"], np.argwhere(x > 0))


def test_a_comparison_where_one_run_knows_what_the_other_computes():
    """In fixed point nothing that follows from constants alone is computed; float32 computes what a sequence held."""
    nodes = [
        ("SplitToSequence", "w", "parts", {"axis": 0}),
        ("SequenceAt", "parts zero", "part"),
        ("Transpose", "part", "turned"),
        ("MatMul", "x turned", "y"),
    ]
    built = network(nodes, inputs={"x": [2, 3]}, constants={"w": weights(2, 3), "zero": np.int64(0)})
    found = compare(InferenceSession(built, qformat="Q3.12"), InferenceSession(built), {"x": X[0, 0, :2, :3]})
    assert [tensor.name for tensor in found.tensors] == ["x", "y"]
    np.testing.assert_allclose(found.outputs["y"], found.float_outputs["y"], rtol=0, atol=1e-2)


def test_quantization_in_old_opsets():
    nodes = [("QuantizeLinear", "x s z", "q"), ("DequantizeLinear", "q s z", "y")]
    for opset in (10, 13, 18):
        built = network(nodes, constants={"s": np.float32(0.25), "z": np.int8(1)}, opset=opset)
        (y,) = InferenceSession(built).run(None, {"x": X})
        np.testing.assert_array_equal(y, np.clip(np.rint(X / 0.25) + 1, -128, 127) * 0.25 - 0.25)


def test_a_real_signal_without_the_axis_that_says_so():
    constants = {"hop": np.int64(4), "w": np.hanning(8).astype(np.float32)}
    signal = weights(2, 32, seed=4)
    plain, full = (
        InferenceSession(network([("STFT", "x hop w", "y")], inputs={"x": list(x.shape)}, constants=constants)).run(
            None, {"x": x}
        )
        for x in (signal, signal[..., None])
    )
    np.testing.assert_array_equal(plain[0], full[0])
    frames = np.lib.stride_tricks.sliding_window_view(signal, 8, axis=1)[:, ::4] * constants["w"]
    wanted = np.fft.rfft(frames)
    np.testing.assert_allclose(plain[0], np.stack([wanted.real, wanted.imag], -1), rtol=0, atol=1e-5)


def test_an_axis_in_a_vector():
    built = network([("CumSum", "x a", "y")], inputs={"x": [2, 3]}, constants={"a": np.int64([1])})
    x = weights(2, 3)
    np.testing.assert_allclose(InferenceSession(built).run(None, {"x": x})[0], np.cumsum(x, axis=1), rtol=1e-6)


def untyped(nodes, outputs, constants):
    """A graph that does not say what lies between its inputs and its outputs."""
    graph = load(network(nodes, outputs=outputs, constants=constants))
    declared = {one.name for one in (*graph.inputs, *graph.outputs)}
    return replace(graph, values={name: one for name, one in graph.values.items() if name in declared})


def test_integers_need_no_format_where_the_model_does_not_tell_them():
    nodes = [("ArgMax", "x", "i"), ("Gather", "t i", "y")]
    constants, formats = {"t": weights(7, scale=1.0)}, {"x": "Q2.5", "y": "Q2.5"}
    told = InferenceSession(network(nodes, constants=constants), formats=formats).run(None, {"x": X})
    found = InferenceSession(untyped(nodes, ("y",), constants), formats=formats).run(None, {"x": X})
    np.testing.assert_array_equal(found[0], told[0], strict=True)


SEQUENCE = [("SequenceConstruct", "x", "s"), ("SequenceAt", "s zero", "r"), ("Conv", "r w", "y")]


@pytest.mark.parametrize("nodes", [[("Sigmoid", "x", "r"), ("Conv", "r w", "y")], SEQUENCE], ids=["planned", "alone"])
def test_real_numbers_that_the_model_does_not_tell_need_a_format_in_the_run(nodes):
    constants, formats = {"w": weights(2, 3, 2, 2), "zero": np.array(0)}, {"x": "Q2.5", "y": "Q2.5"}
    session = InferenceSession(untyped(nodes, ("y",), constants), formats=formats)
    with pytest.raises(FormatError, match="no format for 'r': name it in the formats"):
        session.run(None, {"x": X})


def test_a_sequence_that_is_fed_has_no_event():
    inputs = [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)]
    nodes = [helper.make_node("ConcatFromSequence", ["s"], ["c"], axis=0), helper.make_node("Relu", ["c"], ["y"])]
    session = InferenceSession(model(nodes, inputs, ["y"]), qformat="Q3.4")
    feeds = {"s": [X[0, 0], -X[0, 1]]}
    events = list(session.trace(session.check_feeds(feeds)))
    assert [event.tensor.name for event in events] == ["c", "y"]
    np.testing.assert_array_equal(events[-1].array, session.run(None, feeds, raw=True)[0])
    report = compare(session, session.in_float32(), feeds)
    assert [tensor.name for tensor in report.tensors][-1] == "y"


@pytest.mark.parametrize("isa", ["reference", None])
def test_sections_are_planned_once_for_each_shape_and_known_value(monkeypatch, isa):
    planned, original = [], sections.plan_section

    def plan_section(graph, *rest):
        planned.append(len(graph.nodes))
        return original(graph, *rest)

    monkeypatch.setattr(sections, "plan_section", plan_section)
    session = InferenceSession(choice(), isa=isa)
    for factor in (1, 1, 0, 0):
        session.run(None, {"x": np.abs(X) * np.float32(factor)})
    # What stands before the If, each of its branches, and what stands behind it.
    assert sorted(planned) == [1, 1, 1, 5]


def test_a_tensor_that_decides_shapes_may_have_so_many_elements(monkeypatch):
    built = network(
        [("Cast", "x", "c", {"to": 7}), ("Reshape", "c flat", "s"), ("Expand", "one s", "y")],
        inputs={"x": [24, 1]}, constants={"one": np.float32(1), "flat": [-1]},
    )  # fmt: skip
    x = np.ones((24, 1), np.float32)
    session = InferenceSession(built)
    assert session.run(None, {"x": x})[0].shape == (1,) * 24
    monkeypatch.setattr(environment, "MAX_SHAPE_ELEMENTS", 23)
    with pytest.raises(UnsupportedError, match="'s' decide shapes or options, and it has 24 of them: at most 23"):
        session.run(None, {"x": x})


def test_all_indices_of_a_large_tensor_that_are_not_zero():
    built = network([("Relu", "x", "r"), ("NonZero", "r", "y")], inputs={"x": [200, 100]}, opset=17)
    x = np.random.default_rng(0).normal(size=(200, 100)).astype(np.float32)
    for options in ({}, {"qformat": "Q4.11"}):
        (y,) = InferenceSession(built, **options).run(None, {"x": x})
        codes = x if not options else np.rint(x * 2**11)
        np.testing.assert_array_equal(y, np.nonzero(codes > 0))
