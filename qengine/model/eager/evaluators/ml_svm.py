"""Evaluators of support vector machines: SVMClassifier and SVMRegressor."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.eager.ml.features import DOMAIN, floats, labels_of, row_count, rows_of
from qengine.model.eager.ml.kernels import Kernel, class_probabilities
from qengine.model.eager.ml.scores import check_transform, of_two_classes, transformed
from qengine.model.steps import Tensor


@dataclass(frozen=True)
class Machine:
    """Attributes that describe a support vector machine; the fields have ONNX's names.

    Without support vectors it is linear: the coefficients are those of the features.
    """

    coefficients: tuple[float, ...] = ()
    kernel_params: tuple[float, ...] = ()
    kernel_type: str = "LINEAR"
    rho: tuple[float, ...] = ()
    support_vectors: tuple[float, ...] = ()

    def kernel_values(self, x: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Return the kernel of each sample and each of `count` support vectors."""
        if len(self.support_vectors) != count * x.shape[1]:
            raise ModelError(
                f"has {len(self.support_vectors)} numbers for {count} support vectors of {x.shape[1]} features"
            )
        vectors = floats(self.support_vectors).reshape(count, x.shape[1])
        return Kernel(self.kernel_type, self.kernel_params).values(x, vectors)

    def linear(self, x: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Return x coefficients^T + rho[0] for `count` sets of coefficients."""
        self.check("coefficients", count * x.shape[1])
        if not self.rho:
            raise ModelError("has no rho")
        checked_shape((len(x), count))
        return x @ floats(self.coefficients).reshape(count, -1).T + np.float32(self.rho[0])

    def check(self, name: str, count: int) -> None:
        """Raise ModelError unless an attribute has `count` numbers."""
        if len(getattr(self, name)) != count:
            raise ModelError(f"has {len(getattr(self, name))} {name}; {count} are needed")


def _regressor_types(x: Tensor, **_: Any) -> tuple[OutputType]:
    return (((row_count(x), 1), np.dtype(np.float32)),)


@evaluator("SVMRegressor", domain=DOMAIN, outputs=_regressor_types)
def svm_regressor(
    x: NDArray[Any], *, machine: Machine, n_supports: int = 0, one_class: int = 0, post_transform: str = "NONE"
) -> NDArray[Any]:
    """Return the decision of each row, [N, 1]; with `one_class` its sign, -1 for 0."""
    check_transform(post_transform)
    if post_transform == "PROBIT":
        raise UnsupportedError("post_transform is PROBIT, which is not supported here")
    rows = rows_of(x).astype(np.float32)
    if n_supports < 0:
        raise ModelError(f"n_supports is {n_supports}; it cannot be negative")
    if n_supports:
        machine.check("coefficients", n_supports)
        machine.check("rho", 1)
        values = machine.kernel_values(rows, n_supports)
        result = (values @ floats(machine.coefficients) + np.float32(machine.rho[0]))[:, None]
    else:
        result = machine.linear(rows, 1)
    return np.where(result > 0, np.float32(1), np.float32(-1)) if one_class else result


@dataclass(frozen=True)
class Classes:
    """Attributes of the classes of an SVMClassifier; the fields have ONNX's names."""

    classlabels_ints: tuple[int, ...] = ()
    classlabels_strings: tuple[str, ...] = ()
    prob_a: tuple[float, ...] = ()
    prob_b: tuple[float, ...] = ()
    vectors_per_class: tuple[int, ...] = ()


@evaluator("SVMClassifier", domain=DOMAIN)
def svm_classifier(
    x: NDArray[Any], *, machine: Machine, classes: Classes, post_transform: str = "NONE"
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the label of each row, and scores: probabilities where they are trained, else decisions of the pairs.

    With support vectors the pairs of classes vote for the label. Without, the coefficients are those of each class.
    """
    check_transform(post_transform)
    labels = labels_of(classes.classlabels_ints, classes.classlabels_strings)
    count = len(labels)
    if count < 2:
        raise UnsupportedError("has a single class; classifiers of two or more classes are supported")
    rows = rows_of(x).astype(np.float32)
    if min(classes.vectors_per_class, default=0) < 0:
        raise ModelError(f"vectors_per_class are {list(classes.vectors_per_class)}; none can be negative")
    if not sum(classes.vectors_per_class):
        scores = machine.linear(rows, count)
        return labels[_linear_choice(machine, classes, scores)], transformed(scores, post_transform)
    if len(classes.vectors_per_class) != count:
        raise ModelError(f"has {len(classes.vectors_per_class)} vectors_per_class for {count} classes")
    decisions, votes = _pairwise(machine, classes.vectors_per_class, rows)
    chosen = labels[votes.argmax(axis=1)]
    if classes.prob_a or classes.prob_b:
        pairs = decisions.shape[1]
        if len(classes.prob_a) != pairs or len(classes.prob_b) != pairs:
            raise ModelError(f"has {len(classes.prob_a)} prob_a and {len(classes.prob_b)} prob_b for {pairs} pairs")
        scores = class_probabilities(decisions, floats(classes.prob_a), floats(classes.prob_b), count)
        return chosen, transformed(scores, post_transform)
    if count > 2:
        return chosen, transformed(decisions, post_transform)
    is_share = post_transform not in ("NONE", "LOGISTIC")
    return chosen, of_two_classes(decisions[:, 0], post_transform, is_probability=is_share)


def _linear_choice(machine: Machine, classes: Classes, scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the class of each row: the largest score.

    Of two classes, as in ONNX Runtime, the second one wherever a score is positive (0.5 or more, where no coefficient
    is negative), unless there are probabilities.
    """
    chosen: NDArray[np.intp] = scores.argmax(axis=1)
    if scores.shape[1] != 2 or classes.prob_a:
        return chosen
    peak, has_negative = scores.max(axis=1), min(machine.coefficients) < 0
    return np.where(peak > 0 if has_negative else peak >= 0.5, 1, chosen)


def _pairwise(
    machine: Machine, vectors: tuple[int, ...], rows: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the decision of every pair of classes [N, P], and the votes for each class [N, K]."""
    count, total = len(vectors), sum(vectors)
    pairs = count * (count - 1) // 2
    machine.check("coefficients", (count - 1) * total)
    machine.check("rho", pairs)
    checked_shape((len(rows), pairs))
    values = machine.kernel_values(rows, total).astype(np.float64)
    weights = floats(machine.coefficients).reshape(count - 1, total)
    ends = np.cumsum(vectors)
    own = [slice(end - length, end) for end, length in zip(ends, vectors, strict=True)]
    decisions, votes = np.empty((len(rows), pairs), np.float32), np.zeros((len(rows), count), np.intp)
    for k, (i, j) in enumerate(combinations(range(count), 2)):
        decision = values[:, own[i]] @ weights[j - 1, own[i]] + values[:, own[j]] @ weights[i, own[j]]
        decision += np.float32(machine.rho[k])
        decisions[:, k] = decision
        votes[:, i] += decision > 0
        votes[:, j] += ~(decision > 0)
    return decisions, votes
