"""LpPool, GlobalLpPool and MaxUnpool against ONNX Runtime."""

import numpy as np
import pytest
from model.ops.cases import NEWEST, Case, by_onnxruntime, each, i64, real

import qengine

X1, X2, X3 = real(2, 3, 9), real(1, 2, 8, 7), real(1, 2, 5, 6, 6)
KERNELS = ((X1, [3]), (X2, [3, 2]), (X3, [2, 3, 2]))


def variants(n):
    return (
        {},
        {"strides": [2] * n},
        {"pads": [1] * 2 * n, "strides": [2] * n},
        {"pads": [0] * n + [1] * n},
        {"dilations": [2] * n, "pads": [1] * 2 * n},
        {"ceil_mode": 1, "strides": [2] * n},
        {"ceil_mode": 1, "strides": [3] * n, "pads": [1] * 2 * n},
        {"auto_pad": "SAME_UPPER", "strides": [2] * n},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
    )


# onnx.reference gets windows at the end wrong with ceil_mode, and has no GlobalLpPool; neither has ONNX Runtime at 22.
LP = [
    *(
        Case("LpPool", (x,), {"kernel_shape": kernel, "p": p, **more}, follows="onnxruntime", rtol=1e-4)
        for x, kernel in KERNELS
        for p in (1, 2, 3)
        for more in variants(len(kernel))
    ),
    Case("LpPool", (real(0, 2, 8, 7),), {"kernel_shape": [3, 2]}),
    *(
        Case("GlobalLpPool", (x,), {"p": p}, follows="onnxruntime", opsets=(7, 21), rtol=1e-4)
        for x in (X1, X2, X3, real(0, 3, 4))
        for p in (1, 2, 3)
    ),
    *(
        Case("GlobalLpPool", (x,), expected=(np.sqrt((x**2).sum(tuple(range(2, x.ndim)), keepdims=True)),))
        for x in (X1, X2)
    ),
    # Powers that float32 does not hold.
    Case(
        "GlobalLpPool",
        (np.float32([[[3e30, 4e30]], [[3e-30, 4e-30]]]),),
        expected=(np.float32([[[5e30]], [[5e-30]]]),),
        atol=0,
    ),
    Case("LpPool", (np.float32([[[3e30, 4e30]]]),), {"kernel_shape": [2]}, expected=(np.float32([[[5e30]]]),)),
    Case("GlobalLpPool", (np.float32([[[2, -2]]]),), {"p": 2**31 - 1}, expected=(np.float32([[[2]]]),)),
    Case("GlobalLpPool", (np.float16([[[3, -4]]]),), expected=(np.float16([[[5]]]),)),
]


def pooled(x, kernel, strides, pads=None):
    """Return ONNX Runtime's maxima and their indices."""
    attributes = {"kernel_shape": kernel, "strides": strides} | ({"pads": pads} if pads else {})
    return by_onnxruntime(*Case("MaxPool", (x,), attributes, outputs=2).model(12, constant=False))


def unpool(shape, kernel, strides, pads=None, output_shape=None):
    attributes = {"kernel_shape": kernel, "strides": strides} | ({"pads": pads} if pads else {})
    inputs = (*pooled(real(*shape), kernel, strides, pads), *(() if output_shape is None else (i64(*output_shape),)))
    return Case("MaxUnpool", inputs, attributes, follows="onnxruntime")


# onnx.reference reads indices into the shape that the strides give, and not into output_shape.
UNPOOL = [
    unpool((2, 3, 8, 8), [2, 2], [2, 2]),
    unpool((2, 3, 9), [3], [2]),
    unpool((2, 3, 9), [3], [2], [1, 1]),
    unpool((1, 2, 4, 6, 4), [2, 2, 2], [2, 2, 2]),
    unpool((2, 2, 6, 6), [3, 3], [1, 1]),
    unpool((1, 2, 7, 7), [2, 2], [2, 2], None, (1, 2, 7, 7)),
    unpool((3, 2, 7, 9), [2, 2], [2, 2], None, (3, 2, 7, 9)),
    unpool((2, 3, 9), [3], [2], [1, 1], (2, 3, 9)),
    # The test of ONNX: indices into 4 x 4, a result of 5 x 5.
    Case(
        "MaxUnpool",
        (np.float32([[[[5, 6], [7, 8]]]]), i64(5, 7, 13, 15).reshape(1, 1, 2, 2), i64(1, 1, 5, 5)),
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        follows="reference",
    ),
]


@pytest.mark.parametrize(**each([*LP, *UNPOOL]))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_unpool_and_pool_of_an_odd_image_are_inverse(dtype):
    x = real(2, 2, 5, 7).astype(dtype)
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    values, indices = qengine.InferenceSession(Case("MaxPool", (x,), attributes, outputs=2).model(12, False)[0]).run(
        None, {"x0": x}
    )
    case = Case("MaxUnpool", (values, indices, i64(*x.shape)), {"kernel_shape": [2, 2], "strides": [2, 2]})
    model, feeds = case.model(11, constant=False)
    (y,) = qengine.InferenceSession(model).run(None, feeds)
    assert y.dtype == dtype
    assert (y != 0).sum() == values.size
    np.testing.assert_array_equal(y[y != 0], x[y != 0])


V, PLACES = pooled(real(1, 2, 6, 6), [2, 2], [2, 2])
KERNEL = {"kernel_shape": [2, 2], "strides": [2, 2]}


def moved(value):
    indices = PLACES.copy()
    indices.flat[3] = value
    return indices


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("MaxUnpool", (V, moved(72)), KERNEL, "the index 72, outside of 0..71"),
        ("MaxUnpool", (V, moved(-1)), KERNEL, "the index -1, outside"),
        ("MaxUnpool", (V, moved(2**62)), KERNEL, "the index 4611686018427387904, outside"),
        ("MaxUnpool", (V, PLACES[:, :, :2]), KERNEL, "I has the shape"),
        ("MaxUnpool", (V, PLACES, i64(1, 2, 6)), KERNEL, "output_shape has the shape|cannot run"),
        ("MaxUnpool", (V, PLACES, i64(1, 3, 6, 6)), KERNEL, "begins with other lengths"),
        ("MaxUnpool", (V, PLACES, i64(1, 2, -6, 6)), KERNEL, "negative"),
        ("MaxUnpool", (V, PLACES, i64(1, 2, 2**31, 2**31)), KERNEL, "more than"),
        ("MaxUnpool", (V, PLACES, i64(1, 2, 2, 2)), KERNEL, "outside of 0"),
        ("LpPool", (X1,), {"kernel_shape": [3], "p": 0}, "p is 0"),
        ("LpPool", (X1,), {"kernel_shape": [3], "pads": [3, 0]}, "as wide as a window"),
        ("LpPool", (X1,), {"kernel_shape": [12]}, "does not fit"),
        ("GlobalLpPool", (X1,), {"p": -1}, "p is -1"),
        ("GlobalLpPool", (real(2, 3),), {}, "at least one more"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_fit_is_an_error(operator, inputs, attributes, message):
    model, feeds = Case(operator, inputs, attributes).model(NEWEST, constant=False)
    with pytest.raises(qengine.QEngineError, match=message):
        qengine.InferenceSession(model).run(None, feeds)
