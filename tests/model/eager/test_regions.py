"""MaxRoiPool and RoiAlign against ONNX Runtime and onnx.reference."""

import numpy as np
import pytest
from model.ops.cases import NEWEST, Case, each, i64, real

import qengine

X, SMALL = real(2, 3, 8, 9), real(1, 2, 5, 4)


def corners(x, count=12):
    """Return regions, half of them with their corners in order, some outside of the image."""
    rng = np.random.default_rng(x.size)
    found = rng.uniform(-2, max(x.shape) + 2, (count, 4)).astype(np.float32)
    ordered = found[: count // 2]
    first, last = ordered[:, :2].copy(), ordered[:, 2:].copy()
    ordered[:] = np.concatenate([np.minimum(first, last), np.maximum(first, last)], 1)
    return found, rng.integers(0, x.shape[0], count)


def max_roi(x, shape, scale):
    found, image = corners(x)
    rois = np.concatenate([image[:, None].astype(np.float32), found], 1)
    # onnx.reference does not have it; ONNX Runtime does up to opset 21, and takes 1e-38 for the least number.
    return Case(
        "MaxRoiPool",
        (np.abs(x) + 1, rois),
        {"pooled_shape": shape, "spatial_scale": scale},
        follows="onnxruntime",
        opsets=(7, 21),
    )


def align(x, opsets=(16, 21), order=True, **attributes):
    found, image = corners(x)
    if order:  # ONNX Runtime fails for some regions whose corners are not in order, since opset 16
        found, image = found[:6], image[:6]
    # Without the attribute, onnx.reference takes the default of opset 16 at opset 10 too.
    follows = "onnxruntime" if opsets[1] < 22 else "reference"
    return Case("RoiAlign", (x, found, image), attributes, follows=follows, opsets=opsets, rtol=1e-4, atol=1e-5)


CASES = [
    *(
        max_roi(x, shape, scale)
        for x in (X, SMALL)
        for shape in ([2, 3], [1, 1], [7, 7])
        for scale in (1.0, 0.5, 0.0625)
    ),
    Case(
        "MaxRoiPool",
        (-np.ones((1, 1, 4, 4), np.float32), np.float32([[0, 0, 0, 3, 3], [0, 9, 9, 9, 9], [0, -9, 1, 0, 1]])),
        {"pooled_shape": [1, 1]},
        expected=(np.float32([-1, 0, -1]).reshape(3, 1, 1, 1),),
    ),
    *(
        align(
            x,
            opsets,
            opsets[1] >= 16,
            mode=mode,
            sampling_ratio=ratio,
            output_height=height,
            output_width=width,
            **more,
        )
        for x in (X, SMALL, real(1, 2, 1, 1))
        for mode in ("avg", "max")
        for ratio in (0, 2)
        for height, width in ((1, 1), (2, 3))
        for opsets, more in (
            ((10, 15), {}),
            ((10, 15), {"spatial_scale": 0.25}),
            ((16, 21), {"spatial_scale": 0.25}),
            ((22, NEWEST), {}),
            ((16, 21), {"coordinate_transformation_mode": "output_half_pixel"}),
        )
    ),
    align(X, (10, 15), False),
    Case(
        "RoiAlign",
        (X.astype(np.float64), corners(X)[0][:6].astype(np.float64), corners(X)[1][:6]),
        follows="reference",
        opsets=(16, NEWEST),
    ),
    Case(
        "RoiAlign",
        (X, np.zeros((0, 4), np.float32), np.zeros(0, np.int64)),
        expected=(np.zeros((0, 3, 1, 1), np.float32),),
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


BOX, HERE = np.float32([[0, 0, 4, 4]]), i64(0)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("RoiAlign", (X, BOX, i64(2)), {}, "image 2, X has 2 images"),
        ("RoiAlign", (X, BOX, i64(-1)), {}, "is of image -1, X"),
        ("RoiAlign", (X, BOX, i64(2**62)), {}, "X has 2 images"),
        ("RoiAlign", (X, BOX * np.nan, HERE), {}, "infinite or NaN"),
        ("RoiAlign", (X, BOX, HERE), {"mode": "sum"}, "mode 'sum'"),
        ("RoiAlign", (X, BOX, HERE), {"coordinate_transformation_mode": "pixel"}, "'pixel' is not"),
        ("RoiAlign", (X, BOX, HERE), {"output_height": 0}, "output_height 0"),
        ("RoiAlign", (X, BOX, HERE), {"output_height": 2**31 - 1}, "more than"),
        ("RoiAlign", (X, BOX, HERE), {"sampling_ratio": 2**30}, "coordinates along an axis"),
        ("RoiAlign", (X, BOX * np.float32(1e9), HERE), {}, "coordinates along an axis"),
        ("RoiAlign", (X[:, :, :0], BOX, HERE), {}, "no elements"),
        ("MaxRoiPool", (X, np.float32([[2, 0, 0, 3, 3]])), {"pooled_shape": [1, 1]}, "X has 2 images"),
        ("MaxRoiPool", (X, np.float32([[0.5, 0, 0, 3, 3]])), {"pooled_shape": [1, 1]}, "an integer is needed"),
        ("MaxRoiPool", (X, np.float32([[0, 0, 0, np.inf, 3]])), {"pooled_shape": [1, 1]}, "infinite or NaN"),
        ("MaxRoiPool", (X, np.float32([[0, 0, 0, 3, 3]])), {"pooled_shape": [0, 1]}, "two positive|cannot run"),
        ("MaxRoiPool", (X, np.float32([[0, 0, 0, 3, 3]])), {"pooled_shape": [2**20, 2**20]}, "more than"),
        ("MaxRoiPool", (X, BOX), {"pooled_shape": [1, 1]}, "rois has the shape|cannot run"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_does_not_fit_is_an_error(operator, inputs, attributes, message):
    model, feeds = Case(operator, inputs, attributes).model(NEWEST, constant=False)
    with pytest.raises(qengine.QEngineError, match=message):
        qengine.InferenceSession(model).run(None, feeds)


def test_regions_far_outside():
    rois = np.float32([[0, -1e30, -1e30, 1e30, 1e30]])
    model, feeds = Case("MaxRoiPool", (X, rois), {"pooled_shape": [1, 1]}).model(NEWEST, constant=False)
    (y,) = qengine.InferenceSession(model).run(None, feeds)
    np.testing.assert_array_equal(y.ravel(), X[0].max((1, 2)))
