"""The verdict: one culprit, a group, all together, and noises that do not just add up."""

import re

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession
from qengine.analysis.blame import blame

GOOD = {"x": "Q2.13", "w": "Q2.13", "h": "Q3.12", "v": "Q2.13", "g": "Q3.12", "u": "Q2.13", "y": "Q4.11"}
MODEL = network(
    [("Gemm", "x w", "h"), ("Gemm", "h v", "g"), ("Gemm", "g u", "y")],
    inputs={"x": ["N", 6]},
    constants={"w": weights(6, 8, seed=1), "v": weights(8, 8, seed=2), "u": weights(8, 4, seed=3)},
)
FEEDS = [{"x": np.random.default_rng(5).normal(0, 0.7, (40, 6)).astype(np.float32)}]


def verdict(changed, groups=None):
    session = InferenceSession(MODEL, formats={**GOOD, **changed})
    return " / ".join(blame(session, FEEDS, groups=groups).verdict)


@pytest.mark.parametrize(
    ("changed", "groups", "said"),
    [
        ({}, None, "the output is as good as"),
        ({"h": "Q3.1"}, None, "mend 'h' first: without its rounding, the output has"),
        ({"h": "Q14.1"}, None, r"Try Q\d+\.\d+ \(\d+ fewer integer bits\)"),
        ({"h": "Q3.3", "g": "Q3.2", "w": "Q2.5", "v": "Q2.5", "y": "Q4.2"}, None, "no tensor is to blame by itself: "),
        ({"h": "Q3.1", "g": "Q3.1", "v": "Q2.1"}, {"both": ["h", "g", "v"]}, "Mend the group 'both': without its"),
        (
            {"h": "Q3.3", "g": "Q3.2", "w": "Q2.5", "v": "Q2.5", "y": "Q4.2"},
            ".",
            "costs most, .* make 90%",
        ),
        ({"w": "Q2.1", "v": "Q2.1", "u": "Q2.1"}, None, "Constants make most of it: give them a "),
        ({"x": "Q2.3", "h": "Q3.3", "g": "Q3.2", "y": "Q4.2"}, None, "Inputs and activations make most of it"),
    ],
)
def test_verdicts(changed, groups, said):
    found = verdict(changed, groups)
    assert re.search(said, found), found


def test_a_model_that_loses_nothing():
    model = network([("Relu", "x", "y")], inputs={"x": [1, 3]})
    found = blame(InferenceSession(model, qformat="Q3.4"), [{"x": np.float32([[1, -2, 0.5]])}])
    assert found.verdict == ("nothing is lost at the output: there is nothing to mend",)


def test_noises_that_cancel():
    """The same rounding of two equal tensors, one taken from the other: alone each is noise, together there is none."""
    model = network(
        [("MatMul", "x one", "a"), ("MatMul", "x uno", "b"), ("Sub", "a b", "d"), ("Add", "d x", "y")],
        inputs={"x": [10, 5]},
        constants={"one": np.eye(5, dtype=np.float32), "uno": np.eye(5, dtype=np.float32)},
    )
    formats = {"x": "Q3.12", "one": "Q1.6", "uno": "Q1.6", "a": "Q3.2", "b": "Q3.2", "d": "Q3.12", "y": "Q3.12"}
    feeds = [{"x": np.random.default_rng(5).normal(size=(10, 5)).astype(np.float32)}]
    found = blame(InferenceSession(model, formats=formats), feeds)
    assert found.rounded_db > 50 > 25 > found["a"].output_db
    assert found["a"].gain_db < -20
    assert found.sum_db < found["a"].output_db


def test_noises_that_compound():
    """Either rounding alone keeps the product at 0, both together do not."""
    model = network(
        [("Mul", "x one", "a"), ("Mul", "z uno", "b"), ("Mul", "a b", "p"), ("Mul", "p big", "q"), ("Add", "q x", "y")],
        inputs={"x": [64], "z": [64]},
        constants={"one": np.float32(1.0), "uno": np.float32(1.0), "big": np.float32(4.0)},
    )
    formats = dict.fromkeys(("x", "z", "p", "q", "y", "one", "uno", "big"), "Q3.12") | {"a": "Q3.1", "b": "Q3.1"}
    formats["q"] = "Q5.10"
    feeds = [{"x": np.full(64, 0.26, np.float32), "z": np.full(64, 0.26, np.float32)}]
    found = blame(InferenceSession(model, formats=formats), feeds)
    assert found["a"].output_db > found.rounded_db
    assert found.sum_db > found.rounded_db
    assert found["a"].gain_db > 3
