"""What is never negative by construction, whatever the inputs hold."""

import numpy as np
import pytest
from networks import network

from qengine import InferenceSession
from qengine.quantization.calibration.signs import never_negative

CONSTANTS = {
    "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
    "fill": -1.0,
    "low": 0.0,
    "below": -0.5,
    "high": 6.0,
    "k": 3.0,
    "minus": -3.0,
    "scales": np.float32([1, 1, 2, 2]),
    "shape": np.int64([1, -1]),
}
# Nodes that make y from x, of any sign, and p, which is not negative.
CERTAIN = {
    "Relu": [("Tanh", "x", "t"), ("Relu", "t", "y")],
    "Relu of its own": [("Relu", "x", "y")],
    "Clip": [("Clip", "x low high", "y")],
    "Sigmoid": [("Sigmoid", "x", "y")],
    "Exp": [("Exp", "x", "y")],
    "Softmax": [("Softmax", "x", "y")],
    "spelled Sigmoid": [("Neg", "x", "n"), ("Exp", "n", "e"), ("Add", "e one", "a"), ("Reciprocal", "a", "y")],
    "Concat": [("Concat", "p p", "y", {"axis": 1})],
    "Add": [("Add", "p k", "y")],
    "Mul": [("Mul", "p k", "y")],
    "AveragePool": [("AveragePool", "p", "y", {"kernel_shape": [2, 2]})],
    "MaxPool": [("MaxPool", "p", "y", {"kernel_shape": [2, 2]})],
    "Reshape": [("Reshape", "p shape", "y")],
    "linear": [("Resize", "p - scales", "y", {"mode": "linear"})],
    "nearest": [("Resize", "p - scales", "y", {"mode": "nearest"})],
}
UNCERTAIN = {
    "input": [("Identity", "x", "y")],
    "Tanh": [("Tanh", "x", "y")],
    "Clip": [("Clip", "x below high", "y")],
    "Clip without a bound": [("Clip", "x - high", "y")],
    "Pad": [("Pad", "p pads fill", "y")],
    "Sub": [("Sub", "p k", "y")],
    "Neg": [("Neg", "p", "y")],
    "Mul": [("Mul", "p minus", "y")],
    "Add": [("Add", "p x", "y")],
    "Concat": [("Concat", "p x", "y", {"axis": 1})],
    "cubic": [("Resize", "p - scales", "y", {"mode": "cubic"})],
    "Log": [("Log", "p", "y")],
}


def found(nodes):
    model = network([("Sigmoid", "x", "p"), *nodes], outputs=["y", "p"], constants={**CONSTANTS, "one": 1.0})
    return never_negative(InferenceSession(model).optimized)


@pytest.mark.parametrize("name", CERTAIN)
def test_certain(name):
    assert {"y", "p"} <= found(CERTAIN[name])


@pytest.mark.parametrize("name", UNCERTAIN)
def test_uncertain(name):
    assert "y" not in found(UNCERTAIN[name])
