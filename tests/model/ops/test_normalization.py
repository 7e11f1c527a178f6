import numpy as np
import pytest

import qengine

from .cases import NEWEST, Case, each, f32, half, real

X = real(2, 3, 4)
X3, X4, X5 = real(2, 6, 5), real(3, 6, 4, 2), real(2, 6, 2, 3, 2)
X16 = X3.astype(np.float16)
ZERO_ROW = np.concatenate([real(2, 4), np.zeros((1, 4), np.float32)])

# Before opset 13 all axes from `axis` on are normalized together; onnx.reference takes the one axis there too.
VERSIONS = (((7, 12), "onnxruntime"), ((13, 28), "both"))
FAR = f32(1000, -1000, 0, 88).reshape(1, 4)


def rms(x):
    """Return x over the root of the mean of its squares along the last axis."""
    wide = x.astype(np.float32)
    return wide / np.sqrt((wide**2).mean(-1, keepdims=True) + np.float32(1e-5))


C6 = (real(6, seed=1), real(6, seed=2))
GROUPS = [
    Case("GroupNormalization", (x, real(n, seed=1), real(n, seed=2)), {"num_groups": groups, **more}, opsets=opsets)
    for x in (X3, X4, X5, real(2, 6))
    for groups, more in ((1, {}), (2, {"epsilon": 0.3}), (6, {}))
    for n, opsets in ((groups, (18, 20)), (6, (21, NEWEST)))
]
OTHERS = [
    *(Case("InstanceNormalization", (x, *C6), more) for x in (X3, X4, X5) for more in ({}, {"epsilon": 0.3})),
    Case("InstanceNormalization", (real(0, 6, 4), *C6), follows="onnxruntime"),
    half(Case("InstanceNormalization", (X3, *C6))),
    *(
        Case("MeanVarianceNormalization", (x,), more, follows="reference", rtol=1e-4, atol=1e-5)
        for x, more in (
            (X4, {}),
            (1e-6 * X4, {}),  # the deviation is not far above 1e-9, which ONNX Runtime leaves out
            (np.ones_like(X4), {}),
            (X5, {"axes": [0, 2, 3, 4]}),
            (X3, {"axes": [-1, 0]}),
            (X3, {"axes": [1]}),
            (real(6), {"axes": [0]}),
        )
    ),
    half(Case("MeanVarianceNormalization", (X4,)), tolerance=1e-2),
    *(
        Case("LpNormalization", (x,), more)
        for x, more in (
            (X3, {}),
            (X4, {"axis": 0}),
            (X4, {"axis": -2}),
            (real(7), {}),
            (ZERO_ROW, {}),
            (real(0, 3), {}),
        )
    ),
    Case("LpNormalization", (X3.astype(np.float64),)),
    half(Case("LpNormalization", (X3,))),
    *(
        Case("RMSNormalization", (x, real(*shape, seed=1)), {"axis": axis, "epsilon": 0.2})
        for x, axis, shape in (
            (X3, -1, (5,)),
            (X3, 1, (6, 5)),
            (X3, 0, (2, 6, 5)),
            (X3, -1, (2, 1, 1)),
            (X3, 2, (1, 6, 1)),
            (X3, -1, ()),
            (real(5), 0, (5,)),
        )
    ),
    # ONNX Runtime refuses two types, which the schema allows; the result has the type of the scale.
    Case("RMSNormalization", (X16, real(5)), expected=(rms(X16) * real(5),), rtol=1e-4),
]
CASES = [
    *GROUPS,
    *OTHERS,
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


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("InstanceNormalization", (X3, real(5), real(6)), {}, r"scale has the shape \[5\], \[6\] is needed"),
        ("InstanceNormalization", (real(2, 6), *C6), {}, "at least one more"),
        ("GroupNormalization", (X3, *C6), {"num_groups": 4}, "num_groups is 4, a divisor of 6"),
        ("GroupNormalization", (X3, *C6), {"num_groups": 0}, "num_groups is 0"),
        ("GroupNormalization", (X3, *C6), {"num_groups": 2, "stash_type": 16}, "stash_type is 16"),
        ("GroupNormalization", (X3, real(2), real(2)), {"num_groups": 2}, r"scale has the shape \[2\]"),
        ("MeanVarianceNormalization", (X3,), {}, "out of range"),
        ("MeanVarianceNormalization", (X3,), {"axes": [1, -2]}, "occur twice"),
        ("LpNormalization", (X3,), {"p": 3}, "p is 3"),
        ("LpNormalization", (X3,), {"axis": 3}, "out of range"),
        ("RMSNormalization", (X3, real(4)), {}, "does not broadcast"),
        ("RMSNormalization", (X3, real(1, 2, 6, 5)), {}, "does not broadcast"),
        ("RMSNormalization", (X3, real(5)), {"stash_type": 10}, "stash_type is 10"),
        ("LayerNormalization", (X3, real(5)), {"stash_type": 10}, "stash_type is 10"),
        ("LayerNormalization", (X3, real(1, 1, 1, 5)), {}, "does not broadcast"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_fit_is_an_error(operator, inputs, attributes, message):
    model, feeds = Case(operator, inputs, attributes).model(NEWEST, constant=False)
    with pytest.raises(qengine.QEngineError, match=message):
        qengine.InferenceSession(model).run(None, feeds)
