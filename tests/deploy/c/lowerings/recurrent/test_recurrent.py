"""LSTM, GRU and RNN in C: the codes of the reference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from deploy.c.running import SANITIZED, differences, needs_gcc
from model.eager.test_recurrent_fixed import BOTH, Node
from networks import network
from onnx import numpy_helper

import qengine.deploy.c.network as network_module
from qengine import InferenceSession
from qengine.deploy.c.network import network_of
from qengine.errors import UnsupportedError
from qengine.model.rules import Modes, Rules
from qengine.qformat import Rounding

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


@pytest.mark.exhaustive
def test_nothing_is_undefined(tmp_path):
    names = ["LSTM", "GRU of 16 bits", "GRU that resets after, low bits", "RNN of 16 bits"]
    assert differences([CASES[name] for name in names], tmp_path, SANITIZED) == []


def chain(nodes, shape, outputs, **arrays):
    """A session of several nodes with random constants of some shapes."""
    rng = np.random.default_rng(4)
    constants = {name: rng.uniform(-1, 1, s).astype(np.float32) for name, s in arrays.items()}
    model = network(nodes, inputs={"x": list(shape)}, outputs=outputs, constants=constants)
    session = InferenceSession(model, isa="reference", qformat="Q3.4", strict=True)
    return session, [{"x": 4 * rng.standard_normal(shape).astype(np.float32)} for _ in range(2)]


def test_tensors_may_have_any_order_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(network_module, "order_of", lambda step, shape, orders: tuple(range(len(shape)))[::-1])
    both = {"direction": BOTH}
    first = [("Sigmoid", "x", "t"), ("LSTM", "t w r", "u h c", both)]
    whole = [*first, ("Tanh", "u", "y"), ("Tanh", "h", "y2"), ("Tanh", "c", "y3")]
    states = [*first, ("GRU", "t w1 r1 - - h", "v g", both | {"linear_before_reset": 1}), ("Tanh", "g", "y")]
    sizes = {"w": (2, 12, 5), "r": (2, 12, 3), "w1": (2, 9, 5), "r1": (2, 9, 3)}
    cases = [
        chain(whole, (4, 2, 5), ["y", "y2", "y3"], w=(2, 12, 5), r=(2, 12, 3)),
        chain(states, (4, 2, 5), ["y"], **sizes),
    ]
    assert differences(cases, tmp_path) == []


@pytest.mark.parametrize("outputs", ["y", "- h", "- - c", "y - c"])
def test_outputs_may_be_left_out(outputs, tmp_path):
    names = [name for name in outputs.split() if name != "-"]
    nodes = [("LSTM", "x w r", outputs, {"layout": 1, "direction": BOTH})]
    assert differences([chain(nodes, (2, 4, 5), names, w=(2, 12, 5), r=(2, 12, 3))], tmp_path) == []


def test_outputs_may_have_roundings_of_their_own(tmp_path):
    rules = Rules(tensors={"y": Modes(Rounding.FLOOR, None)})
    session, feeds = recurrent("LSTM", FORMATS_8, {"rules": rules}, **LARGE)
    assert [call.kernel for call in network_of(session, feeds[0]).operations[0].calls].count("lstm") == 2
    assert differences([(session, feeds)], tmp_path) == []


def test_what_c_cannot_know_is_refused():
    node = Node("LSTM", given="b", lens=[1, 2])
    session = InferenceSession(node.model, isa="reference", qformat="Q3.4", strict=True)
    with pytest.raises(UnsupportedError, match="its sequence_lens 'lens' is computed during the run"):
        network_of(session, node.feeds)


def test_tables_of_16_bits_take_few_bytes():
    session, feeds = CASES["LSTM of 16 bits"]
    tables = [c for c in network_of(session, feeds[0]).operations[0].constants if c.c_name in ("y_f", "y_g", "y_last")]
    assert len(tables) == 3
    assert sum(c.array.nbytes for c in tables) < 40_000
