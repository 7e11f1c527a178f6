"""Calibration without data: distributions that are followed are those of a large sample."""

import json

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, calibrate, cli, zoo
from qengine.errors import UnsupportedError
from qengine.metrics.sqnr import sqnr
from qengine.model.loader import load
from qengine.quantization.calibration import CalibrationOptions
from qengine.quantization.data_free import calibrate_without_data, observe_without_data

G, B = np.array([0.5, 2, 1, 3], np.float32), np.array([1, -1, 0, 4], np.float32)
NORM = {"g": G, "b": B, "m": np.zeros(4, np.float32), "v": np.ones(4, np.float32)}
Z = np.random.default_rng(0).standard_normal((4, 200_000))
X = B[:, None] + G[:, None] * Z  # a large sample of what the BatchNormalization gives


def observed(nodes, constants=None, **options):
    nodes = [("BatchNormalization", "x g b m v", "n"), *nodes]
    graph = load(network(nodes, inputs={"x": ["n", 4, 5, 5]}, constants={**NORM, **(constants or {})}, **options))
    return observe_without_data(graph).histograms


def moments(histogram):
    cells = histogram.cells()
    values, total = cells.sign * (cells.low + cells.width / 2), cells.count.sum() + histogram.zeros
    mean = (values * cells.count).sum() / total
    return mean, np.sqrt((values**2 * cells.count).sum() / total - mean**2)


C = np.array([3.0, -1, 2, 0.5], np.float32).reshape(4, 1, 1)
FUNCTIONS = {
    "normalized": ([("Identity", "n", "y")], {}, X),
    "relu": ([("Relu", "n", "y")], {}, np.maximum(X, 0)),
    "sigmoid": ([("Sigmoid", "n", "y")], {}, 1 / (1 + np.exp(-X))),
    "per channel": ([("Mul", "n c", "y")], {"c": C}, X * C[:, 0]),
    "spelled": (
        [("Add", "n three", "a"), ("Clip", "a zero six", "c"), ("Mul", "n c", "d"), ("Div", "d six", "y")],
        {"three": 3.0, "zero": 0.0, "six": 6.0},
        X * np.clip(X + 3, 0, 6) / 6,
    ),
    "a pool": ([("Relu", "n", "r"), ("MaxPool", "r", "y", {"kernel_shape": [1, 1]})], {}, np.maximum(X, 0)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_a_normal_distribution(name):
    nodes, constants, sample = FUNCTIONS[name]
    mean, deviation = moments(observed(nodes, constants)["y"])
    assert mean == pytest.approx(sample.mean(), abs=0.02)
    assert deviation == pytest.approx(sample.std(), rel=0.02)


def test_sums_of_independent_inputs():
    w, other = weights(6, 4, 1, 1), np.random.default_rng(1).standard_normal(X.shape) * G[:, None] + B[:, None]
    found = observed([("Relu", "n", "r"), ("Conv", "r w k", "y")], {"w": w, "k": weights(6)})
    sample = w[:, :, 0, 0] @ np.maximum(X, 0) + weights(6)[:, None]
    mean, deviation = moments(found["y"])
    assert mean == pytest.approx(sample.mean(), abs=0.02)
    assert deviation == pytest.approx(sample.std(), rel=0.02)
    second = [("BatchNormalization", "x g b m v", "o")]
    for operator, sample in (("Add", X + other), ("Mul", X * other), ("Sub", X - other)):
        mean, deviation = moments(observed([*second, (operator, "n o", "y")])["y"])
        assert mean == pytest.approx(sample.mean(), abs=0.05)
        assert deviation == pytest.approx(sample.std(), rel=0.03)
    # The same tensor twice is no sum of independent ones.
    assert moments(observed([("Sub", "n n", "y")])["y"]) == (0, 0)


def test_it_is_nearly_as_good_as_data():
    graph = load(zoo.find("digits").path)
    images = zoo.find("digits").sample().feeds["image"]
    options = CalibrationOptions(bits=8, per_channel=True, unsigned=True)
    without = calibrate_without_data(graph, options)
    assert set(without) == set(calibrate(graph, [{"image": images[:10]}], options))
    (exact,) = InferenceSession(graph).run(None, {"image": images[:200]})
    (fixed,) = InferenceSession(graph, formats=without).run(None, {"image": images[:200]})
    assert sqnr(exact, fixed) > 24
    assert "no data was read" in without.notes[0]


def test_models_without_statistics():
    graph = load(network([("Conv", "x w", "y")], constants={"w": weights(4, 3, 3, 3)}))
    with pytest.raises(UnsupportedError, match="no BatchNormalization whose statistics tell its ranges"):
        observe_without_data(graph)


def test_the_command(capsys, tmp_path):
    out = tmp_path / "f.json"
    assert cli.main(["calibrate", "digits", "--data-free", "--bits", "8", "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["data"], told["samples"], told["runs"], told["digest"]) == (None, 0, 0, None)
    assert json.loads(out.read_text()) == told["formats"]
    assert cli.main(["calibrate", "digits", "--data-free"]) == 0
    assert "no data" in capsys.readouterr().out
    assert cli.main(["calibrate", "digits", "--data-free", "--data", "digits"]) == 2
