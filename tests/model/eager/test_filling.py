"""Trilu, EyeLike, OneHot, Hardmax and cumulative sums against ONNX Runtime and onnx.reference."""

import ml_dtypes
import numpy as np
import pytest
from model.eager.nodes import refused
from model.ops.cases import Case, each, f32, i64, real, scalar

from qengine.errors import ModelError, UnsupportedError

X = real(2, 3, 4)
TIES = np.array([[3, 1, 3, 0], [1, 1, 0, 1], [-1, -2, -1, -1]], np.float32)
PLACES = np.array([[0, 1, -3], [2, 4, -5]])
SUMMED = (np.float32, np.float64, np.int32, np.int64)
BFLOAT = np.array([[1, 2, 3], [-4.5, 0.5, 0]]).astype(ml_dtypes.bfloat16)

CASES = [
    *(
        Case("Trilu", (x, *k), {"upper": upper})
        for x in (X, X.astype(np.int64), X > 0, X[0].astype(np.float64), BFLOAT)
        for k in ((), (scalar(1, np.int64),), (scalar(-2, np.int64),), (scalar(2**62, np.int64),))
        for upper in (0, 1)
    ),
    Case("Trilu", (X, i64(1))),
    Case("Trilu", (real(2, 0, 3),)),
    *(
        Case("EyeLike", (X[0],), {"k": k, **({"dtype": dtype} if dtype else {})})
        for k in (0, 1, -2, 9)
        for dtype in (None, 1, 7, 9, 10, 11)
    ),
    Case("EyeLike", (X[0].astype(np.int32),)),
    *(
        Case(
            "OneHot",
            (PLACES.astype(places), scalar(4, depth), np.array([2, 5], values)),
            {"axis": axis},
            follows="onnxruntime",
        )  # onnx.reference refuses most types
        for places, depth, values in (
            (np.int64, np.int64, np.float32),
            (np.int32, np.int32, np.float32),
            (np.float32, np.float32, np.float32),
            (np.int64, np.int64, np.int64),
        )
        for axis in (-1, 0, 1, -2)
    ),
    Case("OneHot", (PLACES, i64(4), f32(2, 5)), follows="onnxruntime"),
    Case("OneHot", (i64(2**62, -(2**62), 3), scalar(4, np.int64), f32(0, 1))),
    Case("OneHot", (np.zeros((2, 0), np.int64), scalar(3, np.int64), f32(0, 1)), follows="reference"),
    Case("OneHot", (i64(1), scalar(0, np.int64), f32(0, 1)), expected=(np.zeros((1, 0), np.float32),)),
    Case("OneHot", (np.uint64([1, 2**64 - 1]), i64(2), f32(0, 1)), expected=(np.float32([[0, 1], [0, 0]]),)),
    # At 11 and before, onnx.reference takes one axis, as from 13 on.
    *(
        Case("Hardmax", (x,), attributes, follows="onnxruntime")
        for x in (TIES, TIES.reshape(3, 2, 2), TIES.reshape(3, 1, 2, 2, 1))
        for attributes in ({}, {"axis": 0}, {"axis": 1})
    ),
    *(Case("Hardmax", (TIES.astype(dtype),), {"axis": -1}, opsets=(11, 28)) for dtype in (np.float16, np.float64)),
    Case("Hardmax", (real(0, 3),)),
    Case("Hardmax", (BFLOAT,), {"axis": 1}),
    *(
        Case(name, ((X * 3).astype(dtype), scalar(axis, np.int64)), {"exclusive": exclusive, "reverse": reverse})
        for name in ("CumSum", "CumProd")
        for dtype in SUMMED
        for axis, exclusive, reverse in ((0, 0, 0), (-1, 1, 0), (1, 0, 1), (2, 1, 1))
    ),
    *(Case("CumSum", (X, np.array([-1], dtype)), follows="onnxruntime") for dtype in (np.int32, np.int64)),
    Case("CumSum", (real(0, 3), scalar(0, np.int64)), {"exclusive": 1}),
    Case("CumSum", (f32(1, 2, 3), scalar(0, np.int64))),
    Case("CumSum", (X.astype(np.float16), scalar(1, np.int64)), rtol=2e-3, atol=2e-3),
    Case("CumSum", (np.array([2**31 - 1, 1], np.int32), scalar(0, np.int64))),
    Case("CumProd", (np.uint32([2**16, 2**16, 3]), scalar(0, np.int64))),
    Case("CumSum", (BFLOAT, scalar(1, np.int64))),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize(
    ("error", "reason", "name", "inputs", "attributes"),
    [
        (ModelError, "at least 2", "Trilu", (f32(1),), {}),
        (ModelError, "single integer", "Trilu", (X, i64(1, 2)), {}),
        (ModelError, "2 axes are needed", "EyeLike", (X,), {}),
        (ModelError, "depth is -1", "OneHot", (i64(1), scalar(-1, np.int64), f32(0, 1)), {}),
        (ModelError, "depth is nan", "OneHot", (i64(1), scalar(np.nan), f32(0, 1)), {}),
        (ModelError, "depth has shape", "OneHot", (i64(1), i64(1, 2), f32(0, 1)), {}),
        (ModelError, "two are needed", "OneHot", (i64(1), i64(1), f32(0, 1, 2)), {}),
        (UnsupportedError, "has more than", "OneHot", (i64(1), scalar(2**40, np.int64), f32(0, 1)), {}),
        (ModelError, "out of range", "OneHot", (i64(1), i64(1), f32(0, 1)), {"axis": 2}),
        (ModelError, "out of range", "Hardmax", (X,), {"axis": 3}),
        (ModelError, "axis 3 is out of range", "CumSum", (X, scalar(3, np.int64)), {}),
        (ModelError, "out of range", "CumSum", (X, scalar(2**62, np.int64)), {}),
        (ModelError, "single integer", "CumSum", (X, i64(0, 1)), {}),
    ],
)
def test_what_is_refused(error, reason, name, inputs, attributes):
    refused(error, reason, name, inputs, attributes)
