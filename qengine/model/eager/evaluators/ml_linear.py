"""Evaluators of LinearClassifier and LinearRegressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.eager.ml.features import DOMAIN, floats, labels_of, row_count, rows_of
from qengine.model.eager.ml.scores import check_transform, of_two_classes, transformed
from qengine.model.steps import Tensor


def _regressor_types(x: Tensor, *, targets: int = 1, **_: Any) -> tuple[OutputType]:
    return (((row_count(x), targets), np.dtype(np.float32)),)


@evaluator("LinearRegressor", domain=DOMAIN, outputs=_regressor_types)
def linear_regressor(
    x: NDArray[Any],
    *,
    coefficients: tuple[float, ...] = (),
    intercepts: tuple[float, ...] = (),
    post_transform: str = "NONE",
    targets: int = 1,
) -> NDArray[Any]:
    """Return the targets of each row: x coefficients^T + intercepts, as float32."""
    return transformed(_products(x, coefficients, intercepts, targets), post_transform)


def _classifier_types(
    x: Tensor,
    *,
    coefficients: tuple[float, ...],
    classlabels_ints: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (),
    intercepts: tuple[float, ...] = (),
    **_: Any,
) -> tuple[OutputType, OutputType]:
    rows, count = row_count(x), len(intercepts) or len(coefficients) // max(x.shape[-1], 1)
    labels = labels_of(classlabels_ints, classlabels_strings, count if count > 1 else 2)
    return ((rows,), labels.dtype), ((rows, len(labels)), np.dtype(np.float32))


@evaluator("LinearClassifier", domain=DOMAIN, outputs=_classifier_types)
def linear_classifier(
    x: NDArray[Any],
    *,
    coefficients: tuple[float, ...],
    classlabels_ints: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (),
    intercepts: tuple[float, ...] = (),
    multi_class: int = 0,  # noqa: ARG001 - how the model was trained: it changes no result
    post_transform: str = "NONE",
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the label of each row, and the scores of its classes as float32.

    With one set of coefficients the score is that of the second of two classes; the first has 1 - score.
    """
    check_transform(post_transform)
    count = len(intercepts) or len(coefficients) // max(rows_of(x).shape[1], 1)
    scores = _products(x, coefficients, intercepts, count)
    if count > 1:
        labels = labels_of(classlabels_ints, classlabels_strings, count)
        return labels[scores.argmax(axis=1)], transformed(scores, post_transform)
    labels = labels_of(classlabels_ints, classlabels_strings, 2)
    second = scores[:, 0]
    both = of_two_classes(second, post_transform, is_probability=post_transform != "LOGISTIC")
    return labels[(second > 0).astype(np.intp)], both


def _products(
    x: NDArray[Any], coefficients: tuple[float, ...], intercepts: tuple[float, ...], count: int
) -> NDArray[np.float32]:
    """Return x coefficients^T + intercepts for `count` sets of coefficients."""
    rows = rows_of(x).astype(np.float32)
    if count < 1 or len(coefficients) != count * rows.shape[1]:
        raise ModelError(
            f"has {len(coefficients)} coefficients for {count} x {rows.shape[1]} features, classes or targets first"
        )
    if len(intercepts) not in (0, count):
        raise ModelError(f"has {len(intercepts)} intercepts for {count} sets of coefficients")
    checked_shape((len(rows), count))
    result: NDArray[np.float32] = rows @ floats(coefficients).reshape(count, -1).T
    return result + floats(intercepts) if intercepts else result
