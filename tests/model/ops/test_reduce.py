import numpy as np
import pytest

from .cases import Case, each, f32, i64, real, scalar

X = real(2, 3, 4)
TIES = np.array([[3, 1, 3], [1, 1, 0]], np.float32)
WHOLE = np.array([[-3, 2], [1, -8]], np.int32)
REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")

CASES = [
    *(
        Case(operator, inputs, attributes)
        for operator in REDUCTIONS
        for inputs, attributes in (
            ((X,), {}),
            ((X,), {"keepdims": 0}),
            ((X,), {"axes": [0]}),
            ((X,), {"axes": [1, 2], "keepdims": 0}),
            ((X,), {"axes": [2, 0]}),
            ((X, i64(0)), {}),
            ((X, i64(1, 2)), {"keepdims": 0}),
            ((X, i64(-1, 0)), {"keepdims": 1}),
            ((X, i64()), {}),
            ((X, i64()), {"keepdims": 0}),
            ((X, i64()), {"noop_with_empty_axes": 1}),
            ((X,), {"noop_with_empty_axes": 1}),
            ((X, i64(1)), {"noop_with_empty_axes": 1}),
            ((scalar(3.0),), {"keepdims": 0}),
            ((WHOLE,), {"axes": [1]}),
            ((WHOLE, i64(1)), {}),
            ((real(0, 3),), {"axes": [1]}),
            ((real(0, 3), i64(1)), {}),
            ((X.astype(np.float64),), {}),
        )
    ),
    *(Case(operator, (X,), {"axes": [-2]}, opsets=(11, 17)) for operator in REDUCTIONS),
    *(Case(operator, (real(2, 0),), {"axes": [1]}) for operator in REDUCTIONS[1:]),
    *(Case(operator, (real(2, 0), i64(1))) for operator in REDUCTIONS[1:]),
    *(Case(operator, (WHOLE[:, :0], i64(1))) for operator in REDUCTIONS[1:]),
    # The mean of nothing is 0 as in ONNX Runtime; onnx.reference has NaN, which fixed point has not.
    Case("ReduceMean", (real(2, 0),), {"axes": [1]}, follows="onnxruntime"),
    Case("ReduceMean", (real(2, 0), i64(1)), follows="onnxruntime"),
    Case("ReduceMax", (np.array([[True, False], [False, False]]), i64(1))),
    Case("ReduceMin", (np.array([[True, False], [True, True]]), i64(1))),
    *(
        Case(operator, (x,), attributes)
        for operator in ("ArgMax", "ArgMin")
        for x, attributes in (
            (X, {}),
            (X, {"axis": 1}),
            (X, {"axis": 2, "keepdims": 0}),
            (TIES, {"axis": 0}),
            (TIES, {"axis": 1}),
            (TIES, {"axis": 1, "select_last_index": 1}),
            (TIES, {"axis": 0, "select_last_index": 1, "keepdims": 0}),
            (WHOLE, {"axis": 1}),
            (f32(-0.0, 0.0), {}),
            (real(0, 3), {"axis": 1}),
        )
    ),
    *(Case(operator, (X,), {"axis": -1}, opsets=(11, 28)) for operator in ("ArgMax", "ArgMin")),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)
