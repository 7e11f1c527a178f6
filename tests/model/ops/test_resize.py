import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import qengine

from .cases import NEWEST, Case, each, f32, i64, real

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
)
MODES = ("nearest", "linear", "cubic")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
X = real(1, 2, 5, 6)
# Exact in binary, so that float32 and float64 place every sample alike and ties are ties.
SCALES = ((1, 1, 2, 2), (1, 1, 0.5, 0.5), (1, 1, 1.5, 0.75), (1, 1, 4, 0.25))
SIZES = ((1, 2, 10, 12), (1, 2, 3, 4), (1, 2, 1, 9), (1, 2, 7, 1))
ROI = f32(0, 0, 0.25, -0.25, 1, 1, 0.75, 1.25)


def resize(scales=None, sizes=None, x=X, roi=None, follows="both", opsets=(11, NEWEST), **attributes):
    """At 11 and 12 what is left out is an empty tensor, later an empty name."""
    given = (roi, None if scales is None else f32(*scales), None if sizes is None else i64(*sizes))
    while given[-1] is None:
        given = given[:-1]
    empty = tuple(f32() if a is None else a for a in given)
    options = {"attributes": attributes, "follows": follows, "rtol": 1e-4, "atol": 1e-5}
    first, last = opsets
    return [
        Case("Resize", (x, *inputs), opsets=(max(a, first), min(b, last)), **options)
        for inputs, a, b in ((empty, 11, 12), (given, 13, NEWEST))
        if max(a, first) <= min(b, last)
    ]


def placed(coordinates, scales=None, sizes=None, **attributes):
    """Return cases that follow the one that does what ONNX's text says."""
    follows = "both"
    out = sizes[2:] if sizes else [int(s * n) for s, n in zip(scales[2:], X.shape[2:], strict=True)]
    if coordinates == "tf_half_pixel_for_nn":
        follows = "onnxruntime"  # onnx.reference has it no longer
    elif 1 in out and (coordinates == "pytorch_half_pixel" or (coordinates == "tf_crop_and_resize" and scales)):
        follows = "onnxruntime"  # onnx.reference has another place for a single sample than ONNX's text
    elif coordinates in ("align_corners", "tf_crop_and_resize") and scales and scales[2] % 1:
        follows = "reference"  # ONNX Runtime cuts length * scale to a whole number first
    roi = ROI if coordinates == "tf_crop_and_resize" else None
    if roi is not None:
        attributes["extrapolation_value"] = 7.5
    since = 19 if coordinates == "half_pixel_symmetric" else 11
    return resize(
        scales,
        sizes,
        roi=roi,
        follows=follows,
        opsets=(since, NEWEST),
        coordinate_transformation_mode=coordinates,
        **attributes,
    )


CASES = [
    # onnx.reference has no linear Upsample, no scales as attribute, and no Resize of opset 10.
    Case("Upsample", (X,), {"scales": [1.0, 1.0, 2.0, 3.0]}, follows="onnxruntime"),
    Case("Upsample", (X,), {"scales": [1.0, 1.0, 2.0, 1.5], "mode": "nearest"}, follows="onnxruntime"),
    Case("Upsample", (X,), {"scales": [1.0, 1.0, 2.0, 1.5], "mode": "linear"}, follows="onnxruntime", atol=1e-5),
    Case("Upsample", (X, f32(1, 1, 2, 3))),
    Case("Upsample", (X, f32(1, 1, 2, 1.5)), {"mode": "linear"}, follows="onnxruntime", atol=1e-5),
    *(
        Case("Resize", (X, f32(*scales)), attributes, opsets=(10, 10), follows="onnxruntime", atol=1e-5)
        for scales in SCALES
        for attributes in ({}, {"mode": "nearest"}, {"mode": "linear"})
    ),
    *(
        case
        for coordinates in COORDINATES
        for nearest in NEAREST
        for scales in SCALES
        for case in placed(coordinates, scales, mode="nearest", nearest_mode=nearest)
    ),
    *(
        case
        for coordinates in COORDINATES
        for mode in MODES[1:]
        for scales in SCALES
        for case in placed(coordinates, scales, mode=mode)
    ),
    *(
        case
        for coordinates in COORDINATES
        for mode in MODES
        for sizes in SIZES
        for case in placed(coordinates, sizes=sizes, mode=mode)
    ),
    *(case for mode in MODES for case in resize((1, 1, 1, 1), mode=mode)),
    *(case for mode in MODES for case in resize((1, 1, 1, 2), mode=mode)),
    *resize((2, 2, 1, 1)),
    *resize((1, 1, 2), x=real(1, 2, 5), mode="linear"),
    *resize((1, 1, 2, 0.5, 1.5), x=real(1, 2, 3, 4, 4), mode="linear"),
    *(
        case
        for options in (
            {"cubic_coeff_a": -0.5},
            {"exclude_outside": 1},
            {"exclude_outside": 1, "cubic_coeff_a": -0.5, "coordinate_transformation_mode": "asymmetric"},
        )
        for scales in SCALES
        for case in resize(scales, mode="cubic", **options)
    ),
    *(
        case
        for mode in MODES[1:]
        for options in ({}, {"exclude_outside": 1})
        for coordinates in ("half_pixel", "align_corners", "asymmetric")
        for sizes in ((1, 2, 3, 2), (1, 2, 2, 9), (1, 2, 10, 12))
        for case in resize(
            sizes=sizes,
            mode=mode,
            antialias=1,
            coordinate_transformation_mode=coordinates,
            opsets=(18, NEWEST),
            **options,
        )
    ),
    *resize((2.0, 0.5), axes=[2, 3], opsets=(18, NEWEST)),
    # onnx.reference takes axes in ascending order only.
    *resize((2.0, 0.5), axes=[-1, -2], mode="linear", opsets=(18, NEWEST), follows="onnxruntime"),
    *resize(sizes=(7, 3), axes=[3, 2], mode="cubic", opsets=(18, NEWEST)),
    *resize(
        sizes=(7, 3),
        axes=[3, 2],
        roi=f32(0.1, 0.2, 0.9, 1.2),
        mode="linear",
        opsets=(18, NEWEST),
        coordinate_transformation_mode="tf_crop_and_resize",
    ),
    *(
        case
        for policy in ("stretch", "not_larger", "not_smaller")
        for mode in MODES
        for sizes in ((7, 8), (3, 9), (11, 4), (10, 12))
        for case in resize(sizes=sizes, axes=[2, 3], keep_aspect_ratio_policy=policy, mode=mode, opsets=(18, NEWEST))
    ),
    *(case for dtype in (np.int8, np.uint8, np.int32) for case in resize((1, 1, 2, 0.5), x=X.astype(dtype))),
    *resize((1, 1, 2, 0.5), x=real(0, 2, 5, 6)),
    *resize((1, 1, 2, 0.5), x=real(0, 2, 5, 6), mode="linear"),
]


@pytest.mark.parametrize(**each(CASES))
def test_agrees_with_the_references(case, version):
    case.check(version)


def enlarged(sizes, nearest_mode, coordinates):
    """Return a model of Resize to sizes over two axes, (1, 16, 7, 10) before."""
    options = {"mode": "nearest", "nearest_mode": nearest_mode, "coordinate_transformation_mode": coordinates}
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **options)
    shapes = [(1, 16, 7, 10), (1, 16, *sizes)]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xy", shapes, strict=True)]
    wanted = numpy_helper.from_array(np.array(shapes[1]), "sizes")
    graph = helper.make_graph([node], "resize", values[:1], values[1:], [wanted])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@pytest.mark.parametrize("isa", ["reference", None])
@pytest.mark.parametrize("options", [{}, {"qformat": "Q3.4"}, {"qformat": "Q9.6"}])
@pytest.mark.parametrize(
    ("coordinates", "nearest_mode", "sizes", "rows", "columns"),
    [
        # Row 8 of 17 lies at exactly 3, column 19 of 26 at exactly 7, row 14 and column 9 of the second at exactly 3.
        ("half_pixel", "ceil", (17, 26), {8: 3, 9: 4}, {3: 1, 19: 7}),
        ("align_corners", "floor", (29, 28), {14: 3, 28: 6}, {9: 3, 27: 9}),
        ("half_pixel", "round_prefer_floor", (14, 4), {0: 0, 1: 0, 13: 6}, {0: 1, 1: 3, 2: 6, 3: 8}),
        ("half_pixel_symmetric", "round_prefer_ceil", (7, 2), {3: 3}, {0: 2, 1: 7}),
    ],
)
def test_nearest_to_sizes_is_exact_on_every_kernel(isa, options, coordinates, nearest_mode, sizes, rows, columns):
    x = np.broadcast_to((10 * np.arange(7)[:, None] + np.arange(10)) / 16, (1, 16, 7, 10)).astype(np.float32)
    model = enlarged(sizes, nearest_mode, coordinates)
    got = qengine.InferenceSession(model, isa=isa, **options).run(None, {"x": x})[0] * 16
    places = [(r, c) for r in rows for c in columns]
    for channel in (0, 15):
        assert [got[0, channel, r, c] for r, c in places] == [10 * rows[r] + columns[c] for r, c in places]
