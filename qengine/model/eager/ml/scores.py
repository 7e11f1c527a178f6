"""Transforms of scores: the attribute `post_transform` of the classifiers and regressors of ai.onnx.ml."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
"""Transforms by name, in the order of their numbers in TreeEnsemble."""

Scores = NDArray[Any]

_WINITZKI = 0.147
"""Constant of Winitzki's approximation of the inverse error function, which ONNX Runtime uses."""
_NEAR_ZERO = 1e-7
"""Largest magnitude that SOFTMAX_ZERO takes for zero."""


def check_transform(name: str) -> None:
    """Raise ModelError for a transform that does not exist."""
    if name not in TRANSFORMS:
        raise ModelError(f"post_transform is '{name}'; it must be one of {', '.join(TRANSFORMS)}")


def transformed(scores: Scores, name: str) -> Scores:
    """Return scores [N, K] after a transform, of the same dtype.

    As in ONNX Runtime, a single column is transformed by PROBIT only: the others compare columns.
    """
    check_transform(name)
    if name == "PROBIT":
        return probit(scores)
    if name == "NONE" or scores.shape[1] < 2:
        return scores
    if name == "LOGISTIC":
        return logistic(scores)
    peak = scores.max(axis=1, keepdims=True)
    powers = np.exp(scores - peak)
    if name == "SOFTMAX_ZERO":  # zeros stay zeros, and do not count
        is_zero = np.abs(scores) <= _NEAR_ZERO
        total = np.where(is_zero, 0, powers).sum(axis=1, keepdims=True, dtype=scores.dtype)
        powers = np.where(is_zero, scores * np.exp(-peak), powers)
    else:
        total = powers.sum(axis=1, keepdims=True, dtype=scores.dtype)
    shares: Scores = powers / total
    return shares


def of_two_classes(scores: Scores, name: str, *, is_probability: bool) -> Scores:
    """Return the scores [N, 2] of two classes from those of the second class [N].

    Parameters
    ----------
    scores
        Scores of the second class.
    name
        The transform.
    is_probability
        Whether the scores are shares of 1; otherwise the first class has the negative score.

    Raises
    ------
    UnsupportedError
        If the transform is PROBIT, which no definition extends to the first class.
    """
    check_transform(name)
    if name == "PROBIT":
        raise UnsupportedError("post_transform is PROBIT of a single score for two classes, which is not supported")
    if is_probability:
        return np.stack([1 - scores, scores], axis=1)
    if name == "LOGISTIC":
        return np.stack([logistic(-scores), logistic(scores)], axis=1)
    return np.stack([-scores, scores], axis=1)


def logistic(x: Scores) -> Scores:
    """Return 1 / (1 + exp(-x)), without overflow."""
    positive = 1 / (1 + np.exp(-np.abs(x)))
    return np.where(x < 0, 1 - positive, positive)


def probit(x: Scores) -> Scores:
    """Return the quantiles of the normal distribution for shares in 0..1."""
    y = 2 * x.astype(np.float64) - 1
    log = np.log((1 - y) * (1 + y))
    half = 2 / (np.pi * _WINITZKI) + 0.5 * log
    inverse = np.sqrt(-half + np.sqrt(half * half - log / _WINITZKI))
    result: Scores = np.sqrt(2) * np.where(y < 0, -inverse, inverse)
    return result.astype(x.dtype)
