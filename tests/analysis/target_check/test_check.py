"""Checks of models against targets: every constraint is broken once, and named with what to do."""

import numpy as np
import onnx
import pytest
from networks import network, weights
from onnx import helper

import qengine
from qengine import QFormat, Target
from qengine.analysis.report import compare
from qengine.analysis.target_check import check_target
from qengine.errors import OptionError
from qengine.kernels.isa import available
from qengine.model.rules import AccumulatorRule, BiasRule, Rules, TableRule
from qengine.quantization.calibration import choose_formats, observe
from qengine.targets import Constraints, names

NODES = [
    ("Conv", "x W b", "c"),
    ("Relu", "c", "r"),
    ("MaxPool", "r", "p", {"kernel_shape": [2, 2]}),
    ("Conv", "p V", "d"),
    ("Add", "p d", "s"),
    ("Sigmoid", "s", "g"),
    ("Flatten", "g", "f"),
    ("Gemm", "f G", "y"),
]
CONSTANTS = {"W": weights(4, 3, 1, 1), "V": weights(4, 4, 1, 1, seed=8), "b": weights(4, seed=9), "G": weights(80, 5)}
CONSTANTS["W"][0, 0] = -1.0
MODEL = network(NODES, inputs={"x": ["N", 3, 6, 5]}, constants=CONSTANTS)
FORMATS = {"x": "Q2.5", "c": "Q2.5", "d": "Q3.4", "s": "Q3.4", "g": "Q0.7", "y": "Q5.2"}
FORMATS |= {"W": "Q0.7", "V": "Q1.6", "G": "Q1.6"}


def target(rules=None, **constraints):
    return Target("mine", rules=rules or Rules(), constraints=Constraints(**constraints))


def check(rules=None, formats=None, **constraints):
    return check_target(MODEL, target=target(rules, **constraints), formats={**FORMATS, **(formats or {})})


def test_a_model_within_the_constraints():
    found = check(
        activation_bits=(8,),
        weight_bits=(8,),
        equal_bits=True,
        signed_only=True,
        per_channel="no",
        shifts=(0, 31),
        operators=("Conv", "Relu", "MaxPool", "Add", "Sigmoid", "Gemm"),
        input_formats={"Sigmoid": (QFormat(3, 4),)},
        output_formats={"Sigmoid": (QFormat(0, 7),)},
    )
    assert found.violations == ()
    assert found.notes == ()
    assert found.is_clean


Q = QFormat.parse
CHANNELS = ["Q0.7", "Q1.6", "Q0.7", "Q0.7"]
BROKEN = {
    "activation_bits": ({"activation_bits": (8,)}, {"x": "Q2.7"}, [("x", "", "Q2.7", "words of 8 bits")]),
    "two lengths": ({"activation_bits": (16, 4)}, {}, [("x", "", "Q2.5", "words of 4 or 16 bits")]),
    "signed_only": ({"signed_only": True}, {"c": "UQ3.5"}, [("r", "Conv", "UQ3.5", "signed formats only")]),
    "weight_bits": ({"weight_bits": (4,)}, {}, [("W", "Conv", "Q0.7", "words of 4 bits")]),
    "equal_bits": (
        {"equal_bits": True},
        {"V": "Q1.2"},
        [("V", "Conv", "Q1.2 for an operand in Q2.5", "one word length")],
    ),
    "per_channel": (
        {"per_channel": "no"},
        {"W": CHANNELS},
        [("W", "Conv", "Q8 n=6..7 per channel", "formats per channel in no operator")],
    ),
    "per_channel of matrices": (
        {"per_channel": "conv"},
        {"W": CHANNELS, "G": ["Q1.6", *["Q0.7"] * 4]},
        [("G", "Gemm", "Q8 n=6..7 per channel", "only Conv and ConvTranspose")],
    ),
    "symmetric_weights": (
        {"symmetric_weights": True},
        {},
        [("W", "Conv", "the code -128 in 1 of 12 weights", "codes from -127 on")],
    ),
    "left": (
        {"shifts": (0, 31)},
        {"x": "Q7.0", "W": "Q5.2"},
        [("r", "Conv", "Q2.5, a shift left by 3", "shifts to the right by 0 to 31")],
    ),
    "far": ({"shifts": (0, 6)}, {}, [("r", "Conv", "Q2.5, a shift right by 7", "shifts to the right by 0 to 6")]),
    "equal_formats": (
        {"equal_formats": ("Add",)},
        {},
        [("s", "Add", "'p' Q2.5, 'd' Q3.4, 's' Q3.4", "one format for operands and result")],
    ),
    "equal_operands": (
        {"equal_operands": ("Add",)},
        {},
        [("s", "Add", "'p' Q2.5, 'd' Q3.4", "one format for all operands")],
    ),
    "input_formats": (
        {"input_formats": {"Sigmoid": (Q("Q2.5"), Q("Q1.6"))}},
        {},
        [("s", "Sigmoid", "Q3.4", "Q2.5 or Q1.6")],
    ),
    "output_formats": ({"output_formats": {"Sigmoid": (Q("UQ0.8"),)}}, {}, [("g", "Sigmoid", "Q0.7", "UQ0.8")]),
    "operators": ({"operators": ("Conv", "Relu", "Add", "Gemm")}, {}, [("the_p", "MaxPool", "MaxPool", "Conv, Relu")]),
    "fused": ({"operators": ("Conv", "MaxPool", "Add", "Gemm")}, {}, [("the_c", "Relu", "Relu", "Conv, MaxPool")]),
    "refused": ({"refused": ("Sigmoid",)}, {}, [("the_g", "Sigmoid", "Sigmoid", "no Sigmoid")]),
    "long bias": ({"rules": Rules(bias=BiasRule(8))}, {"b": "Q2.7"}, [("b", "Conv", "Q2.7", "biases of 8 bits")]),
    "fine bias": ({}, {"b": "Q0.15"}, [("b", "Conv", "Q0.15, of 15 fraction bits", "at most the 12 of the sums")]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_constraint_is_named(case):
    constraints, formats, wanted = BROKEN[case]
    found = check(formats=formats, **constraints)
    assert not found.is_clean
    by_subject = {one.subject: one for one in found.violations}
    for subject, operator, what, allowed in wanted:
        one = by_subject[subject]
        assert (one.operator, one.found) == (operator, what)
        assert allowed in one.allowed
        assert one.remedy
        assert str(one).count(what) >= 1
    assert check(formats=formats).violations == () or case == "fine bias"


def test_copies_are_not_named_again():
    found = check(signed_only=True, formats={"c": "UQ3.5", "d": "UQ4.4", "s": "UQ4.4"})
    assert [one.subject for one in found.violations] == ["r", "d", "s"]  # p has the format of r


def test_a_conversion_is_checked():
    found = check(activation_bits=(8,), formats={"c": "Q2.5", "p": "Q2.9"})
    assert [one.subject for one in found.violations] == ["p"]


def test_accumulators():
    found = check(Rules(accumulator=AccumulatorRule(15)))
    c, d, y = found.accumulators
    assert [one.tensor for one in found.accumulators] == ["r", "d", "y"]
    codes = {n: qengine.quantize(CONSTANTS[n], FORMATS[n]).astype(int).reshape(-1, k) for n, k in (("W", 3), ("V", 4))}
    bias = np.rint(CONSTANTS["b"].astype(float) * 2**12)
    w = codes["W"]
    high = (np.maximum(w, 0).sum(1) * 127 + np.minimum(w, 0).sum(1) * -128) + np.maximum(bias, 0)
    low = (np.maximum(w, 0).sum(1) * -128 + np.minimum(w, 0).sum(1) * 127) + np.minimum(bias, 0)
    needs = [1 + max(int(a).bit_length(), (-1 - int(b)).bit_length()) for a, b in zip(high, low, strict=True)]
    assert (c.bits, c.channel, c.available) == (max(needs), needs.index(max(needs)), 15)
    assert c.channels == sum(n > 15 for n in needs) > 0
    assert y.bits > d.bits
    assert set(found.unproved) == {one for one in found.accumulators if one.bits > 15}
    assert not found.is_clean
    assert check(Rules(accumulator=AccumulatorRule(24))).unproved == ()
    assert check().accumulators[0].available is None


def test_a_sum_at_the_least_code_of_an_accumulator_fits():
    model = network([("MatMul", "x w", "y")], inputs={"x": [2, 1]}, constants={"w": np.float32([[0.5]])})
    (one,) = check_target(model, target=target(), formats={"x": "Q0.7", "w": "Q0.7", "y": "Q0.7"}).accumulators
    assert one.bits == 14  # -128 * 64 is -2^13


@pytest.mark.parametrize("isa", ["reference", str(available()[-1].name)])
def test_a_proved_accumulator_never_overflows(isa):
    need = check().accumulators[0].bits
    feeds = {"x": np.random.default_rng(1).uniform(-9, 9, (8, 3, 6, 5)).astype(np.float32)}
    feeds["x"] = np.sign(feeds["x"]) * 9  # the rails
    plain, cut, short = (
        qengine.InferenceSession(MODEL, formats=FORMATS, isa=isa, accumulator_bits=bits).run(["r"], feeds, raw=True)[0]
        for bits in (None, need, need - 3)
    )
    np.testing.assert_array_equal(cut, plain)
    assert (short != plain).any()


def test_operators_alone_without_formats():
    found = check_target(MODEL, target=target(signed_only=True, refused=("Add",)))
    assert [one.subject for one in found.violations] == ["the_s"]
    assert found.accumulators == ()
    assert any(note.startswith("no formats: operators alone") for note in found.notes)


def test_operators_of_branches():
    then, otherwise = (
        helper.make_graph([helper.make_node(op, ["x"], [op])], op, [], [helper.make_empty_tensor_value_info(op)])
        for op in ("Sigmoid", "Relu")
    )
    node = helper.make_node("If", ["k"], ["y"], then_branch=then, else_branch=otherwise)
    info = helper.make_tensor_value_info
    inputs = [info("x", onnx.TensorProto.FLOAT, [2]), info("k", onnx.TensorProto.BOOL, [])]
    graph = helper.make_graph([node], "g", inputs, [info("y", onnx.TensorProto.FLOAT, [2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = check_target(model, target=target(refused=("Sigmoid",)), qformat="Q3.4")
    assert [one.operator for one in found.violations] == ["Sigmoid"]
    assert any("operators alone are checked" in note for note in found.notes)


def test_islands_and_tables():
    model = network([("Det", "x", "y")], inputs={"x": [2, 3, 3]})
    (one,) = check_target(model, target=target(), qformat="Q3.4").violations
    assert (one.constraint, one.operator) == ("islands", "Det")
    found = check(Rules(table=TableRule("cut", 256, 8)))
    assert found.notes == ("'g' (Sigmoid) is a table of 256 entries over [-8, 8): the low bits of its input are cut",)
    assert "line" in check(Rules(table=TableRule("interpolated", 256, 8))).notes[0]


def test_chains_and_batchnorms_are_named_by_their_operators():
    constants = {"k": 2.0, **{n: np.ones(3, np.float32) for n in "gomv"}}
    nodes = [("Sigmoid", "x", "a"), ("Mul", "a k", "n"), ("BatchNormalization", "n g o m v", "y")]
    model = network([("Relu", "x", "r"), ("BatchNormalization", "r g o m v", "y")], constants=constants)
    (one,) = check_target(model, target=target(operators=("Relu",)), qformat="Q3.4").violations
    assert one.operator == "BatchNormalization"
    model = network([nodes[0], ("Mul", "a k", "y")], constants=constants)
    found = check_target(model, target=target(operators=("Sigmoid",)), qformat="Q3.4")
    assert [one.operator for one in found.violations] == ["Mul"]


def test_a_target_is_needed():
    with pytest.raises(OptionError, match="a target is needed"):
        check_target(MODEL, formats=FORMATS)


def test_a_report_tells_the_first():
    feeds = {"x": np.ones((1, 3, 6, 5), np.float32)}
    sessions = (
        qengine.InferenceSession(MODEL, formats=FORMATS, target=target(**constraints))
        for constraints in ({}, {"symmetric_weights": True, "equal_formats": ("Add",)})
    )
    clean, broken = (compare(session, session.in_float32(), feeds).notes for session in sessions)
    assert not any("not on the target" in note for note in clean)
    (note,) = [note for note in broken if note.startswith("not on the target: 'W' (Conv): the code -128")]
    assert "; 1 more (qengine targets check MODEL --target mine lists all)" in note


DIGITS = qengine.zoo.find("digits")


@pytest.fixture(scope="module")
def observation():
    return observe(DIGITS.path, [DIGITS.sample().feeds])


@pytest.mark.parametrize("name", names())
def test_what_calibration_chooses_for_a_target_is_on_it(name, observation):
    found = check_target(DIGITS.path, target=name, formats=choose_formats(observation, target=name).formats)
    assert {one.constraint for one in found.violations} <= {"operators", "refused", "islands"}
