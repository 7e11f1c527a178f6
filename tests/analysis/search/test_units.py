"""Units: which tensors have a word length together, and the formats of each word length."""

from itertools import product

import numpy as np
import pytest
from joined_heads import APART, FEEDS
from networks import network, weights

import qengine
from qengine import QFormat, SessionOptions, Target, search
from qengine.analysis.search.options import default_widths
from qengine.analysis.search.units import formats_of, units_of
from qengine.data.datasets import open_dataset
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions, observe
from qengine.targets import Constraints

MODEL = network(
    [
        ("Conv", "x w b", "c"),
        ("Relu", "c", "r"),
        ("Flatten", "r", "f"),
        ("MatMul", "f v", "y"),
    ],
    inputs={"x": ["N", 2, 4, 4]},
    constants={"w": weights(3, 2, 3, 3, seed=1), "b": weights(3, seed=2), "v": weights(12, 4, seed=3)},
)
X = weights(5, 2, 4, 4, seed=4, scale=1.0)


def units(weight_bits=(3, 5), activation_bits=(4, 8), calibration=None):
    observation = observe(load(MODEL), [{"x": X}])
    return units_of(observation, calibration or CalibrationOptions(), weight_bits, activation_bits, SessionOptions())


def test_tensors_with_one_format_are_one_unit():
    found = units()
    assert [(unit.name, unit.kind) for unit in found] == [
        ("x", "activation"),
        ("w", "constant"),
        ("r", "activation"),
        ("v", "constant"),
        ("y", "activation"),
    ]
    assert set(found[2].tensors) == {"c", "r", "f"}
    assert [unit.widths for unit in found] == [(4, 8), (3, 5), (4, 8), (3, 5), (4, 8)]
    assert not any("b" in unit.tensors for unit in found)  # a bias has 32 bits


def test_formats_are_those_of_a_calibration():
    found = {unit.name: unit for unit in units()}
    for bits in (4, 8):
        calibrated = qengine.calibrate(MODEL, [{"x": X}], bits=bits)
        for name in ("x", "r", "y"):
            assert found[name].tensor_formats[bits] == {tensor: calibrated[tensor] for tensor in found[name].tensors}
            assert str(found[name].formats[bits][name]) == calibrated[name]


def test_weights_leave_room_for_a_bias_beside_the_longest_activations():
    model = network(
        [("Gemm", "x w b", "y")],
        inputs={"x": ["N", 4]},
        constants={"w": weights(4, 3, seed=1) / 4096, "b": np.float32([3000, -3000, 2000])},
    )
    x = weights(6, 4, seed=2, scale=1.0)
    found = units_of(observe(load(model), [{"x": x}]), CalibrationOptions(), (5,), (4, 8), SessionOptions())
    (unit,) = [unit for unit in found if unit.name == "w"]
    given = unit.tensor_formats[5]["w"]
    beside_long, beside_short = (qengine.calibrate(model, [{"x": x}], bits=n, weight_bits=5)["w"] for n in (8, 4))
    assert given == beside_long != beside_short


def test_formats_per_channel_know_their_axis():
    found = {unit.name: unit for unit in units(calibration=CalibrationOptions(per_channel=True))}
    assert len(found["w"].tensor_formats[3]["w"]) == 3
    assert (found["w"].formats[3]["w"].axis, len(found["w"].formats[3]["w"].formats)) == (0, 3)
    assert found["v"].formats[5]["v"].axis == 1


def test_an_assignment_as_formats():
    found = units()
    formats = formats_of(found, (4, 5, 8, 3, 8))
    assert set(formats) == {"x", "w", "c", "r", "f", "v", "y"}
    assert formats["x"] == found[0].tensor_formats[4]["x"]
    assert formats["v"] == found[3].tensor_formats[3]["v"]
    assert np.shape(formats["r"]) == ()


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({"weight_bits": ()}, "there are no word lengths for constants: give at least one"),
        ({"activation_bits": ()}, "there are no word lengths for activations"),
        ({"weight_bits": (3, 17)}, "2 to 16, not 17"),
        ({"activation_bits": (1,)}, "2 to 16, not 1"),
    ],
)
def test_word_lengths_that_are_none(bits, message):
    with pytest.raises(OptionError, match=message):
        units(**bits)


@pytest.mark.parametrize("given", ["auto", 12])
def test_a_given_word_length_of_the_outputs_is_left(given):
    for head, outputs in (("an output", {"b", "s"}), ("bounded", {"b", "s"}), ("split", {"b", "s"})):
        observation = observe(load(APART[head].model()), FEEDS)
        found = units_of(observation, CalibrationOptions(output_bits=given), (8,), (4, 8), SessionOptions())
        for unit in found:
            if outputs & set(unit.tensors):
                assert unit.widths == ((4, 8) if given == "auto" else (12,)), (head, unit.name)
        assert {name for unit in found for name in unit.tensors} >= outputs | {"x", "W"}


def test_cells_have_one_word_length():
    model = network(
        [("LSTM", "x w r", "y", {"hidden_size": 2})],
        inputs={"x": [4, 1, 3]},
        constants={"w": weights(1, 8, 3, seed=1), "r": weights(1, 8, 2, seed=2)},
    )
    observation = observe(load(model), [{"x": weights(4, 1, 3, seed=3)}])
    found = {one.name: one for one in units_of(observation, CalibrationOptions(), (8,), (4, 8), SessionOptions())}
    assert found["y (cell)"].widths == (16,)
    assert found["y (gates)"].widths == (4, 8)


def target(**constraints):
    return CalibrationOptions(target=Target("mine", constraints=Constraints(**constraints)))


def test_weights_and_their_operand_are_one_unit_where_words_must_be_equal():
    found = units((3, 5, 8), (4, 5, 8), target(equal_bits=True))
    assert [(unit.tensors, unit.widths) for unit in found] == [
        (("x", "w"), (5, 8)),
        (("c", "r", "f", "v"), (5, 8)),
        (("y",), (4, 5, 8)),
    ]
    plain = {unit.name: unit for unit in units((5, 8), (5, 8))}
    assert found[1].tensor_formats[5] == {**plain["r"].tensor_formats[5], **plain["v"].tensor_formats[5]}
    assert found[1].formats[5]["v"].axis == 1
    session = qengine.InferenceSession(MODEL, formats=formats_of(found, (5, 8, 4)))
    bits = {name: fmt.bits for name, fmt in session.formats.items()}
    assert bits == {"x": 5, "w": 5, "c": 8, "r": 8, "f": 8, "v": 8, "y": 4}


def test_formats_of_an_operator_have_their_own_words():
    given = target(output_formats={"MatMul": (QFormat.parse("Q3.4"), QFormat.parse("Q2.3"))})
    (y,) = [unit for unit in units((3,), (4, 6, 8), given) if unit.name == "y"]
    assert {width: formats["y"] for width, formats in y.tensor_formats.items()} == {8: "Q3.4"}


def test_every_assignment_keeps_the_shifts():
    found = units((2, 8), (4, 16), target(shifts=(6, 31), per_channel="no"))
    free = units((2, 8), (4, 16), target(per_channel="no"))
    broken = 0
    for widths in product((2, 8), (4, 16), (2, 8), (4, 16), (4, 16)):
        order = dict(zip(("w", "x", "v", "r", "y"), widths, strict=True))
        for some in (found, free):
            formats = formats_of(some, [order[unit.name] for unit in some])
            n = {name: QFormat.parse(text).fraction_bits for name, text in formats.items()}
            kept = [n["x"] + n["w"] - n["c"] >= 6, n["f"] + n["v"] - n["y"] >= 6]
            assert n["c"] == n["r"] == n["f"]
            assert [QFormat.parse(formats[name]).bits for name in order] == list(order.values())
            if some is found:
                assert all(kept)
            broken += not all(kept)
    assert broken


def test_a_search_within_a_target(tmp_path):
    np.savez(tmp_path / "data.npz", x=X)
    data = open_dataset(str(tmp_path / "data.npz"), load(MODEL))
    kept = {"metric": "sqnr", "max_drop": 30.0, "max_runs": 20}
    given = Target("mine", constraints=Constraints(activation_bits=(4, 8), weight_bits=(8, 5)))
    found = search(MODEL, data, target=given, **kept)
    assert {width for unit in found.units for width in unit.sensitivity} <= {4, 5, 8}
    assert {unit.bits for unit in found.units if unit.kind == "constant"} <= {5, 8}
    assert {unit.bits for unit in found.units if unit.kind == "activation"} <= {4, 8}
    assert not any("as given" in note for note in found.notes)
    wide = search(MODEL, data, target=given, bits=[6, 8], **kept)
    assert any("constants were tried with 6 bits, as given; target mine has 5 or 8 bits" in note for note in wide.notes)
    assert default_widths((12, 14)) == (12, 14)
