"""Normalizations against ONNX Runtime, onnx.reference and their formulas in NumPy."""

import numpy as np
import pytest
from model.ops.cases import NEWEST, Case, each, half, real

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
OTHERS = [
    # onnx.reference adds the elements themselves for p = 1, and not their absolute values.
    *(
        Case("LpNormalization", (x,), {"p": 1, **more}, follows="onnxruntime")
        for x, more in (
            (X3, {}),
            (X4, {"axis": 0}),
            (X4, {"axis": -2}),
            (real(7), {}),
            (ZERO_ROW, {}),
            (real(0, 3), {}),
        )
    ),
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


@pytest.mark.parametrize(**each([*LRN, *OTHERS]))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("LRN", (X4,), {"size": 0}, "size is 0"),
        ("LRN", (real(4),), {"size": 1}, "batch and channel"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_fit_is_an_error(operator, inputs, attributes, message):
    model, feeds = Case(operator, inputs, attributes).model(NEWEST, constant=False)
    with pytest.raises(qengine.QEngineError, match=message):
        qengine.InferenceSession(model).run(None, feeds)
