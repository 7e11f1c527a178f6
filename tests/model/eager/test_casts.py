"""Cast and CastLike between all types, against ONNX Runtime, onnx.reference and the tables of ONNX."""

import ml_dtypes as ml
import numpy as np
import pytest
from model.eager.nodes import alone, refused
from model.ops.cases import Case, each, f32, i64
from onnx import TensorProto as Onnx
from onnx.helper import tensor_dtype_to_np_dtype

from qengine.errors import ModelError

FLOATS = (np.float16, np.float32, np.float64)
INTEGERS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
NATIVE = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)
FLOAT8 = (Onnx.FLOAT8E4M3FN, Onnx.FLOAT8E4M3FNUZ, Onnx.FLOAT8E5M2, Onnx.FLOAT8E5M2FNUZ)
REAL = [0, -0.0, 1, 1.5, -1.5, 2.5, 0.4, 100.7, -100.7, np.nan, 1e-8, 0.3, 65504, 240, 448, 464]
WHOLE = [0, 1, 2, 7, 100, 127]
# Texts of numbers, and those that ONNX reserves.
WORDS = np.array(["1", "-2", "3.75", "1e2", "INF", "-inf", "+INF", "NaN", " 5 ", "-0"], object)


def near(x, to):
    return {"rtol": 1e-3} if to == 10 else {}


CASES = [
    *(Case("Cast", (np.array(WHOLE, t),), {"to": to}) for t in INTEGERS for to in NATIVE),
    *(Case("Cast", (np.array([0, 1, 2.5, 100.75, 127], t),), {"to": to}) for t in FLOATS for to in NATIVE),
    *(Case("Cast", (np.array([True, False]),), {"to": to}) for to in NATIVE),
    *(Case("Cast", (np.array(REAL, np.float32),), {"to": to}) for to in (9, 10, 11)),
    # Integers lose the bits that do not fit.
    *(Case("Cast", (np.array([200, -200, 2**31, 2**62 + 1, -(2**63)]),), {"to": to}) for to in (2, 3, 4, 5, 6, 12, 13)),
    *(Case("Cast", (np.array(REAL, t),), {"to": to, "saturate": saturate}, follows="reference")
      for t in FLOATS for to in FLOAT8 for saturate in (0, 1)),
    *(Case("Cast", (np.array([0.5, 1, 6, 7, -8, 3.5], t),), {"to": to}, follows="reference")
      for t in FLOATS for to in (Onnx.BFLOAT16, Onnx.FLOAT4E2M1, Onnx.INT4)),
    *(Case("Cast", (np.array([0, 1, 6, 7, 3], t),), {"to": to}, follows="reference")
      for t in (np.int8, np.int64, np.uint8, np.bool_) for to in (Onnx.BFLOAT16, Onnx.UINT4, Onnx.FLOAT8E5M2)),
    *(Case("Cast", (np.array([0, 1, 6, 7]).astype(t),), {"to": to}, follows="reference")
      for t in (ml.bfloat16, ml.int4, ml.uint4, ml.float8_e4m3fn, ml.float8_e5m2, ml.float4_e2m1fn) for to in NATIVE),
    *(Case("CastLike", (np.array(WHOLE, np.int16), np.zeros(1, tensor_dtype_to_np_dtype(to)))) for to in NATIVE),
    Case("CastLike", (f32(0.5, 1, 500), np.zeros(2, ml.float8_e4m3fn)), {"saturate": 0}, follows="reference"),
    Case("Cast", (WORDS,), {"to": 1}, opsets=(9, 28), follows="onnxruntime"),
    Case("Cast", (WORDS,), {"to": 11}, opsets=(9, 28), follows="onnxruntime"),
    Case("Cast", (WORDS[[0, 1, 8]],), {"to": 7}, opsets=(9, 28), follows="onnxruntime"),
    Case("Cast", (np.array(["99999999999", "-1", "7"], object),), {"to": 6}, opsets=(9, 28), follows="onnxruntime"),
    *(Case("Cast", (x,), {"to": 8}, opsets=(9, 28), follows="onnxruntime")
      for x in (f32(1.5, -0.0, 1e20, 1e-7, 123456789.125, np.nan, np.inf, -np.inf, 0.1, 100, 16777216),
                np.array([0.1, 1e20, 1 / 3, 1e300]), i64(-5, 2**62), np.array([True, False]), np.float16([0.1, 65504]),
                np.zeros((0, 3), np.float32))),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


POWERS = [0.0, 1, 1.2, 1.5, 1.7, 2.0**-127, 2.0**-130, 2.0**127, 3e38, np.inf, np.nan, -1]
LOW, HIGH, NONE = 2.0**-127, 2.0**127, np.nan


@pytest.mark.parametrize(
    ("mode", "saturate", "wanted"),
    [
        ("up", 1, [LOW, 1, 2, 2, 2, LOW, LOW, HIGH, HIGH, HIGH, NONE, NONE]),
        ("down", 1, [LOW, 1, 1, 1, 1, LOW, LOW, HIGH, HIGH, HIGH, NONE, NONE]),
        ("nearest", 1, [LOW, 1, 1, 2, 2, LOW, LOW, HIGH, HIGH, HIGH, NONE, NONE]),
        ("nearest", 0, [NONE, 1, 1, 2, 2, LOW, NONE, HIGH, NONE, NONE, NONE, NONE]),
        ("up", 0, [NONE, 1, 2, 2, 2, LOW, NONE, HIGH, NONE, NONE, NONE, NONE]),
    ],
)
def test_powers_of_two(mode, saturate, wanted):
    attributes = {"to": Onnx.FLOAT8E8M0, "round_mode": mode, "saturate": saturate}
    (y,) = alone("Cast", (np.array(POWERS, np.float64),), attributes, version=24)
    assert y.dtype == ml.float8_e8m0fnu
    np.testing.assert_array_equal(y.astype(np.float64), wanted)


@pytest.mark.parametrize("word", ["", "abc", "1.5abc", "0x10", "1_000", "true", "--1", "1e", "١"])
def test_text_that_is_not_a_number_is_refused(word):
    refused(ModelError, "is not a number, and cannot be cast", "Cast", (np.array([word], object),), {"to": 1})


@pytest.mark.parametrize(
    ("reason", "attributes"),
    [
        ("round_mode 'even' is not up, down or nearest", {"to": Onnx.FLOAT8E8M0, "round_mode": "even"}),
        ("element type 99 does not exist", {"to": 99}),
        ("casts no complex numbers", {"to": Onnx.COMPLEX64}),
        ("attribute 'to' is missing", {}),
    ],
)
def test_what_is_refused(reason, attributes):
    refused(ModelError, reason, "Cast", (f32(1),), attributes, version=24)
