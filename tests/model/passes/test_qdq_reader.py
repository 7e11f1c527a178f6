"""Quantized models: read as fixed point if all scales allow it, and run as ONNX defines them otherwise."""

import numpy as np
import onnx
import pytest
from model.passes.quantized_models import RNG, STORED, Builder, assert_bits_of_onnx, classifier, codes
from networks import network
from onnx import helper
from onnx.reference import ReferenceEvaluator

import qengine
from qengine.errors import FormatError, OptionError, UnsupportedError
from qengine.model.loader import load
from qengine.model.passes import read_quantized


@pytest.mark.parametrize("stored", list(STORED))
def test_runs_in_integers_with_the_bits_of_onnx(stored):
    b, out = classifier(stored)
    model = b.model(inputs={"x": [1, 3, 6, 4]}, outputs=[out, "g1_q"])
    x = RNG.uniform(-9, 9, (1, 3, 6, 4)).astype(np.float32)
    for isa in ("reference", None):
        session = assert_bits_of_onnx(model, x, isa=isa, strict=True)
    bits = 16 if "16" in stored else 8
    assert str(session.formats["x"]) == f"Q{bits - 5}.4"
    assert str(session.formats["w1"]) == "Q8 n=3..6 per channel"
    assert session.notes == ()
    assert not [event for event in session.trace({"x": x}) if event.is_island]
    # Every tensor of the model can be asked for, also those that the reading took away.
    names = [name for spelled in b.nodes for name in spelled[2].split() if not name.startswith(("w", "b"))]
    inner = ReferenceEvaluator(helper_outputs(model, names)).run(names, {"x": x})
    for name, ours, theirs in zip(names, session.run(names, {"x": x}), inner, strict=True):
        if name.endswith(("_q", "_dq")):
            np.testing.assert_array_equal(ours, theirs, name, strict=True)


def helper_outputs(model, names):
    proto = onnx.load_from_string(model)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return proto


def test_codes_are_the_stored_ones():
    b, out = classifier("int8")
    model = b.model(inputs={"x": [1, 3, 6, 4]}, outputs=[out])
    session = qengine.InferenceSession(model)
    x = RNG.uniform(-9, 9, (1, 3, 6, 4)).astype(np.float32)
    raw, stored = session.run([out, "w1"], {"x": x}, raw=True)
    np.testing.assert_array_equal(stored, b.constants["w1_q"], strict=True)
    np.testing.assert_array_equal(raw, session.run(["g1_q"], {"x": x})[0], strict=True)


@pytest.mark.parametrize("stored", [np.int8(51), np.int32(51)])
def test_a_constant_without_axes_is_read_in_every_session(stored):
    b = Builder("int8")
    b.node("Mul", f"{b.pair('x', 4)} {b.weights('w', stored, 6)}", "y")
    model = b.model(inputs={"x": [4]}, outputs=[b.pair("y", 4)])
    assert all(isinstance(array, np.ndarray) for array in read_quantized(load(model)).constants.values())
    (found,) = qengine.InferenceSession(model).run(None, {"x": np.float32([1, 2, -1, 0.5])})
    np.testing.assert_array_equal(found, np.rint(np.float32([1, 2, -1, 0.5]) * 51 / 64 * 16) / 16)


def test_a_bias_keeps_all_of_its_32_bits():
    b = Builder("int16")
    x = b.pair("x", 15)
    w = b.weights("w", np.int16([[[[1]]], [[[1]]]]), 15)
    bias = np.int32([2**31 - 3, -(2**30) - 1])
    b.node("Conv", f"{x} {w} {b.weights('b', bias, 30)}", "c")
    out = b.pair("c", 14)
    model = b.model(inputs={"x": [1, 1, 1, 2]}, outputs=[out])
    x = np.float32([[[[3 * 2.0**-15, -1.0]]]])
    session = qengine.InferenceSession(model, strict=True)
    (found,) = session.run(None, {"x": x}, raw=True)
    exact = [[int(c) + x_code for x_code in (3, -32768)] for c in bias]
    expected = [[min(int(np.rint(np.ldexp(float(v), -16))), 32767) for v in row] for row in exact]
    np.testing.assert_array_equal(found.reshape(2, 2), expected)
    # In float32 it is rounded, as a run in float32 has nothing else.
    (real,) = session.in_float32().run(None, {"x": x})
    assert real.dtype == np.float32


@pytest.mark.parametrize(
    ("scale", "zero", "why"),
    [
        (np.float32(0.1), np.int8(0), "scale 0.1 in int8, and no Qm.n has that step"),
        (np.float32(0.125), np.int8(3), "scale 0.125 and zero point 3 in int8"),
        (np.float32([0.5, 0.25, 0.125]), np.int8([0, 0, 0]), "one scale per channel"),
    ],
)
def test_any_other_model_runs_as_onnx_defines_it(scale, zero, why):
    model = network(
        [
            ("QuantizeLinear", "x s z", "q"),
            ("DequantizeLinear", "q s z", "d"),
            ("Conv", "d w", "y"),
        ],
        opset=21,
        constants={"s": scale, "z": zero, "w": RNG.standard_normal((2, 3, 3, 3)).astype(np.float32)},
    )
    session = qengine.InferenceSession(model)
    x = RNG.standard_normal((1, 3, 6, 5)).astype(np.float32)
    assert session.formats == {}
    assert len(session.notes) == 1
    assert why in session.notes[0]
    assert "node 'the_q' (QuantizeLinear)" in session.notes[0]
    (found,), (expected,) = session.run(None, {"x": x}), ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(OptionError, match="rounding has no meaning in float32: give a qformat or formats"):
        qengine.InferenceSession(model, rounding="floor")


def test_a_tensor_that_is_not_quantized_stays_real():
    """Softmax and its input have no pair, so both are computed as ONNX defines them."""
    b = Builder()
    x = b.pair("x", 5)
    b.node("Conv", f"{x} {b.weights('w', codes((4, 3, 1, 1)), 7)}", "c")
    b.node("Softmax", "c", "y", axis=1)
    model = b.model()
    x = RNG.standard_normal((1, 3, 6, 5)).astype(np.float32)
    session = qengine.InferenceSession(model)
    (found,), (expected,) = session.run(None, {"x": x}), ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert session.formats.keys() == {"x", "w"}
    islands = [event.tensor.name for event in session.trace({"x": x}) if event.is_island]
    assert islands == ["c", "y"]
    with pytest.raises(UnsupportedError, match="strict"):
        qengine.InferenceSession(model, strict=True).run(None, {"x": x})


def test_a_tensor_that_is_rounded_twice_is_rounded_from_what_was_computed():
    b = Builder()
    x = b.pair("x", 5)
    b.node("Conv", f"{x} {b.weights('w', codes((4, 3, 1, 1)), 7)}", "c")
    fine = b.pair("c", 6)
    b.constant("s", np.float32(0.5))
    b.constant("z", np.int8(0))
    b.node("QuantizeLinear", "c s z", "coarse_q")
    b.node("DequantizeLinear", "coarse_q s z", "coarse")
    b.node("Add", f"{fine} coarse", "a")
    out = b.pair("a", 3)
    model = b.model(outputs=[out])
    x = RNG.standard_normal((1, 3, 6, 5)).astype(np.float32)
    assert_bits_of_onnx(model, x)


def test_what_stands_between_two_pairs_is_not_folded_across_them():
    """A BatchNormalization behind a pair reads rounded numbers, so it is not folded into the Conv before it."""
    b = Builder()
    x = b.pair("x", 5)
    b.node("Conv", f"{x} {b.weights('w', codes((2, 3, 1, 1)), 7)}", "c")
    c = b.pair("c", 2)
    for name, value in (("gain", [1.3, 0.7]), ("offset", [0.1, -0.2]), ("mean", [0.3, 0.2]), ("var", [1.1, 0.4])):
        b.constant(name, np.float32(value))
    b.node("BatchNormalization", f"{c} gain offset mean var", "n")
    out = b.pair("n", 3)
    model = b.model(outputs=[out])
    x = RNG.standard_normal((1, 3, 6, 5)).astype(np.float32)
    assert_bits_of_onnx(model, x)


def test_integers_in_between_may_move():
    """Stored integers that are fed, transposed and returned stay codes from input to output."""
    b = Builder("uint8")
    scale, zero = b.constant("s", np.float32(0.25)), b.constant("z", np.uint8(128))
    b.node("DequantizeLinear", f"x {scale} {zero}", "d")
    b.node("Add", "d d", "a")
    b.node("QuantizeLinear", f"a {scale} {zero}", "q")
    b.node("Transpose", "q", "t", perm=[0, 2, 3, 1])
    b.node("DequantizeLinear", f"t {scale} {zero}", "td")
    b.node("Relu", "td", "r")
    b.node("QuantizeLinear", f"r {scale} {zero}", "y")
    model = b.model(inputs={"x": (np.uint8, [1, 3, 6, 5])}, outputs=["y", "t"])
    x = RNG.integers(0, 256, (1, 3, 6, 5)).astype(np.uint8)
    assert_bits_of_onnx(model, x, strict=True)


def test_what_the_user_asks_for_goes_first():
    b, out = classifier("int8")
    model = b.model(inputs={"x": [1, 3, 6, 4]}, outputs=[out])
    own = qengine.InferenceSession(model)
    other = qengine.InferenceSession(model, formats={"x": "Q5.2", "c2_dq": "Q4.11"})
    assert str(other.formats["x"]) == "Q5.2"
    assert str(other.formats["c2"]) == "Q4.11"
    assert other.formats["a1"] == own.formats["a1"]
    every = qengine.InferenceSession(model, qformat="Q7.8")
    assert {str(form) for name, form in every.formats.items() if name in every.graph.producers()} == {"Q7.8"}
    assert every.notes == ("Q7.8 replaces the formats that the quantized model has",)
    x = RNG.uniform(-9, 9, (1, 3, 6, 4)).astype(np.float32)
    floor = qengine.InferenceSession(model, rounding="floor").run(None, {"x": x})[0]
    assert np.any(floor != own.run(None, {"x": x})[0])
    with pytest.raises(FormatError, match="are one tensor after quantization"):
        qengine.InferenceSession(model, formats={"x": "Q5.2", "x_dq": "Q5.3"})


def test_float32_of_a_quantized_model_leaves_the_rounding_out():
    b, out = classifier("int8")
    model = b.model(inputs={"x": [1, 3, 6, 4]}, outputs=[out])
    session = qengine.InferenceSession(model)
    real = session.in_float32()
    assert not real.in_fixed_point
    assert real.formats == {}
    x = RNG.uniform(-9, 9, (1, 3, 6, 4)).astype(np.float32)
    (without,) = real.run(None, {"x": x})
    (with_rounding,) = session.run(None, {"x": x})
    plain = [node for node in onnx.load_from_string(model).graph.node if "Linear" not in node.op_type]
    assert len(plain) == len([node for node in real.graph.nodes if node.operator != "Requantize"])
    assert np.any(without != with_rounding)
    from qengine.analysis.report import compare

    comparison = compare(session, real, {"x": x})
    np.testing.assert_array_equal(comparison.outputs[out], with_rounding)


def test_graphs_inside_of_nodes_read_the_rounded_tensors():
    """Tensors without pairs in such a graph are real; its pairs are read like those of the model."""
    b = Builder()
    x = b.pair("x", 3)
    b.node("Add", f"{x} {x}", "r")
    r = b.pair("r", 2)
    scale, zero = np.float32(0.5), np.int8(0)
    consts = [onnx.numpy_helper.from_array(value, name) for name, value in (("s", scale), ("z", zero))]
    then = helper.make_graph(
        [
            helper.make_node("Mul", [r, r], ["m"]),
            helper.make_node("QuantizeLinear", ["m", "s", "z"], ["mq"]),
            helper.make_node("DequantizeLinear", ["mq", "s", "z"], ["t"]),
        ],
        "then", [], [onnx.ValueInfoProto(name="t")], consts,
    )  # fmt: skip
    other = helper.make_graph([helper.make_node("Exp", [r], ["e"])], "else", [], [onnx.ValueInfoProto(name="e")])
    b.node("If", "c", "y", then_branch=then, else_branch=other)
    model = b.model(inputs={"x": [2, 3], "c": (np.bool_, [])}, outputs=["y"])
    x = RNG.uniform(-3, 3, (2, 3)).astype(np.float32)
    for condition in (True, False):
        feeds = {"x": x, "c": np.asarray(condition)}
        (found,) = qengine.InferenceSession(model).run(None, feeds)
        np.testing.assert_allclose(found, ReferenceEvaluator(model).run(None, feeds)[0], rtol=1e-6)


def conv_twice(b):
    """Add a Conv whose unrounded result only another Conv reads, and a pair behind that."""
    w = np.float32(RNG.standard_normal((3, 3, 1, 1)))
    b.node("Conv", f"x {b.constant('w', w)}", "c")
    b.node("Conv", "c w", "e")
    return b.pair("e", 4)


def test_inspection_lists_what_is_not_quantized():
    from qengine.analysis.inspection import inspect_model

    b = Builder()
    model = b.model(outputs=[conv_twice(b)])
    found = inspect_model(model)
    assert [node.outputs for node in found.of_kind("island")] == [("c",), ("e",)]
    with pytest.raises(UnsupportedError, match=r"'the_c' \(Conv\)"):
        qengine.InferenceSession(model, strict=True).run(None, {"x": np.zeros((1, 3, 6, 5), np.float32)})


def test_an_input_that_is_read_with_and_without_a_pair_is_rounded_by_an_exact_step():
    b = Builder()
    x = b.pair("x", 4)
    b.node("Relu", x, "y")
    b.node("Relu", "x", "z")
    model = b.model(outputs=["y", "z"])
    x = RNG.uniform(-9, 9, (1, 3, 6, 5)).astype(np.float32)
    assert_bits_of_onnx(model, x, strict=True)


@pytest.mark.parametrize(("bound", "is_code"), [(0.3, False), (0.5, True), (1e9, True)])
def test_a_bound_that_is_no_code_is_not_rounded(bound, is_code):
    b = Builder()
    x = b.pair("x", 2)
    b.node("Clip", f"{x} - {b.constant('k', np.float32(bound))}", "y")
    model = b.model()
    x = np.linspace(-2, 2, 90, dtype=np.float32).reshape(1, 3, 6, 5)
    session = assert_bits_of_onnx(model, x)
    assert bool(session.notes) is not is_code
    assert is_code or "holds 0.3" in session.notes[0]


def test_a_scale_may_be_fed_that_is_no_power_of_two():
    b = Builder()
    b.nodes += [("QuantizeLinear", "x s", "q"), ("DequantizeLinear", "q s", "y")]
    model = network(b.nodes, inputs={"x": [4]}, constants={"s": np.float32(0.25)}, overridable=["s"], opset=21)
    session = qengine.InferenceSession(model)
    x = np.float32([0.2, 1, 0.9, 3])
    assert session.in_fixed_point
    (found,) = session.run(None, {"x": x, "s": np.float32(0.3)})
    np.testing.assert_allclose(found, np.rint(x / np.float32(0.3)) * np.float32(0.3), rtol=1e-6)


def test_stored_integers_are_named_as_the_model_names_them():
    b, out = classifier("int8")
    model = b.model(inputs={"x": [1, 3, 6, 4]}, outputs=[out])
    found = qengine.InferenceSession(model, formats={"c2_q": "Q4.11", "w2_q": "Q2.5"}).formats
    assert (str(found["c2"]), str(found["w2"])) == ("Q4.11", "Q2.5")


def test_types_that_are_no_codes_are_noted():
    model = network(
        [("DequantizeLinear", "q s", "y")], inputs={"q": (np.int32, [3])}, constants={"s": np.float32(0.25)}, opset=21
    )
    assert "int32 elements, which are not codes" in qengine.InferenceSession(model).notes[0]


def test_a_quantize_linear_of_stored_integers_is_no_fixed_point():
    """ONNX does not allow it: a run says so."""
    spelled = [("QuantizeLinear", "x s z", "q"), ("QuantizeLinear", "q s u", "p"), ("DequantizeLinear", "p s u", "y")]
    constants = {"s": np.float32(0.125), "z": np.int8(0), "u": np.uint8(0)}
    nodes = [helper.make_node(operator, inputs.split(), [output]) for operator, inputs, output in spelled]
    held = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_empty_tensor_value_info("y")], held)
    session = qengine.InferenceSession(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]))
    assert "quantizes the integers 'q'" in session.notes[0]
    with pytest.raises(qengine.QEngineError, match=r"^node 'p' \(QuantizeLinear\): 'q' is int8"):
        session.run(None, {"x": np.zeros(3, np.float32)})


@pytest.mark.parametrize("zero", [0, 128])
@pytest.mark.parametrize(
    ("least", "most", "fmt", "overflow"),
    [
        (-8, 7, "Q0.3", None),
        (-7, 7, "Q0.3", "symmetric"),
        (-1, 1, "Q-2.3", "symmetric"),
        (0, 15, "UQ1.3", None),
        (-128, 127, "Q4.3", None),
        (-127, 127, "Q4.3", "symmetric"),
        (-5, 9, "Q4.3", None),
    ],
)
def test_a_clip_between_a_pair_is_a_format_of_fewer_bits(least, most, fmt, overflow, zero):
    """Brevitas stores integers of 2 to 7 bits in int8, with a Clip to their range."""
    b = Builder("uint8" if zero else "int8")
    dtype = np.uint8 if zero else np.int8
    bounds = {"least": dtype(least + zero), "most": dtype(most + zero)}
    b.constants |= bounds
    names = []
    for x, n in (("x", 3), ("c", 3)):
        if x == "c":
            b.constants |= {
                "w_i": codes((4, 2, 3, 3)),
                "w_least": np.int8(-7),
                "w_most": np.int8(7),
                "w_s": np.float32(1 / 8),
            }
            b.node("Clip", "w_i w_least w_most", "w_c")
            b.nodes.append(("DequantizeLinear", "w_c w_s", "w"))
            bias = b.constant("bias", np.ldexp(RNG.integers(-4000, 4000, 4).astype(np.float32), -11))  # added unrounded
            b.node("Conv", f"{names[0]} w {bias}", "c")
        scale, point = b.constant(f"{x}_s", np.float32(2.0**-n)), b.constant(f"{x}_z", dtype(zero))
        b.nodes.append(("QuantizeLinear", f"{x} {scale} {point}", f"{x}_q"))
        b.node("Clip", f"{x}_q least most", f"{x}_k")
        b.nodes.append(("DequantizeLinear", f"{x}_k {scale} {point}", f"{x}_dq"))
        names.append(f"{x}_dq")
    model = b.model(inputs={"x": [1, 2, 9, 9]}, outputs=["c_dq", "c_k"])
    x = np.float32(RNG.uniform(-2, 2, (1, 2, 9, 9)))
    for isa in ("reference", None):
        session = assert_bits_of_onnx(model, x, isa=isa)
    found = {event.tensor.name: event.tensor for event in session.trace({"x": x})}
    result = found["c_dq"]
    assert {str(one.format) for one in (found["x"], result)} == {fmt}
    assert str(session.formats["w"]) == "Q0.3"
    assert session.rules.modes("linear", "c_dq").overflow == (overflow or "saturate")
    assert [name for name, tensor in found.items() if tensor.format is None] == ["c_k"]


def test_pairs_in_a_graph_inside_of_a_node_are_rounded_where_there_are_none_around_it():
    b = Builder()
    inner = onnx.load_from_string(b.model(inputs={"x": [4]}, outputs=[b.pair("x", 2)])).graph
    del inner.input[:]
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (("x", 1, [4]), ("c", 9, []))]
    graph = helper.make_graph([branch], "outer", inputs, [helper.make_tensor_value_info("y", 1, [4])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8)
    x = np.float32([-0.3, 0.3, 1.3, -99])
    (found,) = qengine.InferenceSession(model).run(None, {"x": x, "c": np.bool_(1)})
    assert found.tolist() == [-0.25, 0.25, 1.25, -32]
