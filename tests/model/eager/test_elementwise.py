"""Functions of single elements against ONNX Runtime and onnx.reference."""

import ml_dtypes
import numpy as np
import pytest
from model.eager.nodes import refused
from model.ops.cases import Case, each, f32, i64, real, scalar

from qengine.errors import ModelError

FLOATS = (np.float16, np.float32, np.float64)
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
ODD = [0.5, -0.25, 1, -1, 0, -0.0, 2, -2, 1000, np.inf, -np.inf, np.nan]
CURVES = ["Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh", "Tan"]
BITS = np.array([[1, 100, 7], [3, 2, 64]])
SHIFTS = [1, 3, 40]
BFLOAT = np.array([[1, 2, 3], [-4.5, 0.5, 0]]).astype(ml_dtypes.bfloat16)


def whole(dtype):
    return np.array([0, 1, 2, 3, 100, 120] if np.dtype(dtype).kind == "u" else [-3, -2, 0, 1, 2, 100], dtype)


def near(dtype):
    return {"rtol": 2e-3, "atol": 1e-3} if dtype == np.float16 else {}


CASES = [
    *(Case(name, (np.array(ODD, dtype),), **near(dtype)) for name in CURVES for dtype in FLOATS),
    *(Case(name, (x,)) for name in CURVES for x in (scalar(1.0), real(0, 3), real(1, 2, 1, 3, 2) + 1)),
    *(Case(name, (np.abs(BFLOAT),)) for name in ("Sin", "Atan", "Cosh")),
    *(
        Case("BitShift", (BITS.astype(dtype), np.array(SHIFTS, dtype)), {"direction": direction})
        for dtype in INTEGERS
        for direction in ("LEFT", "RIGHT")
    ),
    *(
        Case(name, (BITS.astype(dtype), np.array([6, 5, 3], dtype)))
        for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")
        for dtype in INTEGERS
    ),
    *(Case("BitwiseNot", (BITS.astype(dtype),)) for dtype in INTEGERS),
    *(Case("BitCast", (real(2, 3),), {"to": to}) for to in (1, 6, 12)),
    Case("BitCast", (np.array([1.0, -2.0]),), {"to": 7}),
    Case("BitCast", (BFLOAT,), {"to": 10}),
    Case("BitCast", (np.array([-8, -1, 7]).astype(ml_dtypes.int4),), {"to": 21}),
    Case("BitCast", (np.array([True, False]),), {"to": 3}),
    Case("BitCast", (scalar(7, np.int32),), {"to": 1}),
    *(
        Case("IsInf", (np.array(ODD, dtype),), attributes)
        for dtype in FLOATS
        for attributes in (
            {},
            {"detect_negative": 0},
            {"detect_positive": 0},
            {"detect_positive": 0, "detect_negative": 0},
        )
    ),
    *(Case("IsNaN", (np.array(ODD, dtype),)) for dtype in FLOATS),
    *(
        Case(name, (np.array(ODD, np.float32).astype(dtype),))
        for name in ("IsInf", "IsNaN")
        for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn)
    ),
    *(Case("Mean", (real(2, 3).astype(dtype),) * count, **near(dtype)) for dtype in FLOATS for count in (1, 2, 3)),
    *(Case("Mean", (real(2, 3).astype(dtype), real(3).astype(dtype)), opsets=(8, 28)) for dtype in FLOATS[1:]),
    # onnx.reference adds to the first input in place.
    Case("Mean", (real(2, 1, 3), real(4, 1), real(3)), opsets=(8, 28), follows="onnxruntime"),
    Case("Mean", (BFLOAT, BFLOAT[::-1].copy())),
    *(
        Case("Shrink", (whole(dtype) if np.dtype(dtype).kind in "iu" else np.array(ODD, dtype),), attributes)
        for dtype in (*FLOATS, *INTEGERS)
        for attributes in ({}, {"lambd": 1.5}, {"lambd": 1.5, "bias": 1.5}, {"lambd": 0.0, "bias": -2.0})
    ),
    # float64 does not hold this integer, which both others bring there.
    Case("Shrink", (i64(2**62 + 1, 0, -1),), {"lambd": 0.5}, expected=(i64(2**62 + 1, 0, -1),)),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize(("dtype", "value"), [(np.int8, -5), (np.int64, -5), (np.uint16, 5)])
@pytest.mark.parametrize("amount", [0, 1, 7, 63, 64, -1])
def test_a_shift_by_any_amount_is_that_of_endless_bits(dtype, value, amount):
    if amount < 0 and np.dtype(dtype).kind == "u":
        return
    bits = np.dtype(dtype).itemsize * 8
    far = not 0 <= amount < bits
    wanted = {"LEFT": 0 if far else value << amount, "RIGHT": (-1 if value < 0 else 0) if far else value >> amount}
    for direction, exact in wanted.items():
        wrapped = np.array([exact & (1 << bits) - 1], np.uint64).astype(dtype)
        Case(
            "BitShift", (np.array([value], dtype), np.array([amount]).astype(dtype)), {"direction": direction},
            expected=(wrapped,),
        ).check(28)  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "name", "inputs", "attributes", "version"),
    [
        ("direction 'UP' is not LEFT or RIGHT", "BitShift", (np.uint8([1]),) * 2, {"direction": "UP"}, 11),
        ("attribute 'direction' is missing", "BitShift", (np.uint8([1]),) * 2, {}, 11),
        ("float32 cannot be read as int64", "BitCast", (f32(1),), {"to": 7}, 26),
        ("element type 99 does not exist", "BitCast", (f32(1),), {"to": 99}, 26),
        ("which opset 7 does not allow", "Mean", (real(2, 3), real(3)), {}, 7),
        ("at least one", "Mean", (), {}, 13),
        ("'detect_positive' is 1.5; INT is needed", "IsInf", (f32(1),), {"detect_positive": 1.5}, 10),
        ("'x0' is int64; Sin takes", "Sin", (i64(1),), {}, 7),
        ("attribute 'alpha' does not exist at opset 7; there are none", "Sin", (f32(1),), {"alpha": 1.0}, 7),
    ],
)
def test_what_is_refused(reason, name, inputs, attributes, version):
    refused(ModelError, reason, name, inputs, attributes, version)
