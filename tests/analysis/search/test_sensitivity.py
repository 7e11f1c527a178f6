"""Sensitivities: the noise of a unit that is rounded alone, against a run in which it is rounded by hand."""

import numpy as np
import pytest
from networks import network, weights

import qengine
from qengine import InferenceSession, SessionOptions
from qengine.analysis.search.sensitivity import measure_sensitivity
from qengine.analysis.search.units import units_of
from qengine.data.datasets import Batch
from qengine.errors import QEngineError
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions, observe

W1, W2 = weights(4, 5, seed=1), weights(5, 3, seed=2)
MODEL = network(
    [("Gemm", "x w1", "h"), ("Relu", "h", "r"), ("Gemm", "r w2", "y")],
    inputs={"x": ["N", 4]},
    constants={"w1": W1, "w2": W2},
)
X = weights(12, 4, seed=3, scale=1.0)
BATCHES = [Batch({"x": X[:4]}, {}, None, 4), Batch({"x": X[4:8]}, {}, None, 4), Batch({"x": X[8:]}, {}, None, 4)]


@pytest.fixture(scope="module")
def units():
    options = CalibrationOptions(per_channel=False)
    return units_of(observe(load(MODEL), [{"x": X}]), options, (3, 6), (3, 6), SessionOptions())


def measured(units, samples=12, priced=None):
    longest = {name: form for unit in units for name, form in unit.tensor_formats[6].items()}
    done = []
    places = frozenset(range(len(units)) if priced is None else priced)
    found = measure_sensitivity(
        InferenceSession(MODEL, formats=longest), "y", units, places, BATCHES, samples, done.append
    )
    return {unit.name: each for unit, each in zip(units, found, strict=True)}, sum(done)


def rounded(array, unit, width):
    form = unit.spelled(width)
    return qengine.dequantize(qengine.quantize(array, form), form)


def by_hand(units, name, width, x=X):
    """Return the noise over signal with one tensor rounded in float64."""
    unit = {one.name: one for one in units}[name]
    arrays = {"x": x, "w1": W1, "w2": W2}
    if name in arrays:
        arrays[name] = rounded(arrays[name], unit, width)
    hidden = np.maximum(arrays["x"].astype(np.float64) @ arrays["w1"], 0)
    if name == "r":
        hidden = rounded(hidden, unit, width)
    exact = np.maximum(x.astype(np.float64) @ W1, 0) @ W2
    return np.sum((hidden @ arrays["w2"] - exact) ** 2) / np.sum(exact**2)


def test_it_is_the_noise_of_a_unit_alone(units):
    found, done = measured(units)
    assert done == pytest.approx(12)
    for name in ("x", "w1", "r", "w2"):
        for width in (3, 6):
            assert found[name][width] == pytest.approx(by_hand(units, name, width), rel=1e-4), (name, width)


@pytest.mark.parametrize("samples", [5, 8])
def test_only_the_first_samples_are_used(units, samples):
    found, done = measured(units, samples)
    assert done == pytest.approx(samples)  # although whole batches are run
    assert found["w1"][3] == pytest.approx(by_hand(units, "w1", 3, X[:8]), rel=1e-4)


def test_a_unit_without_a_cost_is_not_measured(units):
    found, _ = measured(units, priced=[1])
    assert [bool(each) for each in found.values()] == [False, True, False, False, False]


def test_an_error_names_the_run(units):
    longest = {name: form for unit in units for name, form in unit.tensor_formats[6].items()}
    session, bad = InferenceSession(MODEL, formats=longest), Batch({"x": X[:, :3]}, {}, None, 12)
    with pytest.raises(QEngineError, match="run 2 of the data"):
        measure_sensitivity(session, "y", units, frozenset({0}), [BATCHES[0], bad], 12, lambda _: None)
