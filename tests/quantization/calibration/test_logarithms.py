"""Logarithms of values that a format holds in a few steps are told by name, with what would help."""

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession, calibrate
from qengine.metrics.sqnr import sqnr

RNG = np.random.default_rng(7)
DECADES = (10 ** RNG.uniform(-4, 1, (4, 64)) * RNG.choice([-1, 1], (4, 64))).astype(np.float32)
MIX = ("MatMul", "q w", "s")  # without it all is one table of x
SQUARES = {
    "a square": [("Mul", "x x", "q"), MIX],
    "a power": [("Pow", "x two", "q"), MIX],
    "a sum": [("Unsqueeze", "x last", "u"), ("ReduceSumSquare", "u last", "q", {"keepdims": 0}), MIX],
}


def model(nodes, limit=1e-12):
    after = [("Max", "s least", "m"), ("Log", "m", "l"), ("Mul", "l half", "y")]
    constants = {
        "two": 2.0,
        "half": 0.5,
        "far": 16.0,
        "least": limit,
        "last": np.int64([-1]),
        "w": np.eye(64, dtype=np.float32),
    }
    named = {name for _, names, *_ in nodes for name in names.split()} | {"least", "half"}
    return network(
        [*nodes, *after], inputs={"x": [4, 64]}, constants={k: v for k, v in constants.items() if k in named}, opset=18
    )


@pytest.mark.parametrize("name", SQUARES)
def test_a_logarithm_of_squares(name):
    one = model(SQUARES[name])
    (note,) = [n for n in calibrate(one, [{"x": DECADES}], bits=16).notes if "(Log)" in n]
    square = "u" if name == "a sum" else "x"
    assert f"(Log) reads 's', sums of squares of '{square}': of steps of " in note.replace("'m'", "'s'")
    assert "take the logarithm of magnitudes instead of squares, or compute this part in float32" in note


def test_what_it_says_is_about_what_is_lost():
    one = model(SQUARES["a square"])
    found = calibrate(one, [{"x": DECADES}], bits=16)
    (told,) = [int(n.split(" has about ")[1].split()[0]) for n in found.notes if "(Log)" in n]
    exact, given = (InferenceSession(one, formats=formats).run(None, {"x": DECADES})[0] for formats in (None, found))
    assert told == pytest.approx(sqnr(exact, given), abs=4)


@pytest.mark.parametrize(
    ("nodes", "limit", "bits"),
    [
        ([("Abs", "x", "q"), MIX], 0.1, 16),  # nothing is counted below the limit
        ([("Add", "x far", "q"), MIX], 1e-12, 16),
        ([("Add", "x far", "q"), MIX], 1e-12, 8),
    ],
)
def test_nothing_is_said_where_it_is_good_enough(nodes, limit, bits):
    assert not [n for n in calibrate(model(nodes, limit), [{"x": DECADES}], bits=bits).notes if "(Log)" in n]


def test_short_words_are_told_to_be_longer():
    notes = calibrate(model([("Abs", "x", "q"), MIX]), [{"x": DECADES}], bits=8).notes
    (note,) = [n for n in notes if "(Log)" in n]
    assert "give it 16 bits, or compute this part" in note
    assert "squares" not in note


@pytest.mark.parametrize(
    ("bound", "is_told"),
    [(("Clip", "q - far", "m"), True), (("Clip", "q far", "m"), False), (("Clip", "q", "m"), True)],
)
def test_the_upper_limit_of_a_clip_bounds_nothing_from_below(bound, is_told):
    nodes = [("Abs", "x", "a"), ("MatMul", "a w", "q"), bound, ("Log", "m", "y")]
    constants = {"w": np.eye(64, dtype=np.float32)} | ({"far": 16.0} if "far" in bound[1] else {})
    found = calibrate(network(nodes, inputs={"x": [4, 64]}, constants=constants), [{"x": DECADES}], bits=8)
    assert any("(Log)" in note for note in found.notes) == is_told


def test_a_logarithm_of_constants_says_nothing():
    nodes = [("Add", "one two", "s"), ("Log", "s", "l"), ("Mul", "x l", "y")]
    found = calibrate(network(nodes, constants={"one": 1.0, "two": 2.0}), [{"x": np.ones((1, 3, 6, 5), np.float32)}])
    assert not [note for note in found.notes if "(Log)" in note]
