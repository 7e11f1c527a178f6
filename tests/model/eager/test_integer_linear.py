"""Products of integers and their requantization against ONNX Runtime."""

import numpy as np
import pytest
from model.eager.nodes import run, scalar
from model.ops.cases import Case, each, f32

from qengine.errors import QEngineError

U, S = np.uint8, np.int8
SMALL, LARGE = scalar(0.02, np.float32), scalar(0.7, np.float32)


def codes(kind, *shape):
    limits = np.iinfo(kind)
    return np.random.default_rng([len(shape), *shape]).integers(limits.min, limits.max + 1, shape).astype(kind)


def positive(*shape):
    return np.random.default_rng([*shape]).uniform(0.01, 0.04, shape).astype(np.float32)


# ONNX Runtime has no kernel for some pairs of types, and none for zero points of rows.
FOLLOWS = {(U, U): "both", (U, S): "both", (S, S): "both", (S, U): "reference"}
SHAPES = [
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 1, 3, 4), (2, 4, 5)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((4,), (4,)),
    ((0, 4), (4, 5)),
]
MATMUL = [
    case
    for (ta, tb), follows in FOLLOWS.items()
    for sa, sb in SHAPES
    for a, b in [(codes(ta, *sa), codes(tb, *sb))]
    for case in (
        Case("MatMulInteger", (a, b), follows="reference"),
        Case("MatMulInteger", (a, b, scalar(3, ta), scalar(3, tb)), follows="reference"),
        Case(
            "QLinearMatMul",
            (a, SMALL, scalar(3, ta), b, SMALL, scalar(3, tb), LARGE, scalar(7, ta)),
            follows=follows if min(len(sa), len(sb)) > 1 else "reference",
        ),
    )
]
MATMUL += [
    # onnx.reference subtracts a zero point of columns in another shape than [N] from the wrong axis, or refuses it.
    Case("MatMulInteger", (codes(U, 3, 4), codes(S, 4, 5), None, codes(S, 5))),
    Case("MatMulInteger", (codes(U, 2, 3, 4), codes(S, 2, 4, 5), scalar(3, U), codes(S, 2, 1, 5))),
    *(
        Case(
            "QLinearMatMul",
            (codes(U, *sa), SMALL, scalar(3, U), codes(S, *sb), positive(*p), codes(S, *p), LARGE, scalar(7, U)),
        )
        for sa, sb, p in (((3, 4), (4, 5), (5,)), ((2, 3, 4), (2, 4, 5), (2, 1, 5)))
    ),
]
WINDOWS = [
    ((2, 3, 6, 5), (4, 3, 3, 2), {}),
    ((2, 4, 6, 5), (6, 2, 3, 2), {"group": 2}),
    ((1, 3, 8), (4, 3, 3), {"strides": [2]}),
    ((1, 2, 4, 5, 6), (3, 2, 2, 2, 2), {}),
    ((2, 3, 6, 5), (4, 3, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((2, 3, 9, 8), (4, 3, 3, 2), {"dilations": [2, 3]}),
    ((2, 3, 6, 5), (4, 3, 3, 2), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((2, 3, 6, 5), (4, 3, 3, 2), {"auto_pad": "SAME_LOWER"}),
    ((2, 3, 6, 5), (4, 3, 3, 2), {"auto_pad": "VALID", "kernel_shape": [3, 2]}),
]


def qconv(tx, tw, sx, sw, attributes, *, w_scale=None, w_zero=None, bias=False):
    inputs = (codes(tx, *sx), scalar(0.02, np.float32), scalar(5, tx), codes(tw, *sw))
    inputs += (scalar(0.03, np.float32) if w_scale is None else w_scale, scalar(3, tw) if w_zero is None else w_zero)
    inputs += (scalar(0.9, np.float32), scalar(7, tx))
    if bias:
        inputs += (np.random.default_rng(0).integers(-1000, 1000, sw[0]).astype(np.int32),)
    # onnx.reference rounds after it has added the zero point, which decides ties, and takes one scale for each filter
    # only where there are two spatial axes.
    return Case("QLinearConv", inputs, attributes, follows="onnxruntime")


CONV = [
    case
    for sx, sw, attributes in WINDOWS
    for case in (
        Case("ConvInteger", (codes(U, *sx), codes(U, *sw)), attributes),
        Case(
            "ConvInteger", (codes(U, *sx), codes(S, *sw), scalar(5, U), scalar(3, S)), attributes, follows="reference"
        ),
        Case(
            "ConvInteger", (codes(S, *sx), codes(S, *sw), scalar(5, S), scalar(3, S)), attributes, follows="reference"
        ),
        qconv(U, U, sx, sw, attributes),
        qconv(S, S, sx, sw, attributes, bias=True),
        qconv(U, S, sx, sw, attributes, w_scale=positive(sw[0]), w_zero=np.zeros(sw[0], S)),
    )
]
TIES = np.float32([0.5, 1.5, 2.5, 255.0])
DYNAMIC = [
    Case("DynamicQuantizeLinear", (x,), outputs=3, follows=follows)
    for x, follows in (
        (np.linspace(-3, 5, 12, dtype=np.float32).reshape(3, 4), "both"),
        (np.linspace(1, 5, 12, dtype=np.float32), "both"),
        (-np.linspace(1, 5, 12, dtype=np.float32), "both"),
        (TIES, "both"),
        (scalar(3, np.float32), "both"),
        # onnx.reference gives 1/255 for zeros, and fails for no elements.
        (np.zeros(3, np.float32), "onnxruntime"),
        (np.zeros((0, 2), np.float32), "onnxruntime"),
    )
]


@pytest.mark.parametrize(**each([*MATMUL, *CONV, *DYNAMIC]))
def test_agrees_with_the_references(case, version):
    case.check(version)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_zero_points_of_rows(shape):
    a, b = codes(U, *shape, 4), codes(S, 4, 5)
    for zero_point in (codes(U, 3), codes(U, *shape, 1)):
        column = zero_point.reshape(-1, 1) if zero_point.ndim == 1 else zero_point
        (y,) = run("MatMulInteger", (a, b, zero_point), opset=10)
        np.testing.assert_array_equal(y, (a.astype(np.int32) - column.astype(np.int32)) @ b.astype(np.int32))


def test_zero_points_of_filters():
    x, w, zero = codes(U, 2, 3, 6, 5), codes(S, 4, 3, 3, 2), codes(S, 4)
    parts = [run("ConvInteger", (x, w[i : i + 1], scalar(9, U), zero[i].reshape(())), opset=10)[0] for i in range(4)]
    (y,) = run("ConvInteger", (x, w, scalar(9, U), zero), opset=10)
    np.testing.assert_array_equal(y, np.concatenate(parts, axis=1))


def test_sums_wrap_around_in_32_bits():
    count = 140_000
    a, b = np.full((1, count), 255, U), np.full((count, 1), 255, U)
    (y,) = run("MatMulInteger", (a, b), opset=10)
    assert y.item() == (255 * 255 * count + 2**31) % 2**32 - 2**31


def test_products_of_nothing_are_zeros():
    (y,) = run("MatMulInteger", (codes(U, 3, 0), codes(U, 0, 5)), opset=10)
    np.testing.assert_array_equal(y, np.zeros((3, 5), np.int32), strict=True)


def test_the_zero_point_is_added_after_rounding():
    inputs = (U([[1]]), scalar(0.5, np.float32), scalar(0, U), U([[1]]), scalar(1, np.float32), scalar(0, U))
    (y,) = run("QLinearMatMul", (*inputs, scalar(1, np.float32), scalar(1, U)), opset=10)
    assert y.item() == 1  # half to even is 0, and not 1.5 rounded to 2


def test_a_range_beyond_float32_has_a_scale():
    y, scale, zero_point = run("DynamicQuantizeLinear", (f32(-3e38, 3e38),), 3, opset=11)
    assert y.tolist() == [0, 255]
    assert np.isfinite(scale)
    assert zero_point == 128


def test_a_range_below_every_scale_counts_as_zeros():
    y, scale, zero_point = run("DynamicQuantizeLinear", (f32(1e-45, 0),), 3, opset=11)
    assert (y.tolist(), scale.item(), zero_point.item()) == ([0, 0], 1.0, 0)


X, W = np.ones((1, 2, 3, 3), U), np.ones((1, 2, 2, 2), U)
SCALES = (0.0, np.nan, np.inf)


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.parametrize("place", [1, 4, 6])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("operator", ["QLinearConv", "QLinearMatMul"])
def test_a_scale_that_means_nothing_is_an_error(operator, scale, place, fed):
    first, second = (X, W) if operator == "QLinearConv" else (X[0, 0], W[0, 0, :1].repeat(3, 0))
    half, zero = scalar(0.5, np.float32), scalar(0, U)
    inputs = [first, half, zero, second, half, zero, half, zero]
    inputs[place] = scalar(scale, np.float32)
    with pytest.raises(QEngineError, match="must be a finite number other than 0"):
        run(operator, inputs, opset=10, fed=fed)


ERRORS = [
    ("MatMulInteger", (codes(U, 3, 4), codes(U, 5, 4)), "do not fit|ncompatible"),
    ("MatMulInteger", (codes(U, 3, 4), codes(U, 4, 5), codes(U, 2)), "must be a single number"),
    ("MatMulInteger", (scalar(1, U), codes(U, 4, 5)), "do not fit|scalar|rank"),
    ("ConvInteger", (X, W, codes(U, 2)), "must be a single number"),
    ("ConvInteger", (X, W, scalar(0, U), codes(U, 3)), "one for each filter"),
    ("ConvInteger", (X, codes(U, 1, 3, 2, 2)), "channels"),
    ("ConvInteger", (X, scalar(1, U), scalar(0, U), codes(U, 3)), "one for each filter|cannot run"),
    ("ConvInteger", (codes(U, 3, 4), codes(U, 3, 4)), "axes|dimensions"),
    ("DynamicQuantizeLinear", (f32(np.nan, 1),), "NaN or infinity"),
    ("DynamicQuantizeLinear", (f32(np.inf, 1),), "NaN or infinity"),
]


@pytest.mark.parametrize(
    ("operator", "inputs", "message"), ERRORS, ids=[f"{i}-{one[0]}" for i, one in enumerate(ERRORS)]
)
def test_what_onnx_does_not_allow_is_an_error(operator, inputs, message):
    with pytest.raises(QEngineError, match=message):
        run(operator, inputs, 3 if operator.startswith("Dynamic") else 1, opset=11)


def test_float8_is_refused():
    import ml_dtypes

    a = np.ones((2, 2), ml_dtypes.float8_e4m3fn)
    one, zero = scalar(1, np.float32), np.zeros((), ml_dtypes.float8_e4m3fn)
    with pytest.raises(QEngineError, match="only int8 and uint8"):
        run("QLinearMatMul", (a, one, zero, a, one, zero, one, zero), opset=21)
