"""Resize beside onnx.reference and ONNX Runtime, and where they differ from the specification."""

from fractions import Fraction
from math import floor

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from qengine.kernels.reference.coordinates import Axis, coordinates
from qengine.kernels.reference.resize import (
    interpolate_float,
    interpolation_taps,
    nearest_taps,
    pick,
)

NEAREST_MODES = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
NEAREST = [{"mode": "nearest", "nearest_mode": m} for m in NEAREST_MODES]
LINEAR = [{"mode": "linear", "antialias": a, "exclude_outside": e} for a, e in [(0, 0), (0, 1), (1, 0), (1, 1)]]
CUBIC = [{**o, "mode": "cubic", "cubic_coeff_a": c} for o in LINEAR for c in (-0.75, -0.5)]
ALL = NEAREST + LINEAR + CUBIC


def model(shape, attributes, scales=None, sizes=None, roi=None):
    feeds = [
        helper.make_tensor("roi", TensorProto.FLOAT, [0 if roi is None else len(roi)], roi or []),
        helper.make_tensor("scales", TensorProto.FLOAT, [0 if scales is None else len(scales)], scales or []),
    ]
    inputs = ["x", "roi", "scales"]
    if sizes is not None:
        feeds.append(helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes))
        inputs = ["x", "roi", "", "sizes"]
    graph = helper.make_graph(
        [helper.make_node("Resize", inputs, ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        feeds,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def onnx_reference(x, **options):
    return ReferenceEvaluator(model(x.shape, **options)).run(None, {"x": x})[0]


def runtime(x, **options):
    session = onnxruntime.InferenceSession(
        model(x.shape, **options).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def ours(x, attributes, scales=None, sizes=None, roi=None):
    """Resize as the kernels are meant to be put together; a scale is a float32 number, as in a model."""
    rank = x.ndim
    if sizes is None:
        factors = [Fraction(float(np.float32(s))) for s in scales]
        sizes = [floor(n * s) for n, s in zip(x.shape, factors, strict=True)]
    else:
        factors = [Fraction(m, n) for m, n in zip(sizes, x.shape, strict=True)]
    bounds = np.array(roi or [0] * rank + [1] * rank, np.float32).astype(float).tolist()
    axes = [
        Axis(i, x.shape[i], sizes[i], factors[i], (bounds[i], bounds[i + rank]))
        for i in range(rank)
        if factors[i] != 1 or (bounds[i], bounds[i + rank]) != (0, 1)
    ]
    mode, fill = attributes["coordinate_transformation_mode"], attributes.get("extrapolation_value", 0.0)
    if attributes["mode"] == "nearest":
        return pick(x, axes, [nearest_taps(a, mode, attributes["nearest_mode"]) for a in axes], fill)
    taps = [
        interpolation_taps(
            a,
            attributes["mode"],
            mode,
            cubic_coeff_a=attributes.get("cubic_coeff_a", -0.75),
            exclude_outside=bool(attributes["exclude_outside"]),
            antialias=bool(attributes["antialias"]),
        )
        for a in axes
    ]
    return interpolate_float(x, axes, taps, fill)


def reals(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


# Where onnx.reference and this file part is left out here and stated by hand in the tests further below.
SCALES = {
    "half_pixel": [[2.0, 3.0], [0.5, 0.25], [0.6, 1.7], [0.8, 0.3], [1.0, 2.5], [1 / 3, 1.2], [0.2, 0.2]],
    "half_pixel_symmetric": [[2.0, 3.0], [0.6, 1.7], [0.3, 0.45], [1.0, 2.5], [0.6, 1.2]],
    "pytorch_half_pixel": [[2.0, 3.0], [0.5, 0.4], [0.6, 1.7], [0.8, 0.3], [1.0, 2.5]],
    "align_corners": [[2.0, 3.0], [0.5, 0.25], [0.6, 1.7], [0.8, 0.3], [1.0, 2.5], [1 / 3, 1.2], [0.2, 0.2]],
    "asymmetric": [[2.0, 3.0], [0.5, 0.25], [0.6, 1.7], [0.8, 0.3], [1.0, 2.5], [1 / 3, 1.2], [0.2, 0.2]],
    "tf_crop_and_resize": [[2.0, 3.0], [0.5, 0.4], [0.6, 1.7], [0.8, 0.3], [1.0, 2.5]],
}


@pytest.mark.parametrize("coordinate_mode", SCALES)
@pytest.mark.parametrize("options", ALL, ids=lambda o: "-".join(map(str, o.values())))
def test_two_axes_against_onnx_reference(coordinate_mode, options):
    x = reals(5, 7)
    for scales in SCALES[coordinate_mode]:
        given = {"attributes": {"coordinate_transformation_mode": coordinate_mode, **options}, "scales": scales}
        if coordinate_mode == "tf_crop_and_resize":
            given["attributes"]["extrapolation_value"] = 7.5
            given["roi"] = [0.1, 0.2, 0.9, 1.3]
        expected = onnx_reference(x, **given)
        got = ours(x, **given)
        assert (got.shape, got.dtype) == (expected.shape, np.float32)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5, err_msg=str(scales))


@pytest.mark.parametrize(
    ("shape", "scales"), [((6,), [1.7]), ((6,), [0.45]), ((4, 3, 5), [2.0, 1.0, 0.6]), ((3, 4, 2), [0.7, 1.3, 3.0])]
)
@pytest.mark.parametrize("options", [NEAREST[0], LINEAR[0], LINEAR[3], CUBIC[0], CUBIC[7]])
@pytest.mark.parametrize("coordinate_mode", ["half_pixel", "asymmetric", "align_corners"])
def test_one_and_three_axes_against_onnx_reference(shape, scales, options, coordinate_mode):
    x = reals(*shape)
    given = {"attributes": {"coordinate_transformation_mode": coordinate_mode, **options}, "scales": scales}
    np.testing.assert_allclose(ours(x, **given), onnx_reference(x, **given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("coordinate_mode", ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "asymmetric"])
@pytest.mark.parametrize("options", LINEAR[:1] + LINEAR[2:] + CUBIC, ids=lambda o: "-".join(map(str, o.values())))
def test_interpolation_against_onnx_runtime(coordinate_mode, options):
    x = reals(1, 2, 5, 7)
    for scales in ([2.0, 3.0], [0.5, 0.25], [0.6, 1.7], [0.8, 0.3], [1.0, 2.5], [1 / 3, 1.2], [0.2, 0.2]):
        attributes = {"coordinate_transformation_mode": coordinate_mode, **options}
        given = {"attributes": attributes, "scales": [1.0, 1.0, *scales]}
        np.testing.assert_allclose(ours(x, **given), runtime(x, **given), rtol=1e-4, atol=1e-5, err_msg=str(scales))


@pytest.mark.parametrize("options", [*NEAREST, LINEAR[0], CUBIC[0]])
@pytest.mark.parametrize("coordinate_mode", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
def test_whole_sizes_against_onnx_runtime(coordinate_mode, options):
    """With sizes there is no fraction to cut; powers of two keep ONNX Runtime's float32 coordinates exact."""
    x = reals(1, 2, 4, 8)
    for sizes in ([8, 16], [2, 4], [4, 32], [16, 2], [1, 1]):
        attributes = {"coordinate_transformation_mode": coordinate_mode, **options}
        given = {"attributes": attributes, "sizes": [1, 2, *sizes]}
        if coordinate_mode == "align_corners" and options["mode"] == "nearest":
            continue  # 3 / 7 is no power of two
        np.testing.assert_allclose(ours(x, **given), runtime(x, **given), rtol=1e-4, atol=1e-5, err_msg=str(sizes))


def test_a_single_output_is_where_the_specification_says():
    """onnx.reference asks whether scale * size is 1, the specification whether the output's length is."""
    x = np.array([1.0, 2.0, 4.0, 8.0], np.float32)
    cubic = {**CUBIC[0], "coordinate_transformation_mode": "pytorch_half_pixel"}
    assert ours(x, cubic, scales=[0.3]).tolist() == ours(x, cubic, scales=[0.25]).tolist() == [1.0]
    assert onnx_reference(x, attributes=cubic, scales=[0.3]) != onnx_reference(x, attributes=cubic, scales=[0.25])
    crop = {**LINEAR[0], "coordinate_transformation_mode": "tf_crop_and_resize"}
    assert ours(x, crop, scales=[0.3], roi=[0.0, 1.0]).tolist() == [3.0]
    assert onnx_reference(x, attributes=crop, scales=[0.3], roi=[0.0, 1.0]).tolist() == [1.0]


def test_a_coordinate_that_is_whole_reads_that_element():
    """The centre and the scale cancel to 3; in float64 a little is left, and onnx.reference reads the one before."""
    x = np.arange(7, dtype=np.float32)
    symmetric = {**LINEAR[0], "coordinate_transformation_mode": "half_pixel_symmetric"}
    at = coordinates(Axis(0, 7, 5, Fraction(float(np.float32(0.8)))), "half_pixel_symmetric")
    assert (at.whole[2], at.rest[2]) == (3, 0)
    assert ours(x, symmetric, scales=[0.8])[2] == 3.0
    assert onnx_reference(x, attributes=symmetric, scales=[0.8])[2] == 2.0


def test_length_resized_is_not_cut_with_align_corners():
    """As ONNX's own test data (resize_downsample_scales_linear_align_corners); ONNX Runtime cuts it."""
    x = np.arange(1.0, 9.0, dtype=np.float32).reshape(1, 1, 2, 4)
    corners = {**LINEAR[0], "coordinate_transformation_mode": "align_corners"}
    got = ours(x, corners, scales=[1.0, 1.0, 0.6, 0.6])
    np.testing.assert_allclose(got, [[[[1.0, 3.142857]]]], rtol=1e-6)
    assert runtime(x, attributes=corners, scales=[1.0, 1.0, 0.6, 0.6]).tolist() == [[[[1.0, 4.0]]]]


def test_nearest_ignores_exclude_outside():
    """There is nothing to renormalize; onnx.reference returns 0 where the picked index lies outside."""
    x = np.array([5.0, 6.0], np.float32)
    attributes = {**NEAREST[2], "coordinate_transformation_mode": "half_pixel"}
    assert ours(x, attributes, scales=[2.0]).tolist() == [5.0, 5.0, 5.0, 6.0]
    assert onnx_reference(x, attributes={**attributes, "exclude_outside": 1}, scales=[2.0])[0] == 0.0


def test_onnx_knows_the_modes_that_are_tested():
    described = onnx.defs.get_schema("Resize", 19).attributes["coordinate_transformation_mode"].description
    assert all(f'`"{mode}"`' in described for mode in SCALES)
