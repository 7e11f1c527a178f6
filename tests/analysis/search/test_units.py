"""Units: which tensors have a word length together, and the formats of each word length."""

import numpy as np
import pytest
from joined_heads import APART, FEEDS
from networks import network, weights

import qengine
from qengine import SessionOptions
from qengine.analysis.search.units import formats_of, units_of
from qengine.errors import OptionError
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions, observe

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
