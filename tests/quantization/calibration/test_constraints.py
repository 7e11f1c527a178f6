"""Formats within the constraints of a target."""

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import CalibrationOptions, QFormat, Target, calibrate
from qengine.errors import TargetError
from qengine.model.rules import Modes, Rules
from qengine.qformat import Overflow
from qengine.targets import Constraints

RNG = np.random.default_rng(3)
FEEDS = [{"x": RNG.standard_normal((1, 3, 6, 5)).astype(np.float32)} for _ in range(3)]
NODES = [
    ("Conv", "x W b", "c"),
    ("Relu", "c", "r"),
    ("Conv", "r V", "d"),
    ("Add", "r d", "s"),
    ("Mul", "s k", "m"),
    ("Concat", "m c", "j", {"axis": 1}),
    ("AveragePool", "j", "a", {"kernel_shape": [2, 2]}),
    ("Sigmoid", "a", "g"),
    ("Flatten", "g", "f"),
    ("Gemm", "f G", "y"),
]
CONSTANTS = {
    "W": weights(4, 3, 1, 1) * np.float32([1, 4, 0.2, 9]).reshape(4, 1, 1, 1),
    "V": weights(4, 4, 1, 1, seed=8),
    "b": weights(4, seed=9),
    "k": 3.0,
    "G": weights(8 * 20, 10, seed=11) * 0.01,
}
MODEL = network(NODES, constants=CONSTANTS)
ACTIVATIONS = ("x", "c", "r", "d", "s", "j", "a", "g", "m", "f", "y")


def target(name="mine", rules=None, **constraints):
    return Target(name, rules=rules or Rules(), constraints=Constraints(**constraints))


def formats(**options):
    chosen = options.pop("options", {})
    return calibrate(MODEL, FEEDS, target=target(**options), **chosen)


def each(found):
    """The formats of every tensor, those of channels one by one."""
    for name, fmt in found.items():
        yield from ((name, QFormat.parse(one)) for one in (fmt if isinstance(fmt, list) else [fmt]))


def n(found, name):
    return min(fmt.fraction_bits for one, fmt in each(found) if one == name)


def test_no_constraints_change_nothing():
    assert formats().formats == calibrate(MODEL, FEEDS).formats


WORDS = {
    "the default": ({}, {}, (8, 8)),
    "the next longer": ({"activation_bits": (4, 12, 16)}, {}, (12, 8)),
    "the longest": ({"activation_bits": (4, 6), "weight_bits": (2, 5)}, {}, (6, 5)),
    "two kinds": ({"activation_bits": (16,), "weight_bits": (8,)}, {}, (16, 8)),
    "given": ({"activation_bits": (8, 16)}, {"bits": 6}, (6, 6)),
    "given one by one": ({"weight_bits": (4,)}, {"weight_bits": 5}, (8, 5)),
    "equal": ({"activation_bits": (16,), "equal_bits": True}, {}, (16, 16)),
}


@pytest.mark.parametrize("case", WORDS)
def test_word_lengths(case):
    constraints, options, (activations, constants) = WORDS[case]
    found = formats(**constraints, options={**options, "output_bits": activations})
    assert {fmt.bits for name, fmt in each(found) if name in ACTIVATIONS} == {activations}
    assert {fmt.bits for name, fmt in each(found) if name in "WVG"} == {constants}
    wanted = {k: v for k, v in constraints.items() if k.endswith("_bits") and k != "equal_bits"}
    is_broken = any(bits not in wanted[kind] for kind, bits in zip(wanted, (activations, constants), strict=False))
    assert any("as given; target mine has" in note for note in found.notes) == (is_broken or case == "given one by one")


def test_an_output_is_wide_only_where_the_target_has_such_words():
    data = [{"x": np.array([[0.01, 900.0]], np.float32)}] * 9
    model = network([("Mul", "x k", "y")], inputs={"x": [1, 2]}, constants={"k": [1.0, 1.0]})
    assert QFormat.parse(calibrate(model, data)["y"]).bits == 16
    assert QFormat.parse(calibrate(model, data, target=target(activation_bits=(8,)))["y"]).bits == 8


def test_cells_of_an_lstm():
    constants = {"W": weights(1, 16, 3), "R": weights(1, 16, 4)}
    model = network([("LSTM", "x W R", "y", {"hidden_size": 4})], inputs={"x": [5, 1, 3]}, constants=constants)
    data = [{"x": weights(5, 1, 3)}]
    assert QFormat.parse(calibrate(model, data)["y (cell)"]).bits == 16
    assert QFormat.parse(calibrate(model, data, target=target(activation_bits=(8,)))["y (cell)"]).bits == 8


def test_signed_only():
    assert any(not fmt.signed for _, fmt in each(formats()))
    assert all(fmt.signed for _, fmt in each(formats(signed_only=True)))


@pytest.mark.parametrize(("allowed", "channels"), [("all", "WVG"), ("conv", "WV"), ("no", "")])
def test_per_channel(allowed, channels):
    found = formats(per_channel=allowed)
    assert {name for name in "WVG" if isinstance(found[name], list)} == set(channels)
    assert not any(
        isinstance(fmt, list) for fmt in formats(per_channel=allowed, options={"per_channel": False}).values()
    )


def codes_of(found, **options):
    session = qengine.InferenceSession(MODEL, formats=found, **options)
    return {name: session.run([name], FEEDS[0], raw=True)[0] for name in "WVG"}


@pytest.mark.parametrize("method", ["mse", "max"])
@pytest.mark.parametrize("bits", [3, 8])
def test_symmetric_weights(bits, method):
    options = {"method": method, "bits": bits, "output_bits": bits}
    least = -(1 << (bits - 1))
    found = formats(symmetric_weights=True, options=options)
    assert min(codes.min() for codes in codes_of(found).values()) == least + 1
    if method == "mse" and bits == 3:
        plain = formats(options=options)
        assert min(codes.min() for codes in codes_of(plain).values()) == least
        symmetric = target(rules=Rules(kinds={"constants": Modes(overflow=Overflow.SYMMETRIC)}), symmetric_weights=True)
        kept = calibrate(MODEL, FEEDS, target=symmetric, **options)
        assert kept.formats == plain.formats
        assert min(codes.min() for codes in codes_of(kept, target=symmetric).values()) == least + 1


EQUAL = {
    "Add": {"r", "d", "s", "c"},
    "Concat": {"m", "c", "r", "j"},
    "AveragePool": {"j", "a"},
    "Mul": {"s", "k", "m"},
}


@pytest.mark.parametrize("operator", EQUAL)
def test_equal_formats(operator):
    plain, found = formats(), formats(equal_formats=(operator,))
    assert len({found[name] for name in EQUAL[operator]}) == 1
    assert len({plain[name] for name in EQUAL[operator]}) > 1
    session = qengine.InferenceSession(MODEL, formats=found)
    assert session.notes == ()
    assert {str(session.formats[name]) for name in EQUAL[operator]} == {found[sorted(EQUAL[operator])[0]]}
    exact = qengine.InferenceSession(MODEL).run(None, FEEDS[0])[0]
    assert np.sqrt(np.mean((session.run(None, FEEDS[0])[0] - exact) ** 2)) < 0.2 * exact.std()


def test_equal_operands():
    found = formats(equal_operands=("Mul",))
    assert found["s"] == found["k"]
    assert found["m"] != found["s"]


def test_formats_of_an_operator():
    allowed = {"Sigmoid": (QFormat(2, 5), QFormat(7, 0), QFormat(0, 7))}
    outputs = {"Sigmoid": (QFormat(0, 7),)}
    for method in ("mse", "max", "percentile"):
        found = formats(input_formats=allowed, output_formats=outputs, options={"method": method})
        assert (found["a"], found["g"]) == ("Q7.0" if method == "max" else found["a"], "Q0.7")
        assert found["a"] in ("Q2.5", "Q7.0")
    clash = formats(input_formats={"Sigmoid": (QFormat(2, 5),), "Flatten": ()}, output_formats={"AveragePool": ()})
    assert any(note.startswith("no format of 'a' suits all operators") for note in clash.notes)


@pytest.mark.parametrize("shifts", [(0, 31), (3, 31), (8, 31), (0, 4)])
def test_shifts(shifts):
    found = formats(shifts=shifts, options={"bits": 8, "output_bits": 8})
    for x, w, y in (("x", "W", "c"), ("r", "V", "d"), ("f", "G", "y")):
        each_n = [QFormat.parse(one).fraction_bits for one in found[w]]
        assert min(each_n) + n(found, x) - n(found, y) >= shifts[0]
        assert max(each_n) + n(found, x) - n(found, y) <= shifts[1]
    assert any("fewer fraction bits: '" in note for note in found.notes) == (shifts[0] > 3)
    assert n(found, "c") == n(found, "r")  # they share one


def test_a_result_of_16_bits_has_no_shift_to_the_left():
    words = {"activation_bits": 16, "weight_bits": 2, "per_channel": False}
    plain = formats(options=words)
    assert n(plain, "y") > n(plain, "f") + n(plain, "G") - 8
    found = formats(shifts=(8, 31), options=words)
    assert n(found, "y") == n(found, "f") + n(found, "G") - 8
    (one,) = [one for one in found.tensors if one.name == "y"]
    assert (one.best, one.format) == (plain["y"], found["y"])
    assert one.cost_db > 0


def test_the_target_of_the_session_is_that_of_the_calibration():
    one = target(signed_only=True)
    session = qengine.SessionOptions(target=one)
    assert calibrate(MODEL, FEEDS, session=session) == calibrate(MODEL, FEEDS, target=one)


def test_a_target_by_name():
    assert calibrate(MODEL, FEEDS, target="cmsis-nn-q15").options.activation_word_length == 16
    with pytest.raises(TargetError, match="no target is named 'cmsis'"):
        calibrate(MODEL, FEEDS, target="cmsis")


def test_a_constant_that_is_no_weights_has_the_word_of_activations():
    found = formats(activation_bits=(16,), weight_bits=(8,))
    assert {name: fmt.bits for name, fmt in each(found) if name in CONSTANTS} == {"W": 8, "V": 8, "G": 8, "k": 16}


def test_formats_of_an_operator_beside_others():
    """A table to UQ0.8 whose result is in one group with signed tensors has no format that suits both."""
    nodes = [("Sigmoid", "x", "g"), ("Conv", "x W", "c"), ("Concat", "g c", "y", {"axis": 1})]
    model = network(nodes, constants={"W": weights(3, 3, 1, 1)})
    constraints = {"signed_only": True, "output_formats": {"Sigmoid": (QFormat.parse("UQ0.8"),)}}
    alone = calibrate(model, FEEDS, target=target(**constraints))
    assert alone["g"] == "UQ0.8"
    found = calibrate(model, FEEDS, target=target(equal_formats=("Concat",), **constraints))
    assert QFormat.parse(found["g"]).signed
    assert "no format of 'g' suits all operators of the target around it" in found.notes


def test_the_formats_of_a_concat_in_a_concat_that_is_an_output_are_those_that_a_run_needs():
    nodes = [
        ("Conv", "x W", "c"),
        ("Mul", "c k", "m"),
        ("Concat", "c m", "inner", {"axis": 1}),
        ("Sigmoid", "c", "g"),
        ("Concat", "inner g", "y", {"axis": 1}),
    ]
    model = network(nodes, constants={"W": weights(3, 3, 1, 1), "k": 3.0})
    found = calibrate(model, FEEDS, target=target(equal_formats=("Concat",)))
    assert len({found[name] for name in "cmg"}) == 1
    session = qengine.InferenceSession(model, formats=found.formats)
    codes, *parts = session.run(["y", "c", "m", "g"], FEEDS[0], raw=True)
    np.testing.assert_array_equal(codes, np.concatenate([parts[0], parts[1], parts[2]], axis=1))


WRAPS = [("ap-fixed", "mse", True), ("ap-fixed", "max", True), ("onnx", "mse", False)]


@pytest.mark.parametrize(("target", "method", "wraps"), WRAPS)
def test_where_results_wrap_formats_are_signed_and_a_note_says_why(target, method, wraps):
    options = CalibrationOptions(target=target, method=method)
    assert options.may_be_unsigned != wraps
    notes = list(options.notes_on_target())
    assert [note.startswith(f"results of target {target} wrap") for note in notes] == [True] * wraps
    assert any("give method max" in note for note in notes) == (wraps and method == "mse")
