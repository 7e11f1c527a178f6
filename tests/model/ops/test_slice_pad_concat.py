import numpy as np
import pytest

from .cases import Case, each, f32, i64, real, scalar

X = real(5, 4, 3)
FAR = np.iinfo(np.int64).max


def old_slice(**attributes):
    return Case("Slice", (X,), attributes)


def new_slice(*inputs):
    return Case("Slice", (X, *(None if v is None else i64(*v) for v in inputs)))


def pad(pads, value=None, axes=None, mode="constant", x=X):
    inputs = (x, i64(*pads), None if value is None else scalar(value), None if axes is None else i64(*axes))
    while inputs[-1] is None:
        inputs = inputs[:-1]
    attributes = {} if mode == "constant" else {"mode": mode}
    # onnx.reference cannot crop.
    follows = "onnxruntime" if min(pads) < 0 else "both"
    return Case("Pad", inputs, attributes, opsets=(18 if mode == "wrap" else 7, 28), follows=follows)


CASES = [
    # ONNX Runtime does not pad a scalar.
    Case("Pad", (scalar(2.5), i64()), opsets=(11, 28), expected=(scalar(2.5),)),
    old_slice(starts=[1], ends=[3]),
    old_slice(starts=[1, 0], ends=[FAR, -1], axes=[0, 2]),
    old_slice(starts=[-2, -9], ends=[9, 2], axes=[1, 0]),
    old_slice(starts=[3], ends=[1]),
    new_slice([1], [3]),
    new_slice([1, 0], [FAR, -1], [0, 2]),
    new_slice([-2, -9], [9, 2], [1, 0], [1, 2]),
    new_slice([0], [FAR], [1], [3]),
    new_slice([-1], [-FAR - 1], [0], [-1]),
    new_slice([4], [0], [0], [-2]),
    new_slice([-2], [-9], [0], [-1]),
    new_slice([9], [-9], [0], [-1]),
    new_slice([-9], [9], [0], [2]),
    new_slice([1], [4], [0], [FAR]),
    new_slice([4], [-6], [0], [-FAR]),
    new_slice([3], [3], [0]),
    new_slice([-1], [1], [0], [-1]),
    new_slice([0, 0, 0], [1, 1, 1]),
    new_slice([1], [3], None, [2]),
    Case("Slice", (X, np.array([1], np.int32), np.array([9], np.int32), np.array([-1], np.int32)), opsets=(11, 28)),
    Case("Slice", (real(0, 3), i64(0), i64(5), i64(0))),
    # For negative steps a start before the front is the first element; onnx.reference slices as Python does.
    *(
        Case(
            "Slice",
            (real(4), i64(start), i64(end), i64(0), i64(step)),
            follows="onnxruntime" if step < 0 and start < -4 else "both",
        )
        for start in (-6, -5, -4, -1, 0, 3, 9)
        for end in (-9, -5, -4, -2, 0, 4, 9)
        for step in (-3, -1, 1, 2)
    ),
    Case("Split", (real(6, 2),), {"axis": 0}, outputs=3, opsets=(7, 17)),
    Case("Split", (real(2, 6),), {"axis": 1, "split": [1, 2, 3]}, outputs=3),
    Case("Split", (real(2, 6),), {"axis": 1, "split": [6, 0]}, outputs=2),
    Case("Split", (real(2, 6),), {"axis": -1}, outputs=2, opsets=(11, 17)),
    Case("Split", (real(6, 2),), outputs=2, opsets=(7, 17)),
    Case("Split", (real(2, 6), i64(1, 2, 3)), {"axis": 1}, outputs=3),
    Case("Split", (real(2, 6), i64(0, 6)), {"axis": 1}, outputs=2),
    Case("Split", (real(2, 6),), {"axis": 1, "num_outputs": 3}, outputs=3),
    Case("Split", (real(2, 7),), {"axis": 1, "num_outputs": 3}, outputs=3),
    Case("Split", (real(2, 7),), {"axis": -1, "num_outputs": 1}),
    Case("Gather", (X, i64(2, 0))),
    Case("Gather", (X, np.array([[2, 0], [1, 1]], np.int32)), {"axis": 1}),
    Case("Gather", (X, scalar(1, np.int64)), {"axis": 2}),
    Case("Gather", (X, i64(-1, -5, 4)), opsets=(11, 28)),
    Case("Gather", (X, i64(0)), {"axis": -1}, opsets=(11, 28)),
    Case("Gather", (X, np.zeros((2, 0), np.int64))),
    Case("Gather", (i64(3, 4, 5), i64(1))),
    Case("Pad", (X,), {"pads": [1, 0, 2, 0, 1, 1]}),
    Case("Pad", (X,), {"pads": [1, 0, 2, 0, 1, 1], "value": 2.5}),
    Case("Pad", (X,), {"pads": [1, -1, 2, -2, 1, 0], "value": 2.5}, follows="onnxruntime"),
    Case("Pad", (X,), {"pads": [1, 0, 2, 0, 1, 1], "mode": "reflect"}),
    Case("Pad", (X,), {"pads": [1, 0, 2, 0, 1, 1], "mode": "edge"}),
    pad([1, 0, 2, 0, 1, 1]),
    pad([1, 0, 2, 0, 1, 1], 2.5),
    pad([1, -1, 2, -2, 1, 0], 2.5),
    pad([0, 0, 0, 0, 0, 0]),
    pad([1, 2], 2.5, [1]),
    pad([1, 2, 0, 3], None, [-1, 0]),
    pad([4, 3, 2, 4, 3, 2], mode="reflect"),
    pad([1, 0, 2, 0, 1, 1], mode="edge"),
    pad([7, 0, 2, 0, 1, 9], mode="edge"),
    pad([1, 2], None, [1], "edge"),
    pad([1, 2], None, [1], "reflect"),
    pad([1, 0, 2, 0, 1, 1], mode="wrap"),
    pad([5, 4, 3, 5, 4, 3], mode="wrap"),
    pad([1, 2], None, [1], "wrap"),
    Case("Pad", (i64(1, 2), i64(1, 1), scalar(7, np.int64))),
    Case("Pad", (np.array([True]), i64(1, 1), scalar(True, bool)), opsets=(13, 28)),
    Case("Pad", (real(0, 2), i64(1, 0, 1, 0), scalar(3.0))),
    Case("Concat", (real(2, 3), real(2, 1), real(2, 2)), {"axis": 1}),
    Case("Concat", (real(2, 3),), {"axis": 0}),
    Case("Concat", (real(2, 3), real(0, 3), real(1, 3)), {"axis": 0}),
    Case("Concat", (i64(1, 2), i64(3)), {"axis": -1}, opsets=(11, 28)),
    Case("Concat", (f32(1, 2), f32(3), f32(), f32(4)), {"axis": 0}),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)
