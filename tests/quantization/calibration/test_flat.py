"""Formats that depend on readers: of what only flat functions read, and of cells that nothing outside reads."""

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession, calibrate
from qengine.quantization.calibration.error import squared_error
from qengine.quantization.calibration.histogram import Histogram

X = np.random.default_rng(3).normal(0, 3, (4, 1, 40)).astype(np.float32)
FEEDS = [{"x": x} for x in X]  # up to 11


CASES = {  # nodes, the format of x at 8 bits and at 16
    "tanh": ([("Tanh", "x", "y")], "Q2.5", "Q3.12"),
    "sigmoid": ([("Sigmoid", "x", "y")], "Q3.4", "Q5.10"),
    "hard": ([("HardSigmoid", "x", "y", {"alpha": 0.5, "beta": 0.5})], "Q1.6", "Q1.14"),
    "moved": ([("Reshape", "x s", "r"), ("Tanh", "r", "t"), ("MatMul", "t w", "y")], "Q2.5", "Q3.12"),
    "two": ([("Tanh", "x", "a"), ("Sigmoid", "x", "b"), ("MatMul", "a w", "c"), ("Add", "b c", "y")], "Q3.4", "Q5.10"),
    "read by another": ([("Tanh", "x", "a"), ("MatMul", "x w", "b"), ("Add", "a b", "y")], "Q4.3", "Q5.10"),
    "a chain": ([("Sigmoid", "x", "a"), ("Log", "a", "y")], "Q4.3", "Q5.10"),
}


@pytest.mark.parametrize("name", CASES)
def test_formats_of_what_flat_functions_read(name):
    nodes, short, long = CASES[name]
    constants = {"w": weights(40, 40), "s": np.array([1, 40])}
    model = network(nodes, inputs={"x": [1, 40]}, constants=constants)
    for bits, wanted in ((8, short), (16, long)):
        assert calibrate(model, FEEDS, bits=bits)["x"] == wanted
    assert calibrate(model, FEEDS, bits=8, method="max")["x"] == "Q4.3"


def test_small_results_keep_their_arguments():
    # Sigmoid(-9) is 10^-4: results that are all so small have a format in which they differ.
    model = network([("Sigmoid", "x", "y")], inputs={"x": [1, 40]})
    feeds = [{"x": x - 16} for x in X]
    found = calibrate(model, feeds, bits=8)
    (got,), (exact,) = (InferenceSession(model, **one).run(None, feeds[0]) for one in ({"formats": found}, {}))
    assert np.abs(got - exact).max() < exact.max() / 4


def test_gates():
    rng = np.random.default_rng(0)
    w, r = (rng.normal(0, 3, (1, 24, n)).astype(np.float32) for n in (5, 6))
    model = network([("LSTM", "x w r", "y", {"hidden_size": 6})], inputs={"x": [9, 1, 5]}, constants={"w": w, "r": r})
    feeds = [{"x": rng.normal(0, 1, (9, 1, 5)).astype(np.float32)} for _ in range(4)]
    found = {one.name: one for one in calibrate(model, feeds, bits=8).tensors}["y (gates)"]
    assert max(-found.least, found.most) > 16
    assert found.format == "Q3.4"


@pytest.mark.parametrize("limit", [1e-6, 0.7, 4.0, 50.0])
def test_a_clipped_histogram_is_that_of_clipped_values(limit):
    values = np.random.default_rng(1).normal(0, 3, 10000).astype(np.float32)
    whole, wanted = Histogram(), Histogram()
    whole.add(values)
    whole.end_run(float(values.min()), float(values.max()))
    wanted.add(np.clip(values, -np.float32(limit), np.float32(limit)))
    found = whole.clipped(limit)
    assert found.finite == values.size
    assert (found.least, found.most) == pytest.approx((wanted.least, wanted.most))
    for n in (2, 4, 6):
        fmt = qengine.QFormat(0, 7).with_fraction_bits(n)
        assert squared_error(found.cells(), fmt) == pytest.approx(squared_error(wanted.cells(), fmt), rel=0.5, abs=0.2)
    assert found.runs == (whole.runs if limit == 50 else 0)


def lstm():
    """Return a small LSTM that adds up over many steps."""
    rng = np.random.default_rng(0)
    w, r = (rng.normal(0, 1, (1, 24, n)).astype(np.float32) for n in (5, 6))
    nodes = [("LSTM", "x w r", "y", {"hidden_size": 6})]
    constants = {"w": w, "r": r}
    model = network(nodes, inputs={"x": [30, 1, 5]}, constants=constants)
    return model, [{"x": rng.normal(0, 1, (30, 1, 5)).astype(np.float32)} for _ in range(4)]


def test_cells_of_16_bits_are_read_back():
    model, feeds = lstm()
    quantized = qengine.quantize_model(model, feeds, bits=8)
    back = InferenceSession(quantized.model)
    assert str(back.formats["y (cell)"]) == str(quantized.session.formats["y (cell)"])
    for one in feeds:
        wanted = quantized.session.run(None, one, raw=True)[0]
        for isa in (None, "generic", "reference"):
            assert np.array_equal(InferenceSession(quantized.model, isa=isa).run(None, one, raw=True)[0], wanted)
