"""Absorption of high biases: the model computes the same where channels stay above 0, and needs less range."""

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, calibrate
from qengine.metrics.sqnr import sqnr
from qengine.model.loader import load
from qengine.quantization.correction import correct
from qengine.quantization.correction.absorption import absorb
from qengine.quantization.correction.statistics import channel_normals

SECONDS = {
    "conv": (("Conv", "r w2", "y"), (5, 8, 3, 3)),
    "grouped": (("Conv", "r w2", "y", {"group": 2}), (6, 4, 1, 1)),
    "padded": (("Conv", "r w2", "y", {"pads": [1, 1, 1, 1]}), (5, 8, 3, 3)),
    "same": (("Conv", "r w2", "y", {"auto_pad": "SAME_UPPER"}), (5, 8, 3, 3)),
    "transposed": (("ConvTranspose", "r w2", "y"), (8, 5, 2, 2)),
}


def made(second, high=30.0):
    """Return a model with high channels after a BatchNormalization, of which some are not."""
    node, filters = SECONDS[second]
    nodes = [("Conv", "x w1", "c"), ("BatchNormalization", "c g b m v", "n"), ("Relu", "n", "r"), node]
    b = np.array([high, high, 0, -high, high, 1, high, 2], np.float32)
    constants = {"w1": weights(8, 3, 3, 3), "w2": weights(*filters, seed=1), "g": np.ones(8, np.float32), "b": b}
    constants |= {"m": np.zeros(8, np.float32), "v": np.full(8, 9, np.float32)}
    return load(network(nodes, inputs={"x": ["n", 3, 8, 7]}, constants=constants))


DATA = [{"x": weights(2, 3, 8, 7, seed=i)} for i in range(4)]


@pytest.mark.parametrize("second", SECONDS)
def test_the_model_computes_the_same(second):
    graph = made(second)
    found = absorb(graph, channel_normals(graph))
    wanted, y = (InferenceSession(one).run(None, DATA[0])[0] for one in (graph, found.graph))
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-3)
    is_done = second in ("conv", "grouped")
    assert [entry.is_done for entry in found.entries] == [is_done, False]
    if not is_done:
        assert "pads its input" in found.entries[0].text
        return
    before, after = (InferenceSession(one).run(["r"], DATA[0])[0] for one in (graph, found.graph))
    # beta - 3 gamma' with gamma' = sqrt(v / (v + epsilon)), of the channels that are high
    np.testing.assert_allclose((before - after).mean(axis=(0, 2, 3)), [27, 27, 0, 0, 27, 0, 27, 0], atol=0.01)


def test_it_helps_where_biases_are_high():
    graph = made("conv")

    def formats_of(g):  # the output itself is hardly rounded
        return {**calibrate(g, DATA, bits=8, weight_bits=16).formats, "y": calibrate(g, DATA, bits=16)["y"]}

    exact = np.array([InferenceSession(graph).run(None, f)[0] for f in DATA])

    def quality(recipe):
        found = correct(graph, formats_of, DATA, recipe)
        fixed = InferenceSession(found.graph, formats=found.formats)
        signal = exact - exact.mean(axis=(0, 1, 3, 4), keepdims=True)  # without the offset
        noise = np.array([fixed.run(None, f)[0] for f in DATA]) - exact
        return sqnr(signal, signal + noise)

    assert quality("fold+absorb") > quality("fold") + 6
    verdicts = {one.step: one.is_kept for one in correct(graph, formats_of, DATA).verdicts}
    assert verdicts["absorb"]


def test_channels_that_equalization_has_divided():
    graph = made("conv")
    found = correct(graph, lambda g: calibrate(g, DATA, bits=16), DATA, "fold+equalize+absorb")
    wanted, y = (InferenceSession(one).run(None, DATA[0])[0] for one in (graph, found.graph))
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-3)
    assert any(entry.is_done for entry in found.entries if entry.correction == "absorb")


def test_nothing_is_high():
    graph = made("conv", high=1.0)
    found = absorb(graph, channel_normals(graph))
    assert [entry.text for entry in found.entries] == [
        "no channel stays far above 0",
        "'y' is an output of the model",
    ]
