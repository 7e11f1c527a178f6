"""What blame refuses, and what it leaves without a figure."""

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession
from qengine.analysis.blame import blame
from qengine.errors import FeedError, FormatError, OptionError, UnsupportedError

W1 = weights(6, 5, seed=1)
PERCEPTRON = network(
    [("Gemm", "x w1", "h"), ("Relu", "h", "r"), ("Gemm", "r w2", "y")],
    inputs={"x": ["N", 6]},
    constants={"w1": W1, "w2": weights(5, 3, seed=3)},
)
FORMATS = {"x": "Q2.5", "w1": "Q1.6", "r": "Q2.3", "w2": "Q1.4", "y": "Q3.4"}


def test_what_cannot_be_done_is_said():
    data = [{"x": weights(4, 6, seed=seed)} for seed in range(3)]
    fixed = InferenceSession(PERCEPTRON, formats=FORMATS)
    with pytest.raises(OptionError, match="nothing is rounded in float32: give the session a qformat or formats"):
        blame(InferenceSession(PERCEPTRON), data)
    with pytest.raises(FeedError, match="the feeds are empty"):
        blame(fixed, [])
    with pytest.raises(FeedError, match="run 2 of the data: input 'x' needs shape"):
        blame(fixed, [data[0], {"x": np.zeros((4, 7), np.float32)}])
    with pytest.raises(OptionError, match="the model has no tensor 'z'"):
        blame(fixed, data, outputs=["z"])
    indices = network([("Gemm", "x w1", "h"), ("ArgMax", "h", "y")], inputs={"x": [2, 6]}, constants={"w1": W1})
    with pytest.raises(
        UnsupportedError,
        match="and 'y' has none: name a tensor",
    ):
        blame(InferenceSession(indices, qformat="Q3.4"), [{"x": weights(2, 6)}])
    decided = network([("NonZero", "x", "n"), ("Cast", "n", "y", {"to": 1})], inputs={"x": [2, 6]})
    with pytest.raises(UnsupportedError, match=r"'y' is \[2, 12\] in float32 and \[2, 10\] with tensors rounded"):
        blame(InferenceSession(decided, qformat="Q3.4"), [{"x": weights(2, 6)}])
    small = InferenceSession(PERCEPTRON, formats=FORMATS, max_memory="16K")
    with pytest.raises(UnsupportedError, match=r"every tensor of a run, .* needs 32\.8 KiB"):
        blame(small, [{"x": weights(200, 6)}])
    logs = network([("Log", "x", "l"), ("Softplus", "l", "y")], inputs={"x": [3]})
    with pytest.raises(FormatError, match="tensor 'y' became NaN in float32"):
        blame(InferenceSession(logs, qformat="Q3.4"), [{"x": np.float32([1, -1, 2])}])


def test_what_rounding_makes_nan_has_no_figure():
    """Rounded to 0, a number divided by itself is NaN in float32; the run in fixed point has a rule."""
    model = network([("Abs", "x", "a"), ("Div", "x a", "d"), ("Neg", "d", "y")], inputs={"x": [2, 6]})
    x = np.full((2, 6), 0.3, np.float32)
    x[0, 0] = 0.01
    found = blame(InferenceSession(model, qformat="Q4.3"), [{"x": x}] * 2, groups={"both": ["x", "y"]})
    assert found.sqnr_db is not None
    assert (found.rounded_db, found.activations_db) == (None, None)
    assert all(one.all_but_db is None and one.gain_db is None for one in (*found.tensors, *found.groups))
    assert found["y"].output_db > 15
    assert any("no figure with all tensors rounded: " in note and "became NaN" in note for note in found.notes)
    assert "no SQNR with all tensors rounded" in found.verdict[0]
