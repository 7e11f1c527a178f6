"""QuantizeLinear and DequantizeLinear of what their handlers refuse: small floats, blocks, other precisions."""

import ml_dtypes
import numpy as np
import pytest
from model.eager.nodes import run, scalar
from model.ops.cases import real

from qengine.errors import QEngineError
from qengine.model.eager.evaluators.quantization import dequantize_linear, quantize_linear

FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
SMALL = (*FLOAT8, "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2")
X = np.float32([[-1e6, -500, -17, -3.3, -0.5, 0], [0.26, 1.5, 2.5, 17, 449, 1e6]])
ONE = scalar(1, np.float32)


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def spread(scale, axis, block):
    """Return a scale for each element of X."""
    return np.repeat(scale, block, axis).take(range(X.shape[axis]), axis)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("block", [2, 4, 6])
def test_blocks(name, block):
    kind = dtype_of(name)
    limits = ml_dtypes.iinfo(kind)
    scale = np.random.default_rng(block).uniform(0.1, 2, (2, -(-6 // block))).astype(np.float32)
    zero = np.random.default_rng(block).integers(0, 2, scale.shape).astype(kind)
    (codes,) = run("QuantizeLinear", (X, scale, zero), opset=25, axis=-1, block_size=block)
    wide = np.rint(X / spread(scale, 1, block)) + spread(zero.astype(np.int64), 1, block)
    np.testing.assert_array_equal(codes.astype(np.int64), np.clip(wide, int(limits.min), int(limits.max)))
    assert codes.dtype == kind
    (y,) = run("DequantizeLinear", (codes, scale, zero), opset=25, axis=1, block_size=block)
    wide = codes.astype(np.float32) - spread(zero.astype(np.float32), 1, block)
    np.testing.assert_array_equal(y, wide * spread(scale, 1, block), strict=True)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("saturate", [0, 1])
def test_small_floats(name, saturate):
    kind = dtype_of(name)
    scale = np.float32([0.5, 2])
    (codes,) = run("QuantizeLinear", (X, scale, np.zeros(2, kind)), opset=28, axis=0, saturate=saturate)
    real_numbers = X / scale[:, None]
    if saturate:
        largest = np.float32(ml_dtypes.finfo(kind).max)
        real_numbers = np.clip(real_numbers, -largest, largest)
    np.testing.assert_array_equal(codes.astype(np.float32), real_numbers.astype(kind).astype(np.float32))
    assert codes.dtype == kind
    (y,) = run("DequantizeLinear", (codes, scale), opset=28, axis=0)
    np.testing.assert_array_equal(y, codes.astype(np.float32) * scale[:, None], strict=True)


def test_values_beyond_float8():
    beyond = np.float32([np.inf, -np.inf, 1e9, np.nan])
    for name, largest in zip(FLOAT8, (448, 240, 57344, 57344), strict=True):
        zero = np.zeros((), dtype_of(name))
        y = quantize_linear(beyond, ONE, zero).astype(np.float32)
        np.testing.assert_array_equal(y, [largest, -largest, largest, np.nan])
        y = quantize_linear(beyond, ONE, zero, saturate=0).astype(np.float32)
        infinite = name == "float8_e5m2"
        np.testing.assert_array_equal(y, [np.inf, -np.inf, np.inf, np.nan] if infinite else [np.nan] * 4)


@pytest.mark.parametrize(
    ("code", "name"), [(2, "uint8"), (22, "int4"), (25, "uint2"), (17, "float8_e4m3fn"), (0, "uint8")]
)
def test_the_type_without_a_zero_point(code, name):
    (codes,) = run("QuantizeLinear", (X, np.ones((2, 3), np.float32)), opset=25, output_dtype=code, block_size=2)
    assert codes.dtype == dtype_of(name)


def test_the_precision_of_the_division():
    x, scale = np.float32([1000.4]), np.float32([0.1])
    (codes,) = run("QuantizeLinear", (x, scale), opset=23, precision=10, output_dtype=4)
    assert codes.item() == np.rint(np.float16(1000.4) / np.float16(0.1))
    (codes,) = run("QuantizeLinear", (x, scale), opset=23, precision=1, output_dtype=4)
    assert codes.item() == 10004


@pytest.mark.parametrize(("code", "name"), [(1, "float32"), (10, "float16"), (16, "bfloat16")])
def test_the_type_of_what_is_dequantized(code, name):
    codes = np.arange(-6, 6, dtype=np.int8).reshape(2, 6)
    (y,) = run("DequantizeLinear", (codes, scalar(0.3, np.float32)), opset=23, output_dtype=code)
    np.testing.assert_array_equal(y, (codes * np.float32(0.3)).astype(dtype_of(name)), strict=True)


def test_a_scale_of_a_power_of_two_in_eight_bits():
    scale = np.array([[0.5], [4]], ml_dtypes.float8_e8m0fnu)
    codes = np.arange(12, dtype=np.uint8).reshape(2, 6)
    (y,) = run("DequantizeLinear", (codes, scale), opset=25, block_size=6, output_dtype=1)
    np.testing.assert_array_equal(y, codes * np.float32([[0.5], [4]]), strict=True)
    with pytest.raises(QEngineError, match="output_dtype"):
        dequantize_linear(codes, scale, block_size=6)


def test_integers_are_quantized():
    x = np.int32([[-(2**31), 2**31 - 1, 100, -7]])
    (codes,) = run("QuantizeLinear", (x, scalar(2.0, np.float32), scalar(3, np.uint8)), opset=10)
    np.testing.assert_array_equal(codes, np.uint8([[0, 255, 53, 0]]), strict=True)


def test_differences_of_32_bits_are_exact():
    codes, zero = np.int32([2**31 - 1, -(2**31)]), scalar(2**30, np.int32)
    y = dequantize_linear(codes, ONE, zero)
    np.testing.assert_array_equal(y, np.float32([2**30 - 1, -(2**31) - 2**30]), strict=True)


BLOCK = {"block_size": 2}
ERRORS = [
    ("QuantizeLinear", (X, np.ones((2, 2), np.float32)), BLOCK, "must be [2, 3]"),
    ("QuantizeLinear", (X, np.ones((2, 3), np.float32)), {**BLOCK, "axis": 5}, "axis 5 is out of range"),
    ("QuantizeLinear", (X, np.ones((2, 3), np.float32)), {"block_size": -2}, "block_size -2 must be 0 or more"),
    ("QuantizeLinear", (X, np.ones((2, 3), np.float32)), {**BLOCK, "output_dtype": 1}, "output_dtype 1 is not a type"),
    ("QuantizeLinear", (X, ONE, scalar(0, np.int8)), {"output_dtype": 22, "precision": 1}, "must be the same"),
    ("QuantizeLinear", (X, ONE, np.ones((), ml_dtypes.float8_e5m2)), {}, "other than 0 is not supported"),
    *(
        ("QuantizeLinear", (X, np.full((2, 3), scale, np.float32)), BLOCK, "must be a finite number")
        for scale in (np.nan, np.inf, 0.0)
    ),
    ("QuantizeLinear", (X.astype(ml_dtypes.bfloat16), scalar(0, ml_dtypes.bfloat16)), {}, "y_scale is 0.0"),
]


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"), ERRORS, ids=[f"{i}-{one[0]}" for i, one in enumerate(ERRORS)]
)
def test_what_onnx_does_not_allow_is_an_error(operator, inputs, attributes, message, fed):
    with pytest.raises(QEngineError) as caught:
        run(operator, inputs, opset=25, fed=fed, **attributes)
    # onnx's own inference refuses some of them first.
    assert message in str(caught.value) or "cannot run" in str(caught.value)


@pytest.mark.parametrize(
    ("operator", "scale"),
    [("Quantize", s) for s in (0.0, np.nan, np.inf)] + [("Dequantize", s) for s in (np.nan, np.inf)],
)
@pytest.mark.parametrize("version", [10, 13, 25])
def test_a_constant_scale_that_means_nothing_is_an_error(operator, scale, version):
    x = X if operator == "Quantize" else X.astype(np.int8)
    with pytest.raises(QEngineError, match="must be a finite number"):
        run(f"{operator}Linear", (x, scalar(scale, np.float32), scalar(0, np.int8)), opset=version, fed=False)


@pytest.mark.parametrize("attributes", [{}, {"block_size": 2}], ids=["whole", "blocks"])
def test_a_scale_that_is_computed_from_zeros(attributes):
    scale = np.zeros((2, 3) if attributes else (), np.float32)
    (y,) = run("QuantizeLinear", (np.zeros((2, 6), np.float32), scale), opset=25, **attributes)
    np.testing.assert_array_equal(y, np.zeros((2, 6), np.uint8), strict=True)


def test_a_channel_without_weights_may_have_the_scale_0():
    codes = np.zeros((2, 6), np.int8)
    (y,) = run("DequantizeLinear", (codes, np.float32([0, 0.3])), opset=13, axis=0)
    np.testing.assert_array_equal(y, np.zeros((2, 6), np.float32), strict=True)


@pytest.mark.parametrize("version", [10, 13])
def test_opsets_before_the_reference(version):
    codes = real(2, 6).astype(np.int8)
    (y,) = run("DequantizeLinear", (codes, scalar(0.3, np.float32)), opset=version)
    np.testing.assert_array_equal(y, codes * np.float32(0.3), strict=True)
