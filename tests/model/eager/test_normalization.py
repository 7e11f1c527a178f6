"""Normalizations against ONNX Runtime, onnx.reference and their formulas in NumPy."""

import numpy as np
import pytest
from model.ops.cases import NEWEST, Case, each, real

import qengine

X3, X4, X5 = real(2, 6, 5), real(3, 6, 4, 2), real(2, 6, 2, 3, 2)
X16 = X3.astype(np.float16)
ZERO_ROW = np.concatenate([real(2, 4), np.zeros((1, 4), np.float32)])


def lrn(x, size, alpha=1e-4, beta=0.75, bias=1.0):
    """Return the formula of the specification, one channel after the other."""
    y, wide = np.empty_like(x), x.astype(np.float64)
    for c in range(x.shape[1]):
        first, last = max(0, c - (size - 1) // 2), min(x.shape[1] - 1, c + -(-(size - 1) // 2))
        total = (wide[:, first : last + 1] ** 2).sum(1)
        y[:, c] = wide[:, c] / (bias + alpha / size * total) ** beta
    return (y,)


def half(case, tolerance=2e-3):
    """Return a case in float16, whose result is that in float32 rounded once."""
    wide = tuple(a if a is None else a.astype(np.float16).astype(np.float32) for a in case.inputs)
    model, feeds = Case(case.operator, wide, case.attributes).model(NEWEST, constant=False)
    (y,) = qengine.InferenceSession(model).run(None, feeds)
    narrow = tuple(a if a is None else a.astype(np.float16) for a in case.inputs)
    expected = (y.astype(np.float16),)
    return Case(case.operator, narrow, case.attributes, expected=expected, rtol=tolerance, opsets=case.opsets)


def rms(x):
    """Return x over the root of the mean of its squares along the last axis."""
    wide = x.astype(np.float32)
    return wide / np.sqrt((wide**2).mean(-1, keepdims=True) + np.float32(1e-5))


STRONG = {"alpha": 0.5, "beta": 0.6, "bias": 2.0}
# onnx.reference takes the batch for the channels, and four axes only; so does ONNX Runtime, and odd sizes only.
LRN = [
    *(Case("LRN", (X4,), {"size": size, **STRONG}, follows="onnxruntime") for size in (1, 3, 5, 11)),
    *(
        Case("LRN", (x,), {"size": size, **more}, expected=lrn(x, size, **more))
        for x in (X3, X4, X5, real(1, 7, 3, 3), real(2, 9), real(0, 3, 2, 2))
        for size, more in ((1, {}), (2, STRONG), (3, {}), (4, STRONG), (5, STRONG), (40, STRONG), (2**31 - 1, {}))
    ),
    half(Case("LRN", (X4,), {"size": 3})),
]
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
    # onnx.reference adds the elements themselves for p = 1, and not their absolute values.
    *(
        Case("LpNormalization", (x,), {"p": p, **more}, follows="onnxruntime" if p == 1 else "both")
        for p in (1, 2)
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
    # Outputs that the handler does not give; onnx.reference gives those of float16 in float16.
    *(
        Case("LayerNormalization", (x, real(*shape, seed=1), *b), {"axis": axis, "epsilon": 0.2}, outputs=3)
        for x, axis, shape in (
            (X3, -1, (5,)),
            (X3, 1, (6, 5)),
            (X4, -3, (6, 1, 2)),
            (X3, 2, (2, 6, 5)),
            (real(5), 0, ()),
        )
        for b in ((), (real(*shape, seed=2),))
    ),
    Case(
        "LayerNormalization",
        (X16, real(5).astype(np.float16)),
        outputs=3,
        follows="onnxruntime",
        rtol=2e-3,
        atol=2e-3,
    ),
]


@pytest.mark.parametrize(**each([*LRN, *GROUPS, *OTHERS]))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("LRN", (X4,), {"size": 0}, "size is 0"),
        ("LRN", (real(4),), {"size": 1}, "batch and channel"),
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
