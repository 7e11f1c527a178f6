import numpy as np
import pytest
from model.contrib.cases import Draws, RuntimeCase, each, refused, scalar

from qengine.errors import ModelError

DRAWS = Draws(7)
real, codes = DRAWS.real, DRAWS.codes


def dynamic(dtype):
    a, w = real(2, 3, 8), codes(dtype, 8, 5)
    yield RuntimeCase("DynamicQuantizeMatMul", (a, w, scalar(0.02)))
    yield RuntimeCase("DynamicQuantizeMatMul", (a, w, scalar(0.02), scalar(3, dtype)))
    per_column = (np.abs(real(5)), np.arange(5).astype(dtype))
    yield RuntimeCase("DynamicQuantizeMatMul", (a, w, *per_column, real(5)), constants=(1, 2, 3, 4), atol=1e-4)
    yield RuntimeCase("DynamicQuantizeMatMul", (a, w, per_column[0], None, real(5)), atol=1e-4)
    yield RuntimeCase("DynamicQuantizeMatMul", (0 * a, w, scalar(0.02)))


def to_float(dtype, of_weights):
    a, w = codes(dtype, 2, 3, 8), codes(of_weights, 8, 5)
    b_zero = np.arange(5).astype(of_weights)
    yield RuntimeCase("MatMulIntegerToFloat", (a, w, scalar(0.1), scalar(0.02)), atol=1e-3)
    inputs = (a, w, scalar(0.1), np.abs(real(5)), scalar(7, dtype), scalar(3, of_weights))
    yield RuntimeCase("MatMulIntegerToFloat", inputs, atol=1e-3)
    inputs = (a, w, scalar(0.1), np.abs(real(5)), scalar(7, dtype), b_zero, real(5))
    yield RuntimeCase("MatMulIntegerToFloat", inputs, atol=1e-3)
    inputs = (a, w, np.abs(real(1)), scalar(0.1), None, None, real(5))
    yield RuntimeCase("MatMulIntegerToFloat", inputs, atol=1e-3)


def pairs():
    x = real(2, 3, 4)
    for dtype, point in ((np.uint8, 3), (np.int8, -3), (np.int16, -30), (np.uint16, 3000)):
        q = np.random.default_rng(0).integers(0, 100, (2, 3, 4)).astype(dtype)
        for operator, values in (("QuantizeLinear", x), ("DequantizeLinear", q)):
            yield RuntimeCase(operator, (values, scalar(0.02), scalar(point, dtype)))
            for axis, count in ((1, 3), (-1, 4)):
                inputs = (values, 0.1 * np.abs(real(count)), np.full(count, point, dtype))
                yield RuntimeCase(operator, inputs, {"axis": axis})
    yield RuntimeCase("QuantizeLinear", (x, scalar(0.02)))
    yield RuntimeCase("DequantizeLinear", (np.arange(-9, 9, dtype=np.int32), scalar(0.02)))


A, B = codes(np.uint8, 3, 4), codes(np.uint8, 4)
S = codes(np.int8, 3, 4)
CASES = [
    *(case for dtype in (np.int8, np.uint8) for case in dynamic(dtype)),
    *(
        case
        for types in ((np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8))
        for case in to_float(*types)
    ),
    *pairs(),
    RuntimeCase(
        "MulInteger",
        (A, scalar(3, np.uint8), B, scalar(5, np.uint8)),
        expected=((A.astype(np.int32) - 3) * (B.astype(np.int32) - 5),),
    ),
    RuntimeCase("MulInteger", (S, None, S), expected=(S.astype(np.int32) ** 2,)),
    RuntimeCase("ReduceSumInteger", (S,), {"axes": [1], "keepdims": 0}, expected=(S.sum(1, dtype=np.int32),)),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_against_onnx_runtime(case):
    case.check()


def test_a_second_factor_is_needed():
    refused(RuntimeCase("MulInteger", (A, scalar(3, np.uint8), None, scalar(3, np.uint8))), "'B'", error=ModelError)
