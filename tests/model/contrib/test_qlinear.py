import numpy as np
import pytest
from model.contrib.cases import Draws, RuntimeCase, by_runtime, each, refused, scalar
from networks import network

import qengine
from qengine.errors import ModelError, UnsupportedError

DRAWS = Draws(6)
real, codes = DRAWS.real, DRAWS.codes


TYPES = (np.uint8, np.int8)
# A mean of codes lies at a tie often, and float32 rounds it to either side; other results do so less often.
FEW, MEANS = 0.1, 0.2


def zero(value, dtype):
    """Return a zero point in the middle of a type, moved by a value."""
    return scalar(value + np.iinfo(dtype).min + 128, dtype)


def elementwise(dtype):
    x, y = codes(dtype, 2, 3, 4, 5), codes(dtype, 2, 3, 4, 5)
    for operator in ("QLinearAdd", "QLinearMul"):
        for a, b in ((x, y), (x, codes(dtype, 5)), (codes(dtype, 3, 1, 1), y), (x, codes(dtype, 1))):
            inputs = (a, scalar(0.1), zero(-8, dtype), b, scalar(0.07), zero(3, dtype), scalar(0.15), zero(-28, dtype))
            yield RuntimeCase(operator, inputs, ties=FEW)
    inputs = (x, scalar(0.1), zero(-8, dtype), scalar(0.08), zero(-28, dtype))
    yield RuntimeCase("QLinearLeakyRelu", inputs, {"alpha": 0.3}, ties=FEW)
    yield RuntimeCase("QLinearLeakyRelu", inputs, ties=FEW)
    inputs = (x, scalar(0.1), zero(-8, dtype), scalar(1 / 256), zero(-128, dtype))
    yield RuntimeCase("QLinearSigmoid", inputs, ties=FEW)
    for opset in (11, 13):
        for axis in (-1, 1):
            yield RuntimeCase("QLinearSoftmax", inputs, {"axis": axis, "opset": opset}, ties=FEW)
    condition = DRAWS.rng.integers(0, 2, (1, 3, 4, 5)).astype(bool)
    other = (codes(dtype, 5), scalar(0.08), zero(-18, dtype), scalar(0.12), zero(-38, dtype))
    yield RuntimeCase("QLinearWhere", (condition, x, scalar(0.1), zero(-28, dtype), *other), ties=FEW)
    parts = (x, scalar(0.08), zero(-18, dtype), y, scalar(0.1), zero(-28, dtype))
    yield RuntimeCase("QLinearConcat", (scalar(0.1), zero(-28, dtype), *parts), {"axis": 1}, ties=FEW)
    yield RuntimeCase("QLinearConcat", (scalar(0.1), zero(-28, dtype), *parts[:3]), {"axis": -1}, ties=FEW)


POOLS = (
    {"kernel_shape": [2, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
)


def pools(dtype, last):
    scales = (scalar(0.1), zero(-8, dtype), scalar(0.08), zero(-28, dtype))
    for shape in ((2, 3, 7), (2, 3, 4, 5), (2, 3, 4, 3, 2)):
        inputs = (codes(dtype, *shape), *scales)
        yield RuntimeCase("QLinearGlobalAveragePool", inputs, {"channels_last": last}, ties=MEANS)
    for attributes in POOLS:
        inputs = (codes(dtype, 1, 6, 7, 8), *scales)
        yield RuntimeCase("QLinearAveragePool", inputs, {**attributes, "channels_last": last}, ties=MEANS)
    inputs = (codes(dtype, 1, 6, 9), *scales)
    yield RuntimeCase("QLinearAveragePool", inputs, {"kernel_shape": [3], "channels_last": last}, ties=MEANS)


def linear(dtype, of_weights, last):
    x = codes(dtype, 1, 5, 7, 4) if last else codes(dtype, 1, 4, 5, 7)
    w, b = codes(of_weights, 6, 4, 3, 3), DRAWS.rng.integers(-2000, 2000, 6).astype(np.int32)
    out = (scalar(0.5), zero(-28, dtype))
    flag = {"channels_last": last}
    one = (scalar(0.03), scalar(4, of_weights))
    inputs = (x, scalar(0.02), zero(-8, dtype), w, *one, *out, b)
    yield RuntimeCase("QLinearConv", inputs, {"pads": [1, 1, 1, 1], **flag}, ties=FEW)
    each_channel = (0.02 * np.abs(real(6)), np.zeros(6, of_weights))
    inputs = (x, scalar(0.02), zero(-8, dtype), w, *each_channel, *out, b)
    yield RuntimeCase("QLinearConv", inputs, {"strides": [2, 1], **flag}, ties=FEW)
    inputs = (x, scalar(0.02), zero(-8, dtype), codes(of_weights, 6, 2, 3, 3), *one, *out)
    yield RuntimeCase("QLinearConv", inputs, {"group": 2, "auto_pad": "SAME_LOWER", **flag}, ties=FEW)


def gemms(dtype, of_weights):
    for flip_a, flip_b in ((0, 0), (1, 0), (0, 1), (1, 1)):
        a = codes(dtype, 8, 4) if flip_a else codes(dtype, 4, 8)
        b = codes(of_weights, 5, 8) if flip_b else codes(of_weights, 8, 5)
        attributes = {"transA": flip_a, "transB": flip_b, "alpha": 0.5 if flip_a else 1.0}
        for scale, point in (
            (scalar(0.02), scalar(3, of_weights)),
            (0.02 * np.abs(real(5)), np.arange(5).astype(of_weights)),
        ):
            for shape in (None, (5,), (1, 5), (4, 5), (4, 1)):
                c = None if shape is None else DRAWS.rng.integers(-1000, 1000, shape).astype(np.int32)
                result = (scalar(0.5), zero(-28, dtype)) if shape != (1, 5) else (None, None)
                inputs = (a, scalar(0.1), zero(-18, dtype), b, scale, point, c, *result)
                yield RuntimeCase("QGemm", inputs, attributes, constants=(3, 4, 5), ties=0.1, atol=1e-4)


CASES = [
    *(case for dtype in TYPES for case in elementwise(dtype)),
    *(case for dtype in TYPES for last in (0, 1) for case in pools(dtype, last)),
    *(
        case
        for dtype, of_weights in ((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8))
        for kind in (lambda *types: linear(*types, 0), lambda *types: linear(*types, 1), gemms)
        for case in kind(dtype, of_weights)
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


@pytest.mark.parametrize("dtype", TYPES)
def test_the_mean_over_axes(dtype):
    # ONNX Runtime has no kernel, but the rule in its documentation.
    x = codes(dtype, 2, 3, 4)
    limits = np.iinfo(dtype)
    for axes, keepdims in (([1], 1), ([0, -1], 0)):
        mean = ((x.astype(np.float64) - 8) * 0.25).mean(tuple(axes), keepdims=bool(keepdims))
        wanted = np.clip(np.rint(mean / 0.03125), limits.min, limits.max).astype(dtype)
        inputs = (x, scalar(0.25), scalar(8, dtype), scalar(0.03125))
        attributes = {"axes": axes, "keepdims": keepdims}
        RuntimeCase("QLinearReduceMean", inputs, attributes, expected=(wanted,), ties=0.1).check()


@pytest.mark.parametrize("dtype", TYPES)
def test_a_zero_point_that_is_left_out_is_zero_in_the_type_of_the_input(dtype):
    # ONNX Runtime ends the process for some of these.
    x = codes(dtype, 2, 3)
    limits = np.iinfo(dtype)
    wanted = np.clip(np.rint(x.astype(np.float64) * 2), limits.min, limits.max).astype(dtype)
    half, one = scalar(0.5), scalar(1.0)
    RuntimeCase("QLinearAdd", (x, one, None, x, one, None, one), expected=(wanted,)).check()
    RuntimeCase("QLinearLeakyRelu", (x, one, None, half), {"alpha": 1.0}, expected=(wanted,)).check()


def test_what_is_refused():
    x, scale, point = codes(np.uint8, 1, 1, 4, 4), scalar(0.5), scalar(0, np.uint8)
    attributes = {"kernel_shape": [3, 3], "ceil_mode": 1, "count_include_pad": 1}
    case = RuntimeCase("QLinearAveragePool", (x, scale, point, scale, point), attributes)
    refused(case, "ceil_mode", "count_include_pad", error=UnsupportedError)
    refused(RuntimeCase("QLinearConcat", (scale, point, x, scale), {"axis": 1}), "2 inputs", error=ModelError)
    refused(RuntimeCase("QLinearAdd", (x, scale, point, x, scale, point)), "'y_scale'", error=ModelError)
    refused(RuntimeCase("QLinearSigmoid", (x, scale)), "'y_scale'", error=ModelError)
    case = RuntimeCase("QLinearSoftmax", (x, scale, point, scale, point), {"opset": 2**40})
    refused(case, "opset is", error=ModelError)
    matrix = codes(np.uint8, 2, 2)
    case = RuntimeCase("QGemm", (matrix, scale, point, matrix, scale, point, None, scale))
    refused(case, "not both", error=ModelError)


def test_powers_of_two_run_in_fixed_point_in_every_layout():
    """Channels that are last move in front of the operator as codes."""
    rng = np.random.default_rng(3)
    constants = {
        "s": np.float32(0.25), "z": np.uint8(128), "w": rng.integers(-9, 10, (4, 3, 3, 3)).astype(np.int8),
        "sw": np.float32(2.0**-6), "zw": np.int8(0), "b": rng.integers(-99, 99, 4).astype(np.int32),
        "t": np.float32(0.5),
    }  # fmt: skip
    nodes = [
        ("QuantizeLinear", "x s z", "q"),
        ("com.microsoft.QLinearConv", "q s z w sw zw s z b", "c", {"channels_last": 1, "pads": [1, 1, 1, 1]}),
        ("com.microsoft.QLinearAveragePool", "c s z t z", "p", {"channels_last": 1, "kernel_shape": [2, 2]}),
        ("DequantizeLinear", "p t z", "y"),
    ]
    model = network(nodes, inputs={"x": [1, 6, 5, 3]}, constants=constants)
    session = qengine.InferenceSession(model, strict=True)
    assert session.in_fixed_point
    x = rng.uniform(-30, 30, (1, 6, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], by_runtime(model, {"x": x})[0], strict=True)
