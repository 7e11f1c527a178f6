"""Types that no plan holds: text, complex numbers, bfloat16, float8 and int4, moved or computed by the handlers."""

import ml_dtypes as ml
import numpy as np
import pytest
from model.eager.nodes import alone, refused
from model.ops.cases import Case, each, f32, i64, real, scalar

from qengine.errors import ModelError, UnsupportedError

WORDS = np.array([["a", "", "ccc"], ["é", "x y", "0"]], object)
BFLOAT = np.array([[1, 2, 3], [-4.5, 0.5, 0]]).astype(ml.bfloat16)
NUMBERS = [[1, 2, 3], [0, 5, 6]]
FOREIGN = (np.complex64, ml.bfloat16, ml.int4, ml.float8_e5m2)


def moved(x):
    """Return cases of every operator that moves elements."""
    return [
        Case("Identity", (x,)),
        Case("Reshape", (x, i64(3, -1))),
        Case("Flatten", (x,)),
        Case("Transpose", (x,)),
        Case("Squeeze", (x[:1],)),
        Case("Squeeze", (x[:1], i64(0))),
        Case("Unsqueeze", (x, i64(0))),
        Case("Tile", (x, i64(2, 1))),
        Case("Expand", (x[:, :1], i64(2, 4))),
        Case("Slice", (x, i64(-1), i64(-9), i64(1), i64(-2))),
        Case("Slice", (x,), {"starts": [0], "ends": [1]}),
        Case("Split", (x, i64(1, 2)), {"axis": 1}, outputs=2),
        Case("Gather", (x, i64(1, -1, 0)), {"axis": 1}),
        Case("Concat", (x, x[:1]), {"axis": 0}),
        Case("Concat", (x,), {"axis": 0}),
        Case("Where", (np.array([True, False, True]), x, x[:, :1])),
        Case("Shape", (x,)),
        Case("Size", (x,)),
        Case("DepthToSpace", (np.concatenate([x, x]).reshape(1, 4, 3, 1),), {"blocksize": 2}),
        Case("SpaceToDepth", (x.reshape(1, 1, 2, 3)[..., :2],), {"blocksize": 2}),
        Case("Pad", (x, i64(0, 1, 1, 0)), {"mode": "edge"}, opsets=(13, 28)),
    ]


def strings(cases, oracle):
    """Return cases of text, which onnx.reference gives in another type."""
    return [Case(c.operator, c.inputs, c.attributes, c.outputs, expected=oracle(c), opsets=c.opsets) for c in cases]


def by_positions(case):
    """Return what a case gives on the places of its elements, as text."""
    words = [x for x in case.inputs if x is not None and x.dtype == object]
    places = {id(x): np.array([FLAT.index(w) for w in x.ravel()]).reshape(x.shape) for x in words}
    inputs = tuple(places.get(id(x), x) for x in case.inputs)
    version = case.versions()[-1]
    found = alone(case.operator, inputs, case.attributes, version, case.outputs)
    if case.operator in ("Shape", "Size"):
        return tuple(found)
    return tuple(np.array([*(FLAT[i] for i in y.ravel()), None], object)[:-1].reshape(y.shape) for y in found)


FLAT = WORDS.ravel().tolist()
PAIRS = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Less", "Greater", "Equal", "PRelu", "MatMul"]
CURVES = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "Abs",
    "Neg",
    "Exp",
    "Floor",
    "Sign",
    "HardSwish",
    "LeakyRelu",
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ArgMax",
]

CASES = [
    *(case for dtype in FOREIGN for case in moved(np.array(NUMBERS).astype(dtype)) if case.versions()),
    *strings(moved(WORDS), by_positions),
    Case("Pad", (WORDS[:1], i64(0, 1, 0, 0)), expected=(np.array([["", "a", "", "ccc"]], object),), opsets=(13, 28)),
    Case("Pad", (WORDS[:1], i64(0, 1, 0, 0), np.array(["z"], object)), opsets=(13, 28),
         expected=(np.array([["z", "a", "", "ccc"]], object),)),
    Case("Pad", (BFLOAT, i64(0, 1, 1, 0), BFLOAT[0, 2:].reshape(())), opsets=(13, 28)),
    Case("Equal", (WORDS, WORDS[:, :1]), expected=(np.array([[True, False, False], [True, False, False]]),)),
    *(Case(name, (BFLOAT, BFLOAT.T.copy() if name == "MatMul" else BFLOAT[::-1].copy())) for name in PAIRS),
    *(Case(name, (BFLOAT,)) for name in CURVES),
    Case("Mod", (BFLOAT, (BFLOAT[:1] + ml.bfloat16(1)).astype(ml.bfloat16)), {"fmod": 1}),
    Case("Clip", (BFLOAT, BFLOAT[1, 1:2].reshape(()), BFLOAT[0, 1:2].reshape(()))),
    Case("Range", tuple(np.array(n).astype(ml.bfloat16) for n in (1, 5, 1.5))),
    *(Case("ConstantOfShape", (i64(2, 3),), {"value": np.array([2]).astype(t)}, follows="reference")
      for t in (ml.bfloat16, ml.int4, ml.float8_e5m2)),
    *(Case("Pow", (x, y)) for x in (f32(0, 1, 2, -2, 3.5, -1), np.float64([0, 1, 2, -2, 3.5, -1]))
      for y in (np.array([0, 1, 2, 3, -1, -2], x.dtype), x[:2, None])),
    *(Case("Pow", (np.array([0, 1, 2, -2, 3, -1], t), y), follows="onnxruntime")
      for t in (np.int32, np.int64)
      for y in (np.array([0, 1, 2, 3, 4, 5], t), f32(0, 1, 2, 3, 0.5, 2), np.array([[1], [2]], t))),
    # ONNX Runtime has no kernel, and onnx.reference refuses negative powers of integers.
    Case("Pow", (i64(1, -1, 2, 3), i64(-1, -3, -2, -1)), expected=(i64(1, -1, 0, 0),)),
    Case("Pow", (np.int32([3, -2]), np.int32([40, 31])), expected=(np.int32([689956897, -(2**31)]),)),
    Case("Erf", (np.int32([-10, -1, 0, 1, 10]),), opsets=(9, 12), expected=(np.int32([-1, 0, 0, 0, 1]),)),
    Case("Dropout", (real(2, 3),), outputs=2, opsets=(7, 9), expected=(real(2, 3), np.ones((2, 3), np.float32))),
    Case("Dropout", (BFLOAT,), outputs=2),
    Case("Dropout", (real(2, 3), scalar(0.0), scalar(True, bool)), outputs=2, opsets=(12, 28),
         expected=(real(2, 3), np.ones((2, 3), bool))),
]  # fmt: skip


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


def test_a_seed_says_what_a_training_drops():
    x = real(40, 50)
    given = (x, scalar(0.25), scalar(True, bool))
    y, mask = alone("Dropout", given, {"seed": 3}, outputs=2)
    np.testing.assert_allclose(y, np.where(mask, x / 0.75, 0), rtol=1e-6)
    assert 0.7 < mask.mean() < 0.8
    np.testing.assert_array_equal(alone("Dropout", given, {"seed": 3})[0], y)
    assert np.any(alone("Dropout", given, {"seed": 4})[0] != y)


def test_sequences_pass_through_identity():
    (y,) = alone("Identity", ([f32(1), f32(2, 3)],))
    assert [a.tolist() for a in y] == [[1], [2, 3]]


@pytest.mark.parametrize(
    ("error", "reason", "name", "inputs", "attributes", "version"),
    [
        (ModelError, "cannot become", "Reshape", (WORDS, i64(5)), {}, 13),
        (ModelError, "an index .* outside of -2..1", "Gather", (WORDS, i64(2)), {}, 13),
        (UnsupportedError, "has more than", "Tile", (WORDS, i64(2**40, 1)), {}, 13),
        (UnsupportedError, "drops elements at random", "Dropout", (real(3), scalar(0.5), scalar(True, bool)), {}, 13),
        (ModelError, "ratio is 2.0, outside", "Dropout", (real(3), scalar(2.0), scalar(True, bool)), {}, 13),
        (ModelError, "gives at most 1 outputs, 2 are asked", "Relu", (real(3),), {"outputs": 2}, 13),
        (ModelError, "attribute 'alpha' does not exist at opset 13; there are none", "Relu", (real(3),),
         {"alpha": 1.0}, 13),
        (ModelError, "attribute 'axes' does not exist at opset 18", "ReduceMean", (real(3),), {"axes": [0]}, 18),
    ],
)  # fmt: skip
def test_what_is_refused(error, reason, name, inputs, attributes, version):
    more = {"outputs": attributes.pop("outputs")} if "outputs" in attributes else {}
    refused(error, reason, name, inputs, attributes, version, **more)
