"""Models of opsets before 7: NumPy says what their nodes mean."""

import numpy as np
import pytest
from onnx import helper, numpy_helper

import qengine
from qengine.errors import QEngineError
from qengine.model.loader import load

RNG = np.random.default_rng(2)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


A, B, C = numbers(2, 3, 4, 5), numbers(3, 4), numbers(3)
MIDDLE = B[None, :, :, None]
CHANNELS = C[None, :, None, None]
W = numbers(4, 3)
ROWS = np.exp(A.reshape(2, -1))


def model(node, opset, feeds, constants, outputs):
    def info(name, array):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    graph = helper.make_graph(
        [node] if not isinstance(node, list) else node,
        "old",
        [info(name, array) for name, array in (feeds | constants).items()],
        [info(name, np.asarray(array)) for name, array in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)


def spelled(operator, inputs, outputs=("y",), **attributes):
    return helper.make_node(operator, inputs.split(), list(outputs), **attributes)


BROADCAST = {
    "Add": (np.add, (1, 6), np.float32),
    "Sub": (np.subtract, (1, 6), np.float32),
    "Mul": (np.multiply, (1, 6), np.float32),
    "Div": (np.divide, (1, 6), np.float32),
    "Equal": (np.equal, (1, 6), np.int32),
    "Greater": (np.greater, (1, 6), np.float32),
    "Less": (np.less, (1, 6), np.float32),
    "And": (np.logical_and, (1, 6), bool),
    "Or": (np.logical_or, (1, 6), bool),
    "Xor": (np.logical_xor, (1, 6), bool),
}


@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("axis", [1, None])
@pytest.mark.parametrize("operator", BROADCAST)
def test_broadcasting(operator, axis, is_constant):
    function, opsets, dtype = BROADCAST[operator]
    a, b = np.rint(A).astype(dtype), np.rint(B if axis else numbers(4, 5)).astype(dtype)
    if operator == "Div":
        a, b = A, np.abs(b) + 1
    expected = function(a, b[None, :, :, None] if axis else b)
    attributes = {"broadcast": 1} | ({"axis": axis} if axis else {})
    feeds, constants = ({"a": a}, {"b": b}) if is_constant else ({"a": a, "b": b}, {})
    for opset in opsets:
        proto = model(spelled(operator, "a b", **attributes), opset, feeds, constants, {"y": expected})
        (found,) = qengine.InferenceSession(proto).run(None, feeds)
        np.testing.assert_array_equal(found, expected, strict=True)


def test_broadcasting_behind_other_nodes():
    """The number of axes is that of a tensor that the model computes."""
    nodes = [
        spelled("Conv", "a w", ["c"], kernel_shape=[1, 1]),
        spelled("Mul", "c s", ["m"], broadcast=1, axis=1),
        spelled("Add", "m t", ["n"], broadcast=1, axis=1),
        spelled("Relu", "n", ["y"]),
    ]
    w = np.eye(3, dtype=np.float32)[:, :, None, None]
    expected = np.maximum(A * CHANNELS + CHANNELS, 0)
    proto = model(nodes, 6, {"a": A}, {"w": w, "s": C, "t": C}, {"y": expected})
    np.testing.assert_allclose(qengine.InferenceSession(proto).run(None, {"a": A})[0], expected, rtol=1e-6)
    found = qengine.quantize_model(proto, [{"a": A}])
    assert found.check == "read back: the same codes on one sample"


ONE = np.float32(1)
CASES = {
    "Gemm": (spelled("Gemm", "a w c", broadcast=1), {"a": numbers(2, 4)}, {"w": W, "c": C}, lambda a: a @ W + C),
    "BatchNormalization": (
        spelled("BatchNormalization", "a g g g v", is_test=1),
        {"a": A},
        {"g": C, "v": np.abs(C) + ONE},
        lambda a: CHANNELS * (a - CHANNELS) / np.sqrt(np.abs(CHANNELS) + ONE + np.float32(1e-5)) + CHANNELS,
    ),
    "PRelu": (spelled("PRelu", "a s"), {"a": A}, {"s": C}, lambda a: np.where(a < 0, a * CHANNELS, a)),
    "Dropout": (spelled("Dropout", "a", is_test=1), {"a": A}, {}, lambda a: a),
    "Softmax": (spelled("Softmax", "a"), {"a": A}, {}, lambda a: (ROWS / ROWS.sum(1, keepdims=True)).reshape(a.shape)),
    "Max": (spelled("Max", "a b"), {"a": A, "b": -A}, {}, lambda a: np.abs(a)),
    "Cast-1": (spelled("Cast", "a", to="INT32"), {"a": A}, {}, lambda a: a.astype(np.int32)),
    "Concat-1": (spelled("Concat", "a b"), {"a": A, "b": A}, {}, lambda a: np.concatenate([a, a], 1)),
    "Reshape-1": (spelled("Reshape", "a", shape=[6, -1]), {"a": A}, {}, lambda a: a.reshape(6, -1)),
    "Pad-1": (
        spelled("Pad", "a", paddings=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5),
        {"a": A},
        {},
        lambda a: np.pad(a, ((0, 0), (0, 0), (1, 0), (2, 1)), constant_values=0.5),
    ),
    "Split-1": (spelled("Split", "a", axis=1, split=[3]), {"a": A}, {}, lambda a: a),
    "Tile-1": (
        spelled("Tile", "a t k"),
        {"a": A},
        {"t": np.float32([2]), "k": np.float32([2])},
        lambda a: np.tile(a, (1, 1, 2, 1)),
    ),
    "Upsample-1": (
        spelled("Upsample", "a", width_scale=2.0, height_scale=3.0),
        {"a": A},
        {},
        lambda a: a.repeat(3, 2).repeat(2, 3),
    ),
    "Selu-1": (
        spelled("Selu", "a"),
        {"a": A},
        {},
        lambda a: np.float32(1.0507) * np.where(a > 0, a, np.float32(1.6732) * (np.exp(a) - ONE)),
    ),
    "Relu-1": (spelled("Relu", "a", consumed_inputs=[0]), {"a": A}, {}, lambda a: np.maximum(a, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_nodes(name):
    node, feeds, constants, function = CASES[name]
    expected = function(feeds["a"])
    proto = model(node, 1 if name.endswith("-1") else 6, feeds, constants, {"y": expected})
    assert {node.version for node in load(proto).nodes} <= {7}
    (found,) = qengine.InferenceSession(proto).run(None, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, strict=True)


@pytest.mark.parametrize(
    ("node", "opset", "reason"),
    [
        (spelled("BatchNormalization", "a c c c c"), 6, "it trains"),
        (spelled("Add", "a c", broadcast=1, axis=4), 6, "axis 4 of 4 axes leaves no room"),
        (spelled("Cast", "a", to="NUMBER"), 1, "no element type 'NUMBER'"),
        (spelled("Tile", "a c c"), 1, "its axis does not fit"),
        (spelled("Pad", "a"), 1, "attribute 'paddings' is missing"),
    ],
)
def test_what_cannot_be_converted(node, opset, reason):
    with pytest.raises(QEngineError, match=reason) as caught:
        load(model(node, opset, {"a": A}, {"c": C}, {"y": A}))
    assert "\n" not in str(caught.value)
