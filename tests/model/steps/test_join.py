import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.analysis.report import compare


@pytest.mark.parametrize(("far", "fits"), [("Q-60.75", 0), ("Q60.-53", 2)])
def test_formats_that_are_far_apart(far, fits):
    """Aligned exactly, the inputs have more bits than int64; what is counted is what the exact numbers say."""
    model = network([("Concat", "a b", "y", {"axis": 0})], inputs={"a": [2], "b": [3]})
    step = 2.0 ** -int(far.split(".")[1])
    feeds = {"a": np.float32([0.5, -1]), "b": np.float32([0, 3 * step, -5 * step])}
    formats = {"a": "Q0.7", "b": far, "y": "Q0.7"}
    found = compare(InferenceSession(model, formats=formats), InferenceSession(model), feeds)
    y = found.tensors[-1]
    assert found.codes["y"].tolist() == [64, -128, 0, *([127, -128] if fits else [0, 0])]
    assert (y.name, y.saturated, y.underflowed, y.largest, y.elements) == ("y", fits, 2 - fits, 128, 5)
