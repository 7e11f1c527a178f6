"""NonZero, TopK, Compress, Unique and ReverseSequence against ONNX Runtime, onnx.reference and NumPy."""

import ml_dtypes
import numpy as np
import pytest
from model.eager.nodes import alone, refused
from model.ops.cases import Case, each, f32, i64, real, scalar

from qengine.errors import ModelError

R = np.random.default_rng(7)
TYPES = (np.float16, np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8, np.uint64)
EXACT = {"rtol": 0, "atol": 0}
TIED = {t: R.integers(0, 4, (3, 5)).astype(t) for t in TYPES}
X = real(2, 3, 4)
ROWS = np.array([[1, 0], [1, 0], [2, 3], [1, 0], [0, 9]])
WORDS = np.array(["b", "a", "", "b"], object)

CASES = [
    *(Case("NonZero", (x,)) for x in (TIED[np.float32], TIED[np.int64], TIED[np.uint8] > 1, real(0, 3), i64(0, 0),
                                     f32(np.nan, -0.0, 1))),
    # ONNX gives a number no rows, other than ONNX Runtime.
    *(Case("NonZero", (scalar(n),), follows="reference") for n in (0, 3)),
    *(Case("TopK", (TIED[t], i64(k)), attributes, outputs=2, **EXACT)
      for t in TYPES for k, attributes in ((2, {}), (3, {"axis": 0, "largest": 0}), (5, {"axis": -1, "largest": 0}))),
    *(Case("TopK", (TIED[t],), {"k": 2, "axis": axis}, outputs=2, **EXACT) for t in TYPES[:3] for axis in (0, 1, -1)),
    *(Case("TopK", (real(2, 1, 3, 2, 2), i64(2)), {"axis": axis}, outputs=2, **EXACT) for axis in (0, 2, -2)),
    Case("TopK", (X, i64(0)), outputs=2),
    Case("TopK", (real(0, 3), i64(2)), outputs=2),
    *(Case("TopK", (f32(1, np.nan, 3, np.inf, np.nan, -np.inf), i64(6)), {"largest": largest}, outputs=2,
           opsets=(11, 28), expected=(values, indices))
      for largest, values, indices in (
          (1, f32(np.nan, np.nan, np.inf, 3, 1, -np.inf), i64(1, 4, 3, 2, 0, 5)),
          (0, f32(-np.inf, 1, 3, np.inf, np.nan, np.nan), i64(5, 0, 2, 3, 1, 4)))),
    Case("TopK", (R.integers(0, 4, (2, 5)).astype(ml_dtypes.bfloat16), i64(3)), outputs=2),
    *(Case("Compress", (X, np.array(condition, bool)), {"axis": axis} if axis is not None else {})
      for condition, axis in (([1, 0], 0), ([0, 1], 1), ([1, 1, 0], -2), ([0, 0], 2), ([0] * 5 + [1] * 3, None),
                              ([], 1), ([1] * 24, None))),
    *(Case("Compress", (TIED[t], np.array([True, False, True])), {"axis": 0}, **EXACT) for t in TYPES),
    *(Case("Unique", (ROWS.astype(t),), attributes, outputs=4, follows="both" if t != np.uint64 else "reference")
      for t in TYPES[1:] for attributes in ({}, {"axis": 0}, {"axis": 1}, {"axis": -1, "sorted": 1})),
    # onnx.reference fails, or sorts anyway.
    *(Case("Unique", (ROWS.astype(t),), {"sorted": 0, **axis}, outputs=4, follows="onnxruntime")
      for t in (np.float32, np.float64, np.int64, np.int8) for axis in ({}, {"axis": 0}, {"axis": 1})),
    Case("Unique", (real(0, 3),), {"axis": 1}, outputs=4, expected=(
        np.zeros((0, 1), np.float32), i64(0), i64(0, 0, 0), i64(3))),
    Case("Unique", (WORDS,), outputs=4, expected=(np.array(["", "a", "b"], object), i64(2, 1, 0), i64(2, 1, 0, 2),
                                                   i64(1, 1, 2))),
    Case("Unique", (WORDS.reshape(2, 2),), {"axis": 0, "sorted": 0}, expected=(WORDS.reshape(2, 2),)),
    *(Case("ReverseSequence", (real(*shape), i64(*lengths)), {"batch_axis": batch, "time_axis": 1 - batch})
      for shape, lengths, batch in (((3, 4), (4, 1, 2), 0), ((4, 3, 2), (4, 1, 3), 1), ((2, 3, 1, 2), (3, 1), 0))),
    Case("ReverseSequence", (real(4, 3), i64(1, 2, 4))),
    # A length of 0 reverses nothing.
    Case("ReverseSequence", (real(4, 3), i64(0, 2, 4)), follows="onnxruntime"),
    *(Case("ReverseSequence", (TIED[t], i64(1, 2, 3, 1, 2)), **EXACT) for t in TYPES),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_unsorted_ranks_are_allowed_to_be_sorted():
    values, indices = alone("TopK", (f32(1, 5, 3), i64(2)), {"sorted": 0}, outputs=2)
    np.testing.assert_array_equal(values, [5, 3])
    np.testing.assert_array_equal(indices, [1, 2])


@pytest.mark.parametrize(
    ("reason", "name", "inputs", "attributes", "version"),
    [
        ("k is 5, outside of 0..4, the length of axis 2", "TopK", (X, i64(5)), {}, 11),
        ("k is -1, outside of 0..4", "TopK", (X, i64(-1)), {}, 11),
        ("outside of 0..4", "TopK", (X, i64(2**62)), {}, 11),
        ("k is 5, outside of 0..4", "TopK", (X,), {"k": 5}, 9),
        ("k of shape .* a single integer", "TopK", (X, i64(1, 1)), {}, 11),
        ("axis 3 is out of range", "TopK", (X, i64(1)), {"axis": 3}, 11),
        ("at most 2 elements", "Compress", (X, np.ones(3, bool)), {"axis": 0}, 11),
        ("at most 24 elements", "Compress", (X, np.ones(25, bool)), {}, 11),
        ("at most 24 elements", "Compress", (X, np.ones((1, 1), bool)), {}, 11),
        ("axis -4 is out of range", "Unique", (X,), {"axis": -4}, 11),
        ("are not all in 0..2", "ReverseSequence", (X, i64(1, 2, 3)), {}, 10),
        ("are not all in 0..2", "ReverseSequence", (X, i64(1, 2, -1)), {}, 10),
        ("3 are needed", "ReverseSequence", (X, i64(1)), {}, 10),
        ("one of the two", "ReverseSequence", (X, i64(1, 1)), {"batch_axis": 0}, 10),
        ("one of the two", "ReverseSequence", (X, i64(1, 1)), {"batch_axis": 0, "time_axis": 2}, 10),
        ("at least 2 axes", "ReverseSequence", (f32(1), i64(1)), {}, 10),
    ],
)
def test_what_is_refused(reason, name, inputs, attributes, version):
    refused(ModelError, reason, name, inputs, attributes, version)
