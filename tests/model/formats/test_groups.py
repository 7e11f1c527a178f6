import numpy as np
import pytest
from model.formats.sessions import CHAIN, Q, X, session
from networks import network, weights

import qengine
from qengine.model.formats.groups import format_groups, is_real, may_be_real
from qengine.model.graph import Graph, Value
from qengine.model.loader import load
from qengine.model.static_values import known_tensors


@pytest.mark.parametrize("named", ["c", "r", "p"])
def test_operators_that_keep_the_format_share_one(named):
    s = session(CHAIN, {named: "Q2.5"}, qformat="Q4.3")
    assert {s.formats[name] for name in ("c", "r", "p")} == {Q("Q2.5")}
    assert {s.formats[name] for name in ("x", "y")} == {Q("Q4.3")}


def test_two_names_of_a_group_may_agree():
    assert session(CHAIN, {"c": "Q2.5", "p": "Q2.5"}, qformat="Q4.3").formats["r"] == Q("Q2.5")


PRESERVING = {
    "Reshape": ("Reshape", "x shape", "y"),
    "Flatten": ("Flatten", "x", "y"),
    "Transpose": ("Transpose", "x", "y"),
    "Slice": ("Slice", "x from to", "y"),
    "Squeeze": ("Squeeze", "x from", "y"),
    "Tile": ("Tile", "x times", "y"),
    "Pad": ("Pad", "x pads", "y"),
    "Identity": ("Identity", "x", "y"),
    "Gather": ("Gather", "x i", "y"),
    "MaxPool": ("MaxPool", "x", "y", {"kernel_shape": [2, 2]}),
    "GlobalMaxPool": ("GlobalMaxPool", "x", "y"),
    "ReduceMax": ("ReduceMax", "x", "y"),
    "nearest": ("Resize", "x - scales", "y", {"mode": "nearest"}),
    "Clip": ("Clip", "x", "y"),
    "Expand": ("Expand", "x wide", "y"),
}
NOT_PRESERVING = {
    "Sigmoid": ("Sigmoid", "x", "y"),
    "Add": ("Add", "x k", "y"),
    "Max": ("Max", "x k", "y"),
    "AveragePool": ("AveragePool", "x", "y", {"kernel_shape": [2, 2]}),
    "linear": ("Resize", "x - scales", "y", {"mode": "linear"}),
    "ReduceMean": ("ReduceMean", "x", "y"),
    "Softmax": ("Softmax", "x", "y"),
}
INDICES = {
    "shape": [3, 30],
    "from": [0],
    "to": [1],
    "times": [1, 1, 2, 2],
    "pads": [0, 0, 1, 1, 0, 0, 1, 1],
    "i": [0, 0],
    "scales": [1.0, 1.0, 2.0, 2.0],
    "wide": [2, 3, 6, 5],
}


@pytest.mark.parametrize("kind", [*PRESERVING, *NOT_PRESERVING])
def test_which_operators_hand_their_format_through(kind):
    node = (PRESERVING | NOT_PRESERVING)[kind]
    s = session([node], {"x": "Q2.5"}, qformat="Q4.3", constants=INDICES)
    assert s.formats["y"] == Q("Q2.5" if kind in PRESERVING else "Q4.3")
    (codes,) = s.run(None, {"x": X}, raw=True)
    real = s.run(None, {"x": X})[0]
    np.testing.assert_array_equal(real, qengine.dequantize(codes, s.formats["y"]))


def test_all_outputs_of_a_split_are_in_the_group():
    s = session(
        [("Split", "x", "a y z", {"axis": 1}), ("Relu", "a", "r")], {"r": "Q2.5"}, qformat="Q4.3", outputs=["y", "r"]
    )
    assert {s.formats[name] for name in "xayzr"} == {Q("Q2.5")}


def test_a_table_that_is_looked_up_has_the_format_of_what_comes_out():
    nodes = [("Gather", "E i", "g"), ("Transpose", "g", "y")]
    inputs, constants = {"i": (np.int64, ["N"])}, {"E": weights(5, 2)}
    s = session(nodes, qformat="Q4.3", inputs=inputs, constants=constants)
    assert s.formats == dict.fromkeys("Egy", Q("Q4.3"))
    s = session(nodes, {"E": "Q0.7"}, qformat="Q4.3", inputs=inputs, constants=constants)
    assert s.formats == dict.fromkeys("Egy", Q("Q0.7"))
    (y,) = s.run(None, {"i": np.array([4, 1])})
    np.testing.assert_allclose(y, np.clip(weights(5, 2), -1, 127 / 128)[[4, 1]].T, atol=2**-8)


@pytest.mark.parametrize("computed", ["Transpose", "Mul"])
def test_a_table_that_is_computed_from_constants(computed):
    nodes = [
        {"Transpose": ("Transpose", "E", "F"), "Mul": ("Mul", "E k", "F")}[computed],
        ("Gather", "F i", "y"),
    ]
    wanted = weights(5, 2).T if computed == "Transpose" else weights(5, 2) * 3
    inputs, constants = {"i": (np.int64, ["N"])}, {"E": weights(5, 2)}
    s = session(nodes, qformat="Q2.13", inputs=inputs, constants=constants)
    assert s.formats == dict.fromkeys("Fy", Q("Q2.13"))
    (y,) = s.run(None, {"i": np.array([1, 0])})
    np.testing.assert_allclose(y, wanted[[1, 0]], atol=2**-14)


def test_a_long_chain_shares_one_format():
    nodes = [("Relu", f"t{i}", f"t{i + 1}") for i in range(1500)]
    model = network(nodes, inputs={"t0": [1]}, outputs=["t1500"])
    s = qengine.InferenceSession(model, qformat="Q4.3", formats={"t7": "Q2.5"})
    assert {str(form) for form in s.formats.values()} == {"Q2.5"}
    assert len(s.formats) == 1501


def test_real_numbers_and_what_may_be_some():
    values = {
        "real": Value("real", np.dtype(np.float16)),
        "whole": Value("whole", np.dtype(np.int32)),
        "untyped": Value("untyped"),
        "sequence": Value("sequence", np.dtype(np.float32), container="seq(tensor(float))"),
    }
    constants = {"c": np.float32([1]), "i": np.int64([1])}
    graph = Graph("g", (), (), (), constants, values)
    assert [is_real(name, graph) for name in ("real", "c", "untyped", "absent", "whole", "i", "sequence")] == [
        True, True, False, False, False, False, False
    ]  # fmt: skip
    assert [may_be_real(name, graph) for name in ("real", "c", "untyped", "absent", "whole", "i", "sequence")] == [
        True, True, True, True, False, False, False
    ]  # fmt: skip


def test_known_tensors_are_in_no_group():
    nodes = [("Shape", "x", "s"), ("Cast", "s", "f", {"to": 1}), ("Identity", "f", "g"), ("Relu", "x", "y")]
    graph = load(network(nodes, outputs=["y", "g"]))
    groups = format_groups(graph, known_tensors(graph))
    assert {name: group.members for name, group in groups.items()} == {"x": {"x", "y"}, "y": {"x", "y"}}
