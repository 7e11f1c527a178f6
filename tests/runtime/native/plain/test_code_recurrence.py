"""LSTM, GRU and RNN of codes on native kernels: equal to the reference, whose rule tests/model/eager checks."""

from __future__ import annotations

import numpy as np
import pytest
from model.eager.test_recurrent_fixed import BOTH, Node
from oracle import OVERFLOWS, ROUNDINGS
from runtime.native.native import ISAS, both

import qengine
from qengine.errors import ModelError
from qengine.kernels.code_recurrence import code_weights
from qengine.kernels.emit import code_sums
from qengine.kernels.isa import available
from qengine.kernels.reference.requantize import requantize
from qengine.kernels.reference.word import Word

FORMATS_8 = {"y": "Q0.7", "y (gates)": "Q3.4", "y (cell)": "Q2.5"}
FORMATS_16 = {"x": "Q2.13", "y": "Q0.15", "y (gates)": "Q4.11", "y (cell)": "Q2.13"}
LARGE = {"time": 9, "batch": 5, "size": 37, "hidden": 23}
CASES = {
    "LSTM": (Node("LSTM", given="bhcp", direction=BOTH, lens=[9, 0, 4, 1, 8], **LARGE), FORMATS_8, {}),
    "LSTM of 16 bits": (Node("LSTM", given="bhc", layout=1, direction="reverse", **LARGE), FORMATS_16, {}),
    "LSTM with coupled gates": (Node("LSTM", given="b", input_forget=1, clip=0.8, **LARGE), FORMATS_8, {}),
    "LSTM of long sums": (Node("LSTM", given="b", size=1300, hidden=70, time=2), FORMATS_16, {}),
    "LSTM of unsigned codes": (
        Node("LSTM", given="bh", activations=["Sigmoid", "Sigmoid", "Sigmoid"], **LARGE),
        {"x": "UQ0.16", "y": "UQ0.16", "y (gates)": "Q4.11", "y (cell)": "UQ2.14", "h0": "UQ0.8"},
        {},
    ),
    "LSTM that keeps low bits": (
        Node("LSTM", given="b", **LARGE),
        FORMATS_8,
        {"rounding": "floor", "overflow": "wrap", "accumulator_bits": 14},
    ),
    "LSTM of other functions in each direction": (
        Node("LSTM", given="b", direction=BOTH, activations=["HardSigmoid", "Tanh", "Elu", "Sigmoid", "Relu", "Tanh"]),
        FORMATS_8,
        {"rounding": "tflite", "overflow": "symmetric"},
    ),
    "GRU": (
        Node("GRU", given="bh", direction=BOTH, lens=[2, 9, 5, 0, 1], **LARGE),
        FORMATS_8,
        {"rounding": "half_zero", "overflow": "zero"},
    ),
    "GRU of fine formats": (
        Node("GRU", given="bh", layout=1, **LARGE),
        {"y": "Q-1.16", "y (gates)": "Q-2.17"},
        {"rounding": "half_up"},
    ),
    "GRU that resets after": (Node("GRU", given="bh", linear_before_reset=1, **LARGE), FORMATS_16, {}),
    "GRU that resets after, of 8 bits": (
        Node("GRU", given="b", linear_before_reset=1, direction=BOTH, **LARGE),
        FORMATS_8,
        {"overflow": "wrap"},
    ),
    "RNN": (Node("RNN", given="bh", direction="reverse", lens=[3, 0, 9, 1, 2], **LARGE), FORMATS_8, {}),
    "RNN of 16 bits": (Node("RNN", given="b", layout=1, direction=BOTH, **LARGE), FORMATS_16, {"rounding": "away"}),
}
ON_ALL = ("LSTM", "GRU that resets after", "RNN")


def outcome(name, isa, threads=1):
    node, formats, options = CASES[name]
    formats = {key: fmt for key, fmt in formats.items() if key in {*node.names, *node.feeds}}
    options = {"per_channel": True, "strict": True, **options}
    return both(node.model, node.feeds, isa, threads, qformat="Q3.4", formats=formats, **options)


@pytest.mark.parametrize(
    ("name", "isa"), [(name, isa) for name in CASES for isa in (ISAS if name in ON_ALL else ISAS[:1])]
)
def test_native_equals_the_reference(name, isa):
    got, want, kernels = outcome(name, isa)
    assert [name for name in kernels if name != "quantize"] == ["gate_sums", "code_recurrence"]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_every_rounding_and_overflow_of_a_number(rounding, overflow, monkeypatch):
    """The functions as Python runs them: compiling all of them takes long."""
    monkeypatch.setattr(code_sums, "njit", lambda **_: lambda function: function)
    monkeypatch.setattr(code_sums, "shifted", code_sums.shifted.__wrapped__)
    for shifts_left, shifts in ((False, (1, 2, 5, 13)), (True, (1, 2, 5, 13, 0, -1, -9))):
        for signed in (True, False):
            word = Word(5, signed, rounding, overflow)
            code = code_sums.rounded.__wrapped__(rounding, word.fitting, shifts_left)
            numbers = word.lowest, word.most, (1 << word.bits) - 1, 1 << (word.bits - 1) if signed else 0
            for shift in shifts:
                near = [*range(-70, 70), *(k << max(shift - 2, 0) for k in range(-150, 150)), 1 << 40, -(1 << 40)]
                found = [code(v, max(shift, 0), max(-shift, 0), *numbers) for v in near]
                assert found == requantize(np.array(near), shift, word).tolist()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_give_the_same(threads):
    got, want, _ = outcome("GRU", ISAS[0], threads)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", [ISAS[0], "reference"])
@pytest.mark.parametrize("length", [-1, 4])
def test_a_length_out_of_range_is_an_error(length, isa):
    node = Node("GRU", lens=[2, length])
    with pytest.raises(ModelError, match=f"the_y.*sequence_lens has the length {length}, X has steps for 0 to 3"):
        qengine.InferenceSession(node.model, isa=isa, qformat="Q3.4").run(None, node.feeds)


def test_computed_weights_are_multiplied_by_the_reference():
    node = Node("LSTM", given="bhp", computed="w r b h0 p")
    got, want, kernels = both(node.model, node.feeds, ISAS[0], qformat="Q3.4", strict=True)
    assert all(kernel.startswith("reference") for kernel in kernels)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
@pytest.mark.parametrize("other", [np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_no_chunk_leaves_32_bits(dtype, other, isa):
    limits = np.iinfo(dtype)
    found = code_weights(np.full((1, 3, 5), limits.max, dtype), np.dtype(other), (3,), isa)
    codes = np.iinfo(other)
    largest = max(abs(codes.min + found.factors.offset), codes.max + found.factors.offset)
    for part in (found.low, found.high):
        assert found.chunk * found.factors.taps * largest * int(np.abs(part.astype(np.int64)).max(initial=0)) < 1 << 31
    assert found.corrections.tolist() == [[-found.factors.offset * 5 * limits.max] * 3]
