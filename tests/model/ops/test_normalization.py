import numpy as np
import pytest

import qengine

from .cases import Case, each, f32, real

X = real(2, 3, 4)

# Before opset 13 all axes from `axis` on are normalized together; onnx.reference takes the one axis there too.
VERSIONS = (((7, 12), "onnxruntime"), ((13, 28), "both"))
FAR = f32(1000, -1000, 0, 88).reshape(1, 4)

CASES = [
    *(
        Case(operator, (x,), attributes, opsets=opsets, follows=follows)
        for operator in ("Softmax", "LogSoftmax")
        for opsets, follows in VERSIONS
        for x, attributes in (
            (X, {}),
            (X, {"axis": 0}),
            (X, {"axis": 1}),
            (X, {"axis": 2}),
            (real(0, 3), {"axis": 1}),
            (real(3, 0), {"axis": 1}),
            (real(0, 3, 2), {}),
            (X.astype(np.float64), {}),
        )
    ),
    *(
        Case(operator, (X,), {"axis": axis}, opsets=opsets, follows=follows)
        for operator in ("Softmax", "LogSoftmax")
        for opsets, follows in (((11, 12), "onnxruntime"), ((13, 28), "both"))  # from the back since 11
        for axis in (-1, -2, -3)
    ),
    Case("Softmax", (FAR,)),
    Case("LogSoftmax", (FAR,), follows="onnxruntime"),  # onnx.reference takes the logarithm of 0
    Case("LayerNormalization", (X, real(4, seed=1))),
    Case("LayerNormalization", (X, real(4, seed=1), real(4, seed=2)), {"epsilon": 0.25}),
    Case("LayerNormalization", (X, real(3, 4, seed=1), real(3, 4, seed=2)), {"axis": 1}),
    Case("LayerNormalization", (X, real(3, 4, seed=1)), {"axis": -2, "stash_type": 1}),
    Case("LayerNormalization", (X, real(2, 3, 4, seed=1)), {"axis": 0}),
    *(
        Case("LayerNormalization", (X, real(*shape, seed=1), real(*shape, seed=2)), {"axis": axis})
        for axis, shape in ((-1, (1, 4)), (1, (3, 1)), (2, (1, 1, 4)), (2, (2, 3, 4)), (2, (2, 1, 1)), (2, ()))
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("bits", [8, 16])
def test_scale_of_any_rank_has_the_same_codes(bits):
    codes = []
    for shape in ((4,), (1, 1, 4)):
        inputs = (X, real(4, seed=1).reshape(shape), real(4, seed=2).reshape(shape))
        model, feeds = Case("LayerNormalization", inputs).model(17, constant=True)
        formats = qengine.calibrate(model, [feeds], bits=bits)
        for isa in ("reference", None):
            codes += qengine.InferenceSession(model, formats=formats, isa=isa).run(None, feeds, raw=True)
    for one in codes[1:]:
        np.testing.assert_array_equal(one, codes[0])
