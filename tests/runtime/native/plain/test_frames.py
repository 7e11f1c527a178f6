"""Convolutions and pools over three spatial axes, on kernels for two."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network, weights
from runtime.native.native import ISAS, assert_same, both

X = {"x": [2, 6, 7, 8, 9]}
CONSTANTS = {
    **{"w": weights(20, 6, 3, 3, 2), "b": weights(20, seed=2), "g": weights(12, 2, 2, 3, 3, seed=3)},
    **{"v": weights(5, 20, 3, 1, 1, seed=4), "d": weights(6, 1, 3, 3, 3, seed=5)},
}
CHAINS = {
    "a convolution": [("Conv", "x w b", "y", {"pads": [1, 1, 0, 1, 1, 1]})],
    "strides and dilations": [
        ("Conv", "x w b", "y", {"pads": [3, 0, 1, 2, 0, 1], "strides": [2, 1, 2], "dilations": [2, 1, 1]})
    ],
    "groups": [("Conv", "x g", "y", {"group": 3, "pads": [0, 1, 1, 1, 0, 0]})],
    "depthwise": [("Conv", "x d", "y", {"group": 6, "pads": [1] * 6})],
    "padding deeper than the kernel": [("Conv", "x w", "y", {"pads": [4, 0, 0, 5, 0, 0]})],
    "a pool": [("MaxPool", "x", "y", {"kernel_shape": [3, 2, 2], "pads": [1, 0, 1, 0, 1, 0], "strides": [2, 2, 1]})],
    "a pool of each frame": [("MaxPool", "x", "y", {"kernel_shape": [1, 2, 2]})],
    "a network": [
        ("Conv", "x w b", "p", {"pads": [1] * 6}),
        ("Relu", "p", "q"),
        ("MaxPool", "q", "r", {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}),
        ("Conv", "r v", "y", {"pads": [1, 0, 0, 1, 0, 0]}),
    ],
    "read in order too": [
        ("Conv", "x w b", "p", {"pads": [1] * 6}),
        ("MaxPool", "p", "r", {"kernel_shape": [2, 2, 2]}),
        ("Mul", "p p", "s"),
        ("Conv", "r v", "y"),
    ],
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("options", [{}, {"qformat": "Q3.4"}, {"qformat": "Q3.12"}, {"qformat": "UQ4.4"}], ids=str)
@pytest.mark.parametrize("name", CHAINS)
def test_results_are_those_of_the_reference(name, options, isa):
    outputs = ("y", "s", "p") if name == "read in order too" else ("y",)
    model = network(CHAINS[name], inputs=X, outputs=outputs, constants=CONSTANTS)
    feeds = {"x": np.random.default_rng(1).normal(size=X["x"]).astype(np.float32)}
    got, want, kernels = both(model, feeds, isa, **options)
    assert_same(got, want)
    is_combined = options and name == "read in order too"  # products of codes with five axes
    assert is_combined or not [k for k in kernels if k.startswith("reference")], kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_threads_and_types(dtype):
    constants = {name: value.astype(dtype) for name, value in CONSTANTS.items()}
    model = network(CHAINS["a network"], inputs={"x": (dtype, X["x"])}, constants=constants)
    feeds = {"x": np.random.default_rng(1).normal(size=X["x"]).astype(dtype)}
    ((one,), (want,), _), ((three,), _, _) = (both(model, feeds, ISAS[0], threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)
    tolerance = (1e-5 if dtype == np.float32 else 2e-3) * np.abs(want.astype(float)).max()
    np.testing.assert_allclose(one.astype(float), want.astype(float), rtol=0, atol=tolerance)
