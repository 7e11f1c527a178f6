"""LSTM, GRU and RNN in C: the codes of the reference."""

from __future__ import annotations

import numpy as np
import onnx
from deploy.c.running import SANITIZED, differences, needs_gcc
from model.eager.test_recurrent_fixed import BOTH, Node
from onnx import numpy_helper

from qengine import InferenceSession

pytestmark = needs_gcc

FORMATS_8 = {"y": "Q0.7", "y (gates)": "Q3.4", "y (cell)": "Q2.5"}
FORMATS_16 = {"x": "Q2.13", "y": "Q0.15", "y (gates)": "Q4.11", "y (cell)": "Q2.13"}
LARGE = {"time": 9, "batch": 5, "size": 37, "hidden": 23}
OTHERS = ["HardSigmoid", "Tanh", "Elu", "Sigmoid", "Relu", "Tanh"]
UNSIGNED = {"x": "UQ0.16", "y": "UQ0.16", "y (gates)": "Q4.11", "y (cell)": "UQ2.14", "h0": "UQ0.8"}


def _with_constant_lengths(node):
    """Make the lengths of sequences of a node constants of its model."""
    model = onnx.load_from_string(node.model)
    inputs = [i for i in model.graph.input if i.name != "lens"]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.append(numpy_helper.from_array(node.arrays["lens"], "lens"))
    node.model = model.SerializeToString()


def recurrent(operator, formats, options=None, given="b", lens=None, **attributes):
    """A session with one node, and feeds: random ones, and all at the ends."""
    node = Node(operator, given=given, lens=lens, computed=attributes.pop("computed", "h0 c0"), **attributes)
    if lens is not None:
        node.feeds.pop("lens")
        _with_constant_lengths(node)
    names = {*node.names, *node.feeds}
    options = {"per_channel": True, "strict": True, "qformat": "Q3.4", **(options or {})}
    formats = {name: one for name, one in formats.items() if name in names}
    session = InferenceSession(node.model, isa="reference", formats=formats, **options)
    ends = [{name: np.full_like(a, end) for name, a in node.feeds.items()} for end in (-100, 100)]
    return session, [node.feeds, *ends]


WRAPS = {"rounding": "floor", "overflow": "wrap"}
CASES = {
    "LSTM": recurrent("LSTM", FORMATS_8, given="bhcp", direction=BOTH, lens=[9, 0, 4, 1, 8], **LARGE),
    "LSTM of 16 bits": recurrent("LSTM", FORMATS_16, given="bhc", layout=1, direction="reverse", **LARGE),
    "LSTM, coupled": recurrent("LSTM", FORMATS_8, input_forget=1, clip=0.8, **LARGE),
    "LSTM of long sums": recurrent("LSTM", FORMATS_16, size=1300, hidden=70, time=2),
    "LSTM of unsigned codes": recurrent("LSTM", UNSIGNED, given="bh", activations=["Sigmoid"] * 3, **LARGE),
    "LSTM of low bits": recurrent("LSTM", FORMATS_8, {**WRAPS, "accumulator_bits": 14}, given="bp", **LARGE),
    "LSTM of other functions": recurrent(
        "LSTM", FORMATS_8, {"rounding": "tflite", "overflow": "symmetric"}, direction=BOTH, activations=OTHERS
    ),
    "LSTM of constant states": recurrent("LSTM", FORMATS_8, given="bhc", computed="", direction=BOTH),
    "LSTM of one unit": recurrent("LSTM", {}, given="", hidden=1, size=1, batch=1, time=1),
    "LSTM of a step": recurrent("LSTM", FORMATS_16, given="bhcp", time=1, lens=[1, 0], layout=1),
    "GRU": recurrent(
        "GRU", FORMATS_8, {"rounding": "half_zero", "overflow": "zero"}, "bh", [2, 9, 5, 0, 1], direction=BOTH, **LARGE
    ),
    "GRU of fine formats": recurrent(
        "GRU", {"y": "Q-1.16", "y (gates)": "Q-2.17"}, {"rounding": "half_up"}, "bh", layout=1, **LARGE
    ),
    "GRU of 16 bits": recurrent("GRU", FORMATS_16, given="bh", clip=0.7, activations=["Affine", "Relu"], **LARGE),
    "GRU of low bits": recurrent("GRU", FORMATS_8, {**WRAPS, "accumulator_bits": 13}, **LARGE),
    "GRU that resets after": recurrent("GRU", FORMATS_16, given="bh", linear_before_reset=1, **LARGE),
    "GRU that resets after, 8 bits": recurrent(
        "GRU", FORMATS_8, {"overflow": "wrap"}, linear_before_reset=1, direction=BOTH, clip=0.9, **LARGE
    ),
    "GRU that resets after, low bits": recurrent(
        "GRU", FORMATS_8, {**WRAPS, "accumulator_bits": 12}, linear_before_reset=1, lens=[0, 3], layout=1
    ),
    "GRU without a bias": recurrent("GRU", FORMATS_8, given="", linear_before_reset=1, clip=0.5),
    "RNN": recurrent("RNN", FORMATS_8, given="bh", direction="reverse", lens=[3, 0, 9, 1, 2], **LARGE),
    "RNN of 16 bits": recurrent("RNN", FORMATS_16, {"rounding": "away"}, layout=1, direction=BOTH, **LARGE),
    "RNN with bounds": recurrent(
        "RNN", FORMATS_8, {"rounding": "ceil", "per_channel": False}, clip=0.7, direction=BOTH
    ),
}


def test_codes_are_those_of_the_reference(tmp_path):
    assert differences(list(CASES.values()), tmp_path) == []


def test_nothing_is_undefined(tmp_path):
    names = ["LSTM", "GRU of 16 bits", "GRU that resets after, low bits", "RNN of 16 bits"]
    assert differences([CASES[name] for name in names], tmp_path, ("-O1", *SANITIZED)) == []
