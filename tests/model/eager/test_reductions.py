"""Reductions against ONNX Runtime and onnx.reference, and integers by the definition."""

import ml_dtypes
import numpy as np
import pytest
from model.eager.nodes import refused
from model.ops.cases import Case, each, f32, i64, real, scalar

from qengine.errors import ModelError

X = np.abs(real(2, 3, 4)) + np.float32(0.5)
NAMES = ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare")
OTHERS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin")
WHOLE = [[1, 5, 2], [4, 4, 3]]
# onnx.reference gives sums of squares in another type, and refuses logarithms of integers.
BY_ONNXRUNTIME = ("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")

FORMS = [
    ((X,), {}),
    ((X,), {"keepdims": 0}),
    ((X,), {"axes": [0]}),
    ((X,), {"axes": [1, 2], "keepdims": 0}),
    ((X, i64(0)), {}),
    ((X, i64(-1, 0)), {"keepdims": 0}),
    ((X, i64()), {}),
    ((X, i64()), {"noop_with_empty_axes": 1}),
    ((X,), {"noop_with_empty_axes": 1}),
    ((X, i64(1)), {"noop_with_empty_axes": 1}),
    ((scalar(3.0),), {"keepdims": 0}),
    ((real(0, 3),), {}),
    ((real(2, 0), i64(1)), {}),
    ((real(2, 0),), {"axes": [1], "keepdims": 0}),
    ((real(0, 3), i64(1)), {}),
    ((np.abs(real(2, 1, 3, 2, 2)), i64(1, 3)), {}),
    ((X.astype(np.float64),), {}),
]
# ONNX Runtime passes over NaN in its search for the largest.
SPECIAL = [[1, np.nan], [1, np.inf], [-np.inf, np.inf], [-np.inf, -np.inf], [-1000, -1001], [0, 0]]
LARGE = {np.int32: 50_000, np.int64: 3_000_000_000}

CASES = [
    *(
        # onnx.reference does not take a scalar.
        Case(name, inputs, form, follows="both" if inputs[0].ndim or name != NAMES[3] else "onnxruntime")
        for name in NAMES
        for inputs, form in FORMS
    ),
    *(Case(name, (X,), {"axes": [-2]}, opsets=(11, 17)) for name in NAMES),
    *(
        Case(name, (f32(*row),), follows="reference" if np.nan in row and name in OTHERS[2:] else "both")
        for name in (*NAMES, *OTHERS)
        if name != "ReduceLogSumExp"
        for row in SPECIAL
    ),
    # onnx.reference subtracts infinity from itself.
    *(
        Case("ReduceLogSumExp", (f32(*row),), expected=(f32(y),))
        for row, y in zip(SPECIAL, [np.nan, np.inf, np.inf, -np.inf, -999.6867383, 0.6931472], strict=True)
    ),
    *(Case(name, (X.astype(np.float16), i64(1)), rtol=2e-3, follows="onnxruntime") for name in NAMES),
    *(
        Case(name, (np.array(WHOLE, dtype), *axes), form, follows="onnxruntime" if name in BY_ONNXRUNTIME else "both")
        for name in (*NAMES, *OTHERS)
        for dtype in (np.int32, np.int64)
        for axes, form in (((), {}), ((), {"axes": [1]}), ((), {"axes": [0], "keepdims": 0}), ((i64(1),), {}))
    ),
    # Negative numbers have no logarithm, and the power of e of an integer is truncated.
    *(
        Case(
            "ReduceLogSumExp",
            (np.array([[-3, 5, -2, 5], [0, 1, 2, 3]], dtype),),
            {"axes": [axis]},
            opsets=(7, 17),
            follows="onnxruntime",
        )
        for dtype in (np.int32, np.int64)
        for axis in (0, 1)
    ),
    # ONNX Runtime takes the logarithm of 7, which is e^2 truncated.
    Case("ReduceLogSumExp", (i64(2, -3),), {"noop_with_empty_axes": 1}, opsets=(18, 27), expected=(i64(2, -3),)),
    *(
        Case("ReduceL2", (np.full((1, 2), n, t),), expected=(np.array([[int(n * 2**0.5)]], t),))
        for t, n in LARGE.items()
    ),
    *(
        Case("ReduceMean", (np.array([[m, m - 2]], t),), expected=(np.array([[m - 1]], t),), opsets=(13, 28))
        for t, m in ((np.int32, 2**31 - 1), (np.uint32, 2**32 - 1), (np.int64, 2**61 + 3))
    ),
    Case("ReduceSum", (np.array([2**31 - 1, 1], np.int32),), expected=(np.array([-(2**31)], np.int32),)),
    Case("ReduceProd", (np.array([2**16, 2**16], np.int32),), expected=(np.array([0], np.int32),)),
    *(Case(name, (np.array([[0, 7, 9]], t), i64(1))) for name in OTHERS[2:] for t in (np.int8, np.uint8)),
    *(Case(name, (np.array([[True, False], [True, True]]), i64(1)), opsets=(20, 28)) for name in OTHERS[2:]),
    *(Case(name, (np.array(WHOLE).astype(ml_dtypes.bfloat16), i64(1))) for name in (*OTHERS, "ReduceProd")),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ReduceL1", [8, 11]),
        ("ReduceL2", [5, 6]),
        ("ReduceLogSum", [2, 2]),
        ("ReduceLogSumExp", [5, 4]),
        ("ReduceProd", [10, 48]),
        ("ReduceSumSquare", [30, 41]),
        ("ReduceSum", [8, 11]),
        ("ReduceMean", [2, 3]),
        ("ReduceMax", [5, 4]),
        ("ReduceMin", [1, 3]),
    ],
)
def test_types_that_onnxruntime_does_not_have(name, wanted, dtype):
    case = Case(name, (np.array(WHOLE, dtype),), {"axes": [1], "keepdims": 0}, expected=(np.array(wanted, dtype),))
    case.check(11)


@pytest.mark.parametrize(
    ("inputs", "attributes", "version", "reason"),
    [
        ((X,), {"axes": [3]}, 13, "axis 3 is out of range for a tensor with 3 axes"),
        ((X, i64(0, -3)), {}, 18, "axes .* occur twice"),
        ((X, i64(2**62)), {}, 18, "is out of range"),
        ((X, i64(0).reshape(1, 1)), {}, 18, "a list of numbers is needed"),
        ((X, i64(0)), {"axes": [0]}, 18, "attribute 'axes' does not exist at opset 18"),
        ((X,), {"axes": 1}, 13, "attribute 'axes' is 1; INTS is needed"),
    ],
)
def test_what_is_refused(inputs, attributes, version, reason):
    refused(ModelError, reason, "ReduceL1", inputs, attributes, version)
