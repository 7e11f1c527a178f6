"""Support vector machines against ONNX Runtime."""

import numpy as np
import pytest
from model.eager.nodes import ML, check, run

from qengine import QEngineError

DTYPES = (np.float32, np.float64, np.int32, np.int64)
KERNELS = {"LINEAR": [0.1, 0.3, 1.0], "POLY": [0.1, 0.3, 3.0], "RBF": [0.2, 0.0, 0.0], "SIGMOID": [0.1, 0.3, 0.0]}
POST = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"]


def numbers(rng, count):
    return rng.normal(size=count).astype(np.float32).tolist()


def kernel(name):
    return {"kernel_type": name, "kernel_params": KERNELS[name]}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("supports", "one_class"), [(0, 0), (5, 0), (5, 1)])
def test_regressor(name, supports, one_class):
    rng = np.random.default_rng([supports, one_class])
    x = rng.normal(size=(6, 4)).astype(np.float32)
    attributes = {
        "coefficients": numbers(rng, supports or 4),
        "rho": [0.2],
        "n_supports": supports,
        "one_class": one_class,
    }
    if supports:
        attributes["support_vectors"] = numbers(rng, supports * 4)
    check("SVMRegressor", [x], domain=ML, opset=1, **kernel(name), **attributes)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("has_probabilities", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_classifier(name, classes, has_probabilities, seed):
    rng = np.random.default_rng([classes, has_probabilities, seed])
    x = (rng.normal(size=(6, 4)) * 2).astype(DTYPES[seed])
    vectors, pairs = rng.integers(1, 4, classes).tolist(), classes * (classes - 1) // 2
    attributes = {
        "vectors_per_class": vectors,
        "coefficients": numbers(rng, (classes - 1) * sum(vectors)),
        "support_vectors": numbers(rng, sum(vectors) * 4),
        "rho": numbers(rng, pairs),
        "post_transform": POST[seed],
    }
    if has_probabilities:
        attributes |= {"prob_a": numbers(rng, pairs), "prob_b": numbers(rng, pairs)}
    labels = (
        {"classlabels_ints": [*range(3, 3 + classes)]} if seed % 2 else {"classlabels_strings": [*"abcdefg"[:classes]]}
    )
    check("SVMClassifier", [x], 2, rtol=2e-4, domain=ML, opset=1, **kernel(name), **labels, **attributes)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("is_positive", [False, True])
def test_linear_classifier(classes, is_positive):
    rng = np.random.default_rng(classes)
    x = rng.normal(size=(9, 4)).astype(np.float32)
    coefficients = rng.normal(size=classes * 4).astype(np.float32)
    attributes = {"coefficients": (abs(coefficients) if is_positive else coefficients).tolist(), "rho": [0.1]}
    attributes |= {"classlabels_ints": [*range(classes)], **kernel("LINEAR")}
    check("SVMClassifier", [x], 2, domain=ML, opset=1, **attributes)


WHOLE = {
    "vectors_per_class": [1, 2],
    "coefficients": [1.0, 2.0, 3.0],
    "support_vectors": [1.0] * 12,
    "rho": [0.5],
    "classlabels_ints": [0, 1],
    "kernel_type": "RBF",
    "kernel_params": [0.1, 0.0, 0.0],
}
DAMAGED = {
    "vectors": {"vectors_per_class": [3]},
    "negative vectors": {"vectors_per_class": [-1, 4]},
    "huge vectors": {"vectors_per_class": [2**62, 1]},
    "support vectors": {"support_vectors": [1.0] * 11},
    "coefficients": {"coefficients": [1.0]},
    "rho": {"rho": [1.0, 2.0]},
    "prob_b": {"prob_a": [1.0]},
    "prob": {"prob_a": [1.0, 2.0], "prob_b": [1.0, 2.0]},
    "kernel": {"kernel_type": "WAVELET"},
    "parameters": {"kernel_params": [1.0]},
    "labels": {"classlabels_ints": [0, 1, 2]},
    "one label": {"classlabels_ints": [0]},
    "probit": {"post_transform": "PROBIT"},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_machines_are_refused(name):
    x = np.ones((2, 4), np.float32)
    assert len(run("SVMClassifier", [x], 2, domain=ML, opset=1, **WHOLE)[0]) == 2
    with pytest.raises(QEngineError):
        run("SVMClassifier", [x], 2, domain=ML, opset=1, **(WHOLE | DAMAGED[name]))


@pytest.mark.parametrize(
    "changes",
    [{"n_supports": -1}, {"n_supports": 2**62}, {"n_supports": 2}, {"post_transform": "PROBIT"}, {"rho": 1.0}],
)
def test_damaged_regressors_are_refused(changes):
    whole = {"coefficients": [1.0], "support_vectors": [1.0] * 4, "rho": [0.5], "n_supports": 1}
    x = np.ones((2, 4), np.float32)
    assert run("SVMRegressor", [x], domain=ML, opset=1, **whole)[0].tolist() == [[4.5], [4.5]]
    with pytest.raises(QEngineError):
        run("SVMRegressor", [x], domain=ML, opset=1, **(whole | changes))
