"""Models whose data decides how a run continues: every figure against plain NumPy."""

import numpy as np
import pytest
from networks import network, weights
from onnx import TensorProto, helper

from qengine import InferenceSession, QFormat
from qengine.analysis.blame import blame

W, U, V = weights(6, 5, seed=1), weights(5, 5, seed=2, scale=0.4), weights(5, 4, seed=3)


def inner(nodes, inputs, outputs):
    """Return a graph inside of a node; shapes of outputs by name, None for a boolean."""
    infos = [
        helper.make_tensor_value_info(name, TensorProto.BOOL if shape is None else TensorProto.FLOAT, shape or [])
        for name, shape in outputs.items()
    ]
    made = [helper.make_node(op, i.split(), o.split()) for op, i, o in nodes]
    return helper.make_graph(made, "inner", inputs, infos)


BRANCHES = {
    "then_branch": inner([("Gemm", "h u", "g"), ("Relu", "g", "up")], [], {"up": ["N", 5]}),
    "else_branch": inner([("Neg", "h", "down")], [], {"down": ["N", 5]}),
}
BODY = inner(
    [("Gemm", "s u", "m"), ("Add", "m h", "t"), ("Mul", "t half", "n"), ("Identity", "go", "goes")],
    [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("s", TensorProto.FLOAT, ["N", 5]),
    ],
    {"goes": None, "n": ["N", 5]},
)
BRANCHED = network(
    [
        ("Gemm", "x w", "h"),
        ("ReduceSum", "h", "sum", {"keepdims": 0}),
        ("Greater", "sum zero", "is_up"),
        ("If", "is_up", "c", BRANCHES),
        ("Gemm", "c v", "y"),
    ],
    inputs={"x": ["N", 6]},
    constants={"w": W, "u": U, "v": V, "zero": 0.0},
)
LOOPED = network(
    [("Gemm", "x w", "h"), ("Loop", "count - h", "c", {"body": BODY}), ("Gemm", "c v", "y")],
    inputs={"x": ["N", 6], "count": (np.int64, [])},
    constants={"w": W, "u": U, "v": V, "half": np.float32([0.4] * 5)},
)
FORMATS = {
    **{"x": "Q2.5", "w": "Q1.6", "h": "Q2.4", "sum": "Q5.2", "u": "Q0.6", "c": "Q2.5", "v": "Q1.5", "y": "Q4.4"},
    **{"g": "Q2.4", "up": "Q2.4", "down": "Q3.2", "zero": "Q0.7"},
    **{"m": "Q2.5", "t": "Q3.4", "n": "Q2.5", "s": "Q2.5", "half": "Q0.5"},
}


def branched(feed, at):
    h = at("h", at("x", feed["x"]) @ at("w", W))
    c = at("up", np.maximum(h @ at("u", U), 0)) if at("sum", h.sum()) > 0 else at("down", -h)
    return at("y", at("c", c) @ at("v", V))


def looped(feed, at):
    s = h = at("h", at("x", feed["x"]) @ at("w", W))
    for _ in range(int(feed["count"])):
        t = at("t", at("m", s @ at("u", U)) + h)
        s = at("n", t * at("half", np.float64(np.float32(0.4))))
    return at("y", at("c", s) @ at("v", V))


X = weights(3, 6, seed=7)
CASES = {
    "If": (BRANCHED, branched, [{"x": X}, {"x": -X}], "x w h sum u up down c v y", "g zero"),
    "Loop": (LOOPED, looped, [{"x": X, "count": np.int64(n)} for n in (3, 1)], "x w h u m t half n c v y", "s"),
}


def sqnr(run, feeds, names):
    """Return the SQNR of float64 runs with tensors rounded to their formats, by the definition of both."""

    def rounding(name, array):
        exact = np.asarray(array, np.float64)
        if name not in names:
            return exact
        form = QFormat.parse(FORMATS[name])
        least, most = -(2 ** (form.bits - 1)), 2 ** (form.bits - 1) - 1
        return np.clip(np.rint(exact * 2.0**form.fraction_bits), least, most) / 2.0**form.fraction_bits

    pairs = [(run(feed, lambda _, array: np.asarray(array, np.float64)), run(feed, rounding)) for feed in feeds]
    noise = sum(np.sum((exact - other) ** 2) for exact, other in pairs)
    return 10 * np.log10(sum(np.sum(exact**2) for exact, _ in pairs) / noise) if noise else np.inf


@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_that_of_plain_numpy(case):
    model, run, feeds, names, others = CASES[case]
    names = names.split()
    used = {name: form for name, form in FORMATS.items() if name in [*names, *others.split()]}
    session = InferenceSession(model, formats=used)
    found = blame(session, feeds, groups={"weights": ["w", "u", "v"]})
    assert {one.name for one in found.tensors if one.output_db is not None} - {"zero"} == set(names)
    assert not any("not blamed" in note for note in found.notes)
    for name in names:
        one = found[name]
        assert one.output_db == pytest.approx(sqnr(run, feeds, [name]), abs=2e-3), name
        others = [other for other in names if other != name]
        assert one.all_but_db == pytest.approx(sqnr(run, feeds, others), abs=2e-3), name
    assert found.rounded_db == found.sqnr_db == pytest.approx(sqnr(run, feeds, names), abs=2e-3)
    (group,) = found.groups
    assert group.output_db == pytest.approx(sqnr(run, feeds, "wuv"), abs=2e-3)
    assert group.all_but_db == pytest.approx(sqnr(run, feeds, [n for n in names if n not in "wuv"]), abs=2e-3)
    inside = found["down" if case == "If" else "t"]
    assert (inside.sqnr_db, inside.own_db, inside.elements, inside.unused_bits) == (None, None, 0, 0)
    assert (found["h"].sqnr_db is None, found["v"].own_db is None) == (False, False)
