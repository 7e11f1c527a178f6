"""The least code under a symmetric overflow: operators that write codes raise it, those that move codes keep it."""

import numpy as np
from deploy.c.running import differences, needs_gcc
from networks import network

from qengine import InferenceSession
from qengine.model.rules import Modes, Rules
from qengine.qformat import Overflow, Rounding

pytestmark = needs_gcc

# operator, constants after its first input, attributes
MOVES = {
    "gather elements": ("GatherElements", (np.array([[[0, 1, 0, 1, 2, 1]] * 3] * 2),), {"axis": 2}),
    "gather slices": ("GatherND", (np.array([[0, 1], [1, 2]]),), {}),
    "reverse sequence": ("ReverseSequence", (np.array([2, 3]),), {"time_axis": 1, "batch_axis": 0}),
    "trilu": ("Trilu", (), {}),
    "crop": ("CenterCropPad", (np.array([2, 8]),), {"axes": [1, 2]}),
    "crop to the same": ("CenterCropPad", (np.array([3, 6]),), {"axes": [1, 2]}),
    "scatter": ("ScatterElements", (np.array([[[0, 1]] * 3] * 2), np.float32([[[0.5, -9]] * 3] * 2)), {"axis": 2}),
    "scatter slices": ("ScatterND", (np.array([[0, 1], [1, 2]]), np.float32([[0.5] * 6, [-9] * 6])), {}),
    "pad": ("Pad", (np.array([0, 1, 1, 0, 1, 1]), np.float32(-9)), {}),
    "slice": ("Slice", (np.array([0, 1]), np.array([2, 3])), {}),
    "clip": ("Clip", (np.float32(-9),), {}),
    "identity": ("Identity", (), {}),
    "largest": ("ReduceMin", (np.array([1]),), {}),
}
RULES = Rules(Rounding.HALF_UP, Overflow.SYMMETRIC, kinds={"inputs": Modes(None, Overflow.SATURATE)})


def test_the_least_code(tmp_path):
    x = np.clip(np.round(np.random.default_rng(0).standard_normal((2, 3, 6)) * 6), -8, 8).astype(np.float32)
    cases, least = [], {}
    for name, (operator, constants, attributes) in MOVES.items():
        named = {f"c{i}": array for i, array in enumerate(constants)}
        nodes = [(operator, " ".join(["x", *named]), "y", attributes)]
        model = network(nodes, inputs={"x": [2, 3, 6]}, constants=named, opset=21)
        session = InferenceSession(model, qformat="Q3.4", rules=RULES, isa="reference")
        cases.append((session, [{"x": x}]))
        least[name] = int(session.run(None, {"x": x}, raw=True)[0].min())
    assert set(least.values()) >= {-128, -127}, least
    assert differences(cases, tmp_path) == []
