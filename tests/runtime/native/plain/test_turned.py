"""Channels last: Transposes around what works on blocks of channels cost no copy, and change no bit."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from networks import network, weights
from runtime.native.native import ISAS, assert_same, both

TO_LAST, TO_SECOND = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
RESIDUAL = [
    ("Transpose", "x", "a", TO_SECOND),
    ("Conv", "a w0", "b", {"pads": [1] * 4}),
    ("Transpose", "b", "c", TO_LAST),
    ("Mul", "c scale", "d"),
    ("Add", "d shift", "e"),
    ("Relu", "e", "f"),
    ("Transpose", "f", "g", TO_SECOND),
    ("Conv", "g w1", "h", {"pads": [1] * 4}),
    ("Transpose", "h", "i", TO_LAST),
    ("Add", "i f", "j"),
    ("Sigmoid", "j", "k"),
    ("Concat", "k f", "l", {"axis": 3}),
    ("Pad", "l pads fill", "p"),
    ("ReduceMean", "p", "m", {"axes": [1, 2], "keepdims": 0}),
]
SHORT = [
    ("Transpose", "x", "a", {"perm": [0, 2, 1]}),
    ("Conv", "a w", "b", {"pads": [1, 1]}),
    ("Transpose", "b", "c", {"perm": [0, 2, 1]}),
    ("Add", "c shift", "d"),
    ("Relu", "d", "e"),
    ("Transpose", "e", "f", {"perm": [0, 2, 1]}),
    ("MaxPool", "f", "g", {"kernel_shape": [2], "strides": [2]}),
    ("Transpose", "g", "h", {"perm": [0, 2, 1]}),
    ("Unsqueeze", "h axis", "i"),
    ("Transpose", "i", "j", TO_SECOND),
    ("MaxPool", "j", "k", {"kernel_shape": [1, 2]}),
    ("Transpose", "k", "l", TO_LAST),
    ("Squeeze", "l axis", "m"),
    ("ReduceMax", "m", "y", {"axes": [1], "keepdims": 0}),
]
ALIKE = [
    ("Relu", "x", "a"),
    ("MaxPool", "a", "b", {"kernel_shape": [2, 2]}),
    ("Transpose", "b", "c", TO_LAST),
    ("Mul", "c c", "d"),
    ("Slice", "d from to", "e"),
    ("Mul", "c other", "y"),
    ("MaxPool", "c", "z", {"kernel_shape": [2, 2]}),
]


def residual(channels, outputs, dtype=np.float32):
    constants = {
        **{"w0": weights(channels, 3, 3, 3), "w1": weights(channels, channels, 3, 3, seed=2)},
        **{"scale": weights(channels, seed=3), "shift": weights(1, 1, channels, seed=4)},
        **{"fill": np.array(0.5)},
    }
    constants = {name: value.astype(dtype) for name, value in constants.items()}
    constants["pads"] = np.array([0, 1, 2, 0, 0, 0, -1, 0])
    return network(RESIDUAL, inputs={"x": (dtype, [2, 7, 6, 3])}, outputs=outputs, constants=constants)


X = np.random.default_rng(1).normal(size=(2, 7, 6, 3))
OUTPUTS = {"the end": ("m",), "what is turned": ("l", "f", "m"), "on the way": ("c", "g", "h", "i", "m")}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", [16, 5, 40])
@pytest.mark.parametrize("outputs", OUTPUTS.values(), ids=OUTPUTS.keys())
@pytest.mark.parametrize("options", [{}, {"qformat": "Q3.4"}, {"qformat": "Q3.12"}, {"qformat": "UQ4.4"}], ids=str)
def test_results_are_those_of_the_reference(outputs, channels, options, isa):
    got, want, _ = both(residual(channels, outputs), {"x": X.astype(np.float32)}, isa, **options)
    assert_same(got, want)


@pytest.mark.parametrize("options", [{}, {"qformat": "Q3.12"}], ids=str)
def test_nothing_is_copied_between_convolutions(options):
    _, _, kernels = both(residual(40, ("m",)), {"x": X.astype(np.float32)}, ISAS[0], **options)
    count = Counter(kernels)
    assert count["pack"] == count["unpack"] == 1
    assert not [name for name in kernels if name.startswith(("copy", "reference"))]


def test_float16_is_rounded_in_turned_tensors():
    got, want, _ = both(residual(40, ("l", "m"), np.float16), {"x": X.astype(np.float16)}, ISAS[0])
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a.astype(float), b.astype(float), atol=4e-3)


@pytest.mark.parametrize("threads", [1, 3])
def test_one_spatial_axis(threads):
    constants = {"w": weights(20, 6, 3), "shift": weights(20, seed=5), "axis": np.array([1])}
    model = network(SHORT, inputs={"x": [2, 50, 6]}, constants=constants)
    x = np.random.default_rng(2).normal(size=(2, 50, 6)).astype(np.float32)
    got, want, kernels = both(model, {"x": x}, ISAS[0], threads)
    assert_same(got, want)
    assert not [name for name in kernels if name.startswith(("copy", "reference"))]


@pytest.mark.parametrize("options", [{}, {"qformat": "Q3.4"}], ids=str)
def test_a_turned_tensor_meets_others(options):
    """It is read in ONNX's order too, and together with a tensor that has its channels last in memory."""
    inputs = {"x": [2, 5, 7, 6], "other": [2, 6, 5, 5]}
    model = network(
        ALIKE, inputs=inputs, outputs=("y", "e", "z"), constants={"from": np.array([1]), "to": np.array([2])}
    )
    rng = np.random.default_rng(3)
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in inputs.items()}
    got, want, _ = both(model, feeds, ISAS[0], **options)
    assert_same(got, want)


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMin", "ReduceMean"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5)])
def test_one_number_of_a_tensor_that_is_turned(operator, shape):
    """A tensor without axes has no images."""
    order = [0, *range(2, len(shape)), 1]
    nodes = [
        ("MaxPool", "x", "a", {"kernel_shape": [1] * (len(shape) - 2)}),
        ("Transpose", "a", "b", {"perm": order}),
        (operator, "b", "y", {"keepdims": 0}),
    ]
    model = network(nodes, inputs={"x": list(shape)})
    feeds = {"x": np.random.default_rng(3).normal(size=shape).astype(np.float32)}
    for options in ({}, {"qformat": "Q2.5"}):
        got, want, _ = both(model, feeds, ISAS[0], 1, **options)
        assert_same(got, want)
