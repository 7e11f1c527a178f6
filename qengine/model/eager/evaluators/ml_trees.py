"""Evaluators of the tree ensembles of ai.onnx.ml.

Classifiers of two classes have conventions that converters rely on and the specification leaves open. They are those
of ONNX Runtime:

- Where every weight is for class 0, the sum is the score of the *second* class. Without negative weights it is a
  probability: the second class is chosen above 0.5, and the first has 1 - score. With negative weights it is chosen
  above 0, and the first has -score.
- Where every weight is for class 1, the second class is chosen in the same way, and the first has the score 0.

With weights for both classes the larger score decides, as the specification says. ONNX Runtime returns the label 1 or
0 by the sign of the second score there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import evaluator
from qengine.model.eager.ml.features import DOMAIN, labels_of, rows_of
from qengine.model.eager.ml.forest import Reals
from qengine.model.eager.ml.scores import TRANSFORMS, check_transform, of_two_classes, transformed
from qengine.model.eager.ml.trees import NodeLists, Trees, WeightLists, forest_of, reals

_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


@dataclass(frozen=True)
class TargetLists:
    """Attributes of TreeEnsembleRegressor that describe the weights of leaves; the fields have ONNX's names."""

    target_ids: tuple[int, ...] = ()
    target_nodeids: tuple[int, ...] = ()
    target_treeids: tuple[int, ...] = ()
    target_weights: tuple[float, ...] = ()
    target_weights_as_tensor: Any = None
    base_values: tuple[float, ...] = ()
    base_values_as_tensor: Any = None


@dataclass(frozen=True)
class ClassLists:
    """Attributes of TreeEnsembleClassifier that describe the weights of leaves; the fields have ONNX's names."""

    class_ids: tuple[int, ...] = ()
    class_nodeids: tuple[int, ...] = ()
    class_treeids: tuple[int, ...] = ()
    class_weights: tuple[float, ...] = ()
    class_weights_as_tensor: Any = None
    base_values: tuple[float, ...] = ()
    base_values_as_tensor: Any = None


@evaluator("TreeEnsembleRegressor", domain=DOMAIN)
def tree_ensemble_regressor(
    x: NDArray[Any],
    *,
    nodes: NodeLists,
    weights: TargetLists,
    aggregate_function: str = "SUM",
    n_targets: int | None = None,
    post_transform: str = "NONE",
) -> NDArray[Any]:
    """Return the targets of each row: weights of the leaves that it reaches, joined, plus the base values."""
    check_transform(post_transform)
    if aggregate_function not in _AGGREGATES:
        raise ModelError(f"aggregate_function is '{aggregate_function}'; it must be one of {', '.join(_AGGREGATES)}")
    targets = 1 + max(weights.target_ids, default=0) if n_targets is None else n_targets
    dtype = _computed(x)
    values = reals(weights.target_weights, weights.target_weights_as_tensor, "target_weights")
    lists = WeightLists(weights.target_treeids, weights.target_nodeids, weights.target_ids, values)
    base = _base(weights.base_values, weights.base_values_as_tensor, targets, dtype)
    rows = rows_of(x).astype(dtype)
    forest = forest_of(nodes, lists, targets, dtype)
    scores, _ = forest.scores(rows, aggregate_function)
    return transformed(scores + base, post_transform).astype(np.float32)


@evaluator("TreeEnsembleClassifier", domain=DOMAIN)
def tree_ensemble_classifier(
    x: NDArray[Any],
    *,
    nodes: NodeLists,
    weights: ClassLists,
    classlabels_int64s: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (),
    post_transform: str = "NONE",
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the label of each row, and the scores of its classes as float32."""
    check_transform(post_transform)
    labels = labels_of(classlabels_int64s, classlabels_strings)
    if len(labels) < 2:
        raise UnsupportedError("has a single class; classifiers of two or more classes are supported")
    dtype = _computed(x)
    values = reals(weights.class_weights, weights.class_weights_as_tensor, "class_weights")
    rows = rows_of(x).astype(dtype)
    lists = WeightLists(weights.class_treeids, weights.class_nodeids, weights.class_ids, values)
    forest = forest_of(nodes, lists, len(labels), dtype)
    scores, is_given = forest.scores(rows, "SUM")
    base_size = len(weights.base_values or (() if (t := weights.base_values_as_tensor) is None else t))
    is_single = len(labels) == 2 and len(set(weights.class_ids)) == 1
    base = _base(weights.base_values, weights.base_values_as_tensor, 1 if is_single else len(labels), dtype)
    if not is_single:
        scores += base
        chosen = np.where(is_given | bool(base_size), scores, -np.inf).argmax(axis=1)
        return labels[chosen], transformed(scores, post_transform).astype(np.float32)
    column, is_probability = weights.class_ids[0], bool((values >= 0).all())
    if column == 1 and base_size:
        raise UnsupportedError("has base_values with weights for class 1 alone, which is not supported; give both")
    second = scores[:, column] + base[0]
    chosen = (second > (0.5 if is_probability else 0)).astype(np.intp)
    if column == 1:
        return labels[chosen], transformed(scores, post_transform).astype(np.float32)
    is_share = is_probability and post_transform != "LOGISTIC"
    return labels[chosen], of_two_classes(second, post_transform, is_probability=is_share).astype(np.float32)


@evaluator("TreeEnsemble", domain=DOMAIN, since=5)
def tree_ensemble(
    x: NDArray[Any], *, trees: Trees, aggregate_function: int = 1, n_targets: int | None = None, post_transform: int = 0
) -> NDArray[Any]:
    """Return the targets of each row: weights of the leaves that it reaches, joined."""
    if not 0 <= aggregate_function < len(_AGGREGATES) or not 0 <= post_transform < len(TRANSFORMS):
        raise ModelError(
            f"aggregate_function is {aggregate_function} and post_transform {post_transform}; they must be within "
            f"0..{len(_AGGREGATES) - 1} and 0..{len(TRANSFORMS) - 1}"
        )
    targets = 1 + max(trees.leaf_targetids, default=0) if n_targets is None else n_targets
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    rows = rows_of(x).astype(dtype)
    if targets < 1:
        raise ModelError(f"n_targets is {targets}; it must be positive")
    forest = trees.forest(targets, x.dtype, dtype)
    scores, _ = forest.scores(rows, _AGGREGATES[aggregate_function])
    return transformed(scores, TRANSFORMS[post_transform]).astype(x.dtype)


def _computed(x: NDArray[Any]) -> type[np.floating[Any]]:
    """Return the type of thresholds, weights and sums: float64 for float64 features, else float32."""
    return np.float64 if x.dtype == np.float64 else np.float32


def _base(numbers: tuple[float, ...], tensor: Any, count: int, dtype: Any) -> Reals:
    """Return the base values of `count` targets, zeros where none are given."""
    if count < 1:
        raise ModelError(f"n_targets is {count}; it must be positive")
    checked_shape((count,))
    base = reals(numbers, tensor, "base_values")
    if len(base) not in (0, count):
        raise ModelError(f"has {len(base)} base_values; it needs none or {count}")
    return base.astype(dtype) if len(base) else np.zeros(count, dtype)
