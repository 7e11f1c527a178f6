"""LinearRegressor and LinearClassifier against ONNX Runtime."""

import numpy as np
import pytest
from model.eager.nodes import ML, run
from model.ops.cases import Case, each, real

from qengine import QEngineError

DTYPES = (np.float32, np.float64, np.int32, np.int64)
POST = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]
X = real(5, 4) * 3


def numbers(count, seed=0):
    return real(count, seed=seed).tolist()


def case(operator, x, outputs, **attributes):
    return Case(operator, (x,), attributes, outputs, domain=ML, opsets=(1, 5), follows="onnxruntime")


def labels(count):
    return {"classlabels_ints": [*range(5, 5 + count)]}, {"classlabels_strings": [f"c{i}" for i in range(count)]}


CASES = [
    *(
        case("LinearRegressor", X, 1, coefficients=numbers(4 * n), targets=n, post_transform=post, **more)
        for n in (1, 2, 5)
        for post in POST
        for more in ({}, {"intercepts": numbers(n, 1)})
    ),
    case("LinearRegressor", X[0], 1, coefficients=numbers(4)),
    *(
        case(
            "LinearClassifier", X.astype(dtype), 2, coefficients=numbers(4 * n), intercepts=numbers(n, 1), **one, **more
        )
        for n, dtype in zip((2, 3, 6, 2), DTYPES, strict=True)
        for one in labels(n)
        for more in ({}, *({"post_transform": post, "multi_class": 1} for post in POST))
    ),
    # One set of coefficients for two classes.
    *(
        case("LinearClassifier", X, 2, coefficients=numbers(4), intercepts=[0.1], post_transform=post, **one)
        for post in POST
        for one in labels(2)
    ),
    case("LinearClassifier", X[0], 2, coefficients=numbers(8), intercepts=[0.0, 0.0], classlabels_ints=[0, 1]),
    case(
        "LinearRegressor",
        np.full((2, 1), 0.3, np.float32),
        1,
        coefficients=[1.0, 2.0],
        targets=2,
        post_transform="PROBIT",
    ),
]


@pytest.mark.parametrize(**each(CASES))
def test_case(case, version):
    case.check(version)


def test_regressor_of_other_types():
    """ONNX Runtime has a kernel for float32 alone; the output is float32 for every type."""
    for dtype in DTYPES:
        (found,) = run(
            "LinearRegressor", [np.arange(4).astype(dtype)], domain=ML, opset=1, coefficients=[1.0, 2.0, 3.0, 4.0]
        )
        np.testing.assert_array_equal(found, np.float32([[20]]), strict=True)


def test_classifier_without_intercepts():
    """ONNX has them optional; ONNX Runtime does not."""
    found = run("LinearClassifier", [X], 2, domain=ML, opset=1, coefficients=numbers(8), classlabels_ints=[3, 4])
    zeros = {"intercepts": [0.0, 0.0], "classlabels_ints": [3, 4]}
    expected = run("LinearClassifier", [X], 2, domain=ML, opset=1, coefficients=numbers(8), **zeros)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


ERRORS = {
    "coefficients": ("LinearRegressor", {"coefficients": numbers(5)}),
    "intercepts": ("LinearRegressor", {"coefficients": numbers(4), "intercepts": [1.0, 2.0]}),
    "targets": ("LinearRegressor", {"coefficients": numbers(4), "targets": 0}),
    "huge targets": ("LinearRegressor", {"coefficients": numbers(4), "targets": 2**62}),
    "transform": ("LinearRegressor", {"coefficients": numbers(4), "post_transform": "TANH"}),
    "labels": ("LinearClassifier", {"coefficients": numbers(8), "classlabels_ints": [1, 2, 3]}),
    "one label": ("LinearClassifier", {"coefficients": numbers(4), "classlabels_ints": [1]}),
    "both labels": (
        "LinearClassifier",
        {"coefficients": numbers(8), "classlabels_ints": [1, 2], "classlabels_strings": ["a", "b"]},
    ),
    "no coefficients": ("LinearClassifier", {"classlabels_ints": [1, 2]}),
    "probit of two classes": (
        "LinearClassifier",
        {"coefficients": numbers(4), "classlabels_ints": [1, 2], "post_transform": "PROBIT"},
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_not_valid_is_refused(name):
    operator, attributes = ERRORS[name]
    with pytest.raises(QEngineError):
        run(operator, [X], 1 + (operator == "LinearClassifier"), domain=ML, opset=1, **attributes)
