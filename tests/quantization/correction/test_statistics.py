"""Means of channels behind a BatchNormalization: the integral over the normal distribution, where there is one."""

import numpy as np
import pytest
from networks import network

from qengine.model.loader import load
from qengine.quantization.correction import expected_means

GAMMA, BETA = np.float32([-2.0, 0.5, 1.5, 0.0]), np.float32([0.3, -1.0, 2.0, 0.25])
VARIANCE = np.float32([1e-3, 1.0, 5.0, 1.0])
Z = np.linspace(-14, 14, 400_001)
CONSTANTS = {"g": GAMMA, "b": BETA, "m": np.float32([5, 6, 7, 8]), "v": VARIANCE, "low": -0.5, "high": 1.25}


def means_of(*nodes, opset=17, epsilon=None, **inputs):
    norm = ("BatchNormalization", "x g b m v", "n", {} if epsilon is None else {"epsilon": epsilon})
    shapes = {"x": [1, 4, 6, 6], **inputs}
    return expected_means(load(network([norm, *nodes], inputs=shapes, constants=CONSTANTS, opset=opset)))


def integral(function, epsilon=1e-5):
    """Return the mean of a function of each channel."""
    deviation = np.abs(GAMMA.astype(float)) * np.sqrt(VARIANCE / (VARIANCE.astype(float) + np.float32(epsilon)))
    density = np.exp(-Z * Z / 2) / np.sqrt(2 * np.pi)
    return np.array([np.trapezoid(function(b + s * Z) * density, Z) for b, s in zip(BETA, deviation, strict=True)])


@pytest.mark.parametrize(
    ("node", "opset", "function"),
    [
        (("Identity", "n", "y"), 17, lambda x: x),
        (("Relu", "n", "y"), 17, lambda x: np.maximum(x, 0)),
        (("LeakyRelu", "n", "y"), 17, lambda x: np.where(x < 0, 0.01 * x, x)),
        (("LeakyRelu", "n", "y", {"alpha": 0.3}), 17, lambda x: np.where(x < 0, 0.3 * x, x)),
        (("Clip", "n low high", "y"), 17, lambda x: np.clip(x, -0.5, 1.25)),
        (("Clip", "n low", "y"), 17, lambda x: np.maximum(x, -0.5)),
        (("Clip", "n - high", "y"), 17, lambda x: np.minimum(x, 1.25)),
        (("Clip", "n", "y", {"min": 0.0, "max": 6.0}), 10, lambda x: np.clip(x, 0, 6)),
        (("Clip", "n", "y", {"max": 0.5}), 10, lambda x: np.minimum(x, 0.5)),
    ],
)
@pytest.mark.parametrize("epsilon", [None, 0.01])
def test_means_are_integrals(node, opset, function, epsilon):
    means = means_of(node, opset=opset, epsilon=epsilon)
    wanted = integral(function, 1e-5 if epsilon is None else epsilon)
    np.testing.assert_allclose(means["y"], wanted, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(means["n"], BETA, rtol=1e-12)


@pytest.mark.parametrize("operator", ["Identity", "Dropout"])
def test_a_copy_has_the_same_distribution(operator):
    means = means_of((operator, "n", "c"), ("Relu", "c", "y"))
    np.testing.assert_allclose(means["y"], integral(lambda x: np.maximum(x, 0)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("attributes", "is_known"),
    [
        ({}, True),
        ({"pads": [1, 1, 1, 1]}, True),
        ({"count_include_pad": 1}, True),
        ({"count_include_pad": 1, "pads": [0, 0, 0, 0]}, True),
        ({"count_include_pad": 1, "pads": [0, 0, 1, 0]}, False),
        ({"count_include_pad": 1, "auto_pad": "SAME_UPPER"}, False),
        ({"count_include_pad": 1, "auto_pad": "VALID"}, True),
    ],
)
def test_padding_that_counts_changes_a_mean(attributes, is_known):
    means = means_of(("Relu", "n", "r"), ("AveragePool", "r", "y", {"kernel_shape": [2, 2], **attributes}))
    assert ("y" in means) is is_known
    if is_known:
        np.testing.assert_array_equal(means["y"], means["r"])


def test_computed_bounds_tell_nothing():
    assert "y" not in means_of(("Clip", "n least high", "y"), least=[])
    assert "y" not in means_of(("Clip", "n low most", "y"), most=[])
