"""Evaluators of the tree ensembles of ai.onnx.ml; see `qengine.model.eager.ml.ensemble`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.eager.kept import keep
from qengine.model.eager.ml.ensemble import Ensemble
from qengine.model.eager.ml.features import DOMAIN, labels_of, row_count
from qengine.model.eager.ml.forest import Reals
from qengine.model.eager.ml.scores import TRANSFORMS, check_transform
from qengine.model.eager.ml.trees import NodeLists, Trees, WeightLists, forest_of, reals
from qengine.model.graph import Node
from qengine.model.steps import Tensor

_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class Regressor:
    """Attributes of TreeEnsembleRegressor; the fields have ONNX's names, those of the nodes aside."""

    target_ids: tuple[int, ...] = ()
    target_nodeids: tuple[int, ...] = ()
    target_treeids: tuple[int, ...] = ()
    target_weights: tuple[float, ...] = ()
    target_weights_as_tensor: Any = None
    base_values: tuple[float, ...] = ()
    base_values_as_tensor: Any = None
    aggregate_function: str = "SUM"
    n_targets: int | None = None
    post_transform: str = "NONE"

    def ensemble(self, nodes: NodeLists, dtype: np.dtype[Any]) -> Ensemble:
        """Return the trees, with thresholds and weights of a dtype."""
        check_transform(self.post_transform)
        if self.aggregate_function not in _AGGREGATES:
            raise ModelError(
                f"aggregate_function is '{self.aggregate_function}'; it must be one of {', '.join(_AGGREGATES)}"
            )
        targets = 1 + max(self.target_ids, default=0) if self.n_targets is None else self.n_targets
        values = reals(self.target_weights, self.target_weights_as_tensor, "target_weights")
        lists = WeightLists(self.target_treeids, self.target_nodeids, self.target_ids, values)
        base = _base(self.base_values, self.base_values_as_tensor, targets, dtype)
        forest = forest_of(nodes, lists, targets, dtype)
        return Ensemble(forest, self.aggregate_function, base, self.post_transform, _FLOAT)


@dataclass(frozen=True)
class Classifier:
    """Attributes of TreeEnsembleClassifier; the fields have ONNX's names, those of the nodes aside."""

    class_ids: tuple[int, ...] = ()
    class_nodeids: tuple[int, ...] = ()
    class_treeids: tuple[int, ...] = ()
    class_weights: tuple[float, ...] = ()
    class_weights_as_tensor: Any = None
    base_values: tuple[float, ...] = ()
    base_values_as_tensor: Any = None
    classlabels_int64s: tuple[int, ...] = ()
    classlabels_strings: tuple[str, ...] = ()
    post_transform: str = "NONE"

    def ensemble(self, nodes: NodeLists, dtype: np.dtype[Any]) -> Ensemble:
        """Return the trees, with thresholds and weights of a dtype."""
        check_transform(self.post_transform)
        labels = labels_of(self.classlabels_int64s, self.classlabels_strings)
        if len(labels) < 2:
            raise UnsupportedError("has a single class; classifiers of two or more classes are supported")
        values = reals(self.class_weights, self.class_weights_as_tensor, "class_weights")
        lists = WeightLists(self.class_treeids, self.class_nodeids, self.class_ids, values)
        forest = forest_of(nodes, lists, len(labels), dtype)
        base_size = len(self.base_values or (() if (t := self.base_values_as_tensor) is None else t))
        column = self.class_ids[0] if len(labels) == 2 and len(set(self.class_ids)) == 1 else None
        count = len(labels) if column is None else 1
        base = _base(self.base_values, self.base_values_as_tensor, count, dtype)
        if column == 1 and base_size:
            raise UnsupportedError("has base_values with weights for class 1 alone, which is not supported; give both")
        return Ensemble(
            forest, "SUM", base, self.post_transform, _FLOAT, labels, column, bool(base_size), bool((values >= 0).all())
        )


def _computed(x: NDArray[Any] | Tensor) -> np.dtype[Any]:
    """Return the type of thresholds, weights and sums: float64 for float64 features, else float32."""
    return np.dtype(np.float64 if x.dtype == np.float64 else np.float32)


def _ensemble_of(
    node: Node, x: NDArray[Any] | Tensor, nodes: NodeLists, attributes: Regressor | Classifier
) -> Ensemble:
    dtype = _computed(x)
    return keep(node, x.dtype, lambda: attributes.ensemble(nodes, dtype))


def _regressor_types(x: Tensor, *, nodes: NodeLists, attributes: Regressor, node: Node) -> tuple[OutputType]:
    ensemble = _ensemble_of(node, x, nodes, attributes)
    return (((row_count(x), ensemble.forest.targets), ensemble.dtype),)


@evaluator("TreeEnsembleRegressor", domain=DOMAIN, outputs=_regressor_types)
def tree_ensemble_regressor(x: NDArray[Any], *, nodes: NodeLists, attributes: Regressor, node: Node) -> NDArray[Any]:
    """Return the targets of each row: weights of the leaves that it reaches, joined, plus the base values."""
    return _ensemble_of(node, x, nodes, attributes).predict(x)


def _classifier_types(
    x: Tensor, *, nodes: NodeLists, attributes: Classifier, node: Node
) -> tuple[OutputType, OutputType]:
    ensemble = _ensemble_of(node, x, nodes, attributes)
    assert ensemble.labels is not None
    count = row_count(x)
    return ((count,), ensemble.labels.dtype), ((count, len(ensemble.labels)), ensemble.dtype)


@evaluator("TreeEnsembleClassifier", domain=DOMAIN, outputs=_classifier_types)
def tree_ensemble_classifier(
    x: NDArray[Any], *, nodes: NodeLists, attributes: Classifier, node: Node
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the label of each row, and the scores of its classes as float32."""
    return _ensemble_of(node, x, nodes, attributes).classify(x)


def _tree_ensemble(
    node: Node,
    x: NDArray[Any] | Tensor,
    trees: Trees,
    aggregate_function: int,
    n_targets: int | None,
    post_transform: int,
) -> Ensemble:
    if not 0 <= aggregate_function < len(_AGGREGATES) or not 0 <= post_transform < len(TRANSFORMS):
        raise ModelError(
            f"aggregate_function is {aggregate_function} and post_transform {post_transform}; they must be within "
            f"0..{len(_AGGREGATES) - 1} and 0..{len(TRANSFORMS) - 1}"
        )
    targets = 1 + max(trees.leaf_targetids, default=0) if n_targets is None else n_targets
    if targets < 1:
        raise ModelError(f"n_targets is {targets}; it must be positive")
    dtype = _computed(x)

    def make() -> Ensemble:
        forest, base = trees.forest(targets, x.dtype, dtype), np.zeros(targets, dtype)
        return Ensemble(forest, _AGGREGATES[aggregate_function], base, TRANSFORMS[post_transform], x.dtype)

    return keep(node, x.dtype, make)


def _tree_ensemble_types(
    x: Tensor,
    *,
    trees: Trees,
    aggregate_function: int = 1,
    n_targets: int | None = None,
    post_transform: int = 0,
    node: Node,
) -> tuple[OutputType]:
    ensemble = _tree_ensemble(node, x, trees, aggregate_function, n_targets, post_transform)
    return (((row_count(x), ensemble.forest.targets), ensemble.dtype),)


@evaluator("TreeEnsemble", domain=DOMAIN, since=5, outputs=_tree_ensemble_types)
def tree_ensemble(
    x: NDArray[Any],
    *,
    trees: Trees,
    aggregate_function: int = 1,
    n_targets: int | None = None,
    post_transform: int = 0,
    node: Node,
) -> NDArray[Any]:
    """Return the targets of each row: weights of the leaves that it reaches, joined."""
    return _tree_ensemble(node, x, trees, aggregate_function, n_targets, post_transform).predict(x)


def _base(numbers: tuple[float, ...], tensor: Any, count: int, dtype: Any) -> Reals:
    """Return the base values of `count` targets, zeros where none are given."""
    if count < 1:
        raise ModelError(f"n_targets is {count}; it must be positive")
    checked_shape((count,))
    base = reals(numbers, tensor, "base_values")
    if len(base) not in (0, count):
        raise ModelError(f"has {len(base)} base_values; it needs none or {count}")
    return base.astype(dtype) if len(base) else np.zeros(count, dtype)
