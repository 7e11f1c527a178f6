"""Axes of tensors behind a Reshape to computed lengths, against the arrays of a run."""

import numpy as np
import pytest
from networks import network, run_onnxruntime, weights

from qengine.model.loader import load

# Each follows "r", of three axes and computed lengths, with (2, 4, 6) elements.
FOLLOWERS = {
    "elements": [("Relu", "r", "a"), ("Sigmoid", "a", "y")],
    "a constant of fewer axes": [("Mul", "r k6", "a"), ("Add", "k r", "y")],
    "a constant of more axes": [("Add", "r k1111", "y")],
    "a permutation": [("Mul", "r k6", "a"), ("Transpose", "a", "y", {"perm": [2, 0, 1]})],
    "a product": [("MatMul", "r w", "a"), ("Add", "a r", "y")],
    "means": [("ReduceMean", "r", "a", {"axes": [-1]}), ("Sub", "r a", "b"), ("Mul", "b k6", "y")],
    "means of fewer axes": [("ReduceMean", "r", "a", {"axes": [1], "keepdims": 0}), ("Mul", "a k6", "y")],
    "a mean of all": [("ReduceMean", "r", "y")],
    "a convolution": [("Conv", "r c", "a"), ("BatchNormalization", "a n n n v", "b"), ("Tanh", "b", "y")],
    "a part, without an axis": [("Slice", "r zero one", "a"), ("Squeeze", "a zero", "y")],
    "joined": [("Concat", "r r", "a", {"axis": 1}), ("Exp", "a", "y")],
    "reshaped by a part of its own shape": [
        ("Shape", "r", "s"),
        ("Slice", "s one three", "t"),
        ("Concat", "minus t", "u", {"axis": 0}),
        ("Reshape", "r u", "a"),
        ("Mul", "a k6", "y"),
    ],
}
CONSTANTS = {
    "k": np.float32(2),
    "k6": weights(6),
    "k1111": weights(1, 1, 1, 1),
    "w": weights(6, 6),
    "c": weights(3, 4, 1),
    "n": weights(3),
    "v": np.abs(weights(3)) + 1,
    "zero": np.array([0]),
    "one": np.array([1]),
    "three": np.array([3]),
    "minus": np.array([-1]),
}


@pytest.mark.parametrize("kind", FOLLOWERS)
def test_axes_are_counted(kind):
    nodes = FOLLOWERS[kind]
    read = {name for node in nodes for name in node[1].split()}
    constants = {name: array for name, array in CONSTANTS.items() if name in read}
    constants |= {"one": CONSTANTS["one"], "three": CONSTANTS["three"], "two": np.array([2])}
    before = [("Shape", "z", "zs"), ("Slice", "zs one three", "zt"), ("Concat", "two zt", "to", {"axis": 0})]
    model = network(
        [*before, ("Reshape", "x to", "r"), *nodes], inputs={"x": ["N", "M"], "z": ["A", "B", "C"]}, constants=constants
    )
    feeds = {"x": weights(2, 24), "z": weights(1, 4, 6)}
    names = ["r", *(node[2] for node in nodes)]
    values = load(model).values
    for name, array in zip(names, run_onnxruntime(model, feeds, names), strict=True):
        shape = values[name].shape
        assert shape is not None, name
        assert len(shape) == array.ndim, name
        assert all(n == length for n, length in zip(shape, array.shape, strict=True) if isinstance(n, int)), name
