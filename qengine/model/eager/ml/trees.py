"""Attributes of the tree operators of ai.onnx.ml, and the `Forest` that they describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.ml.features import floats
from qengine.model.eager.ml.forest import MODES, Branches, Forest, Reals
from qengine.model.eager.ml.lookup import positions_in

_LEAF = "LEAF"


@dataclass(frozen=True)
class NodeLists:
    """Attributes of TreeEnsembleClassifier and TreeEnsembleRegressor that describe nodes, one element a node.

    The fields have ONNX's names. Real numbers are given as a list or as a tensor.
    """

    nodes_treeids: tuple[int, ...] = ()
    nodes_nodeids: tuple[int, ...] = ()
    nodes_featureids: tuple[int, ...] = ()
    nodes_modes: tuple[str, ...] = ()
    nodes_values: tuple[float, ...] = ()
    nodes_values_as_tensor: Any = None
    nodes_truenodeids: tuple[int, ...] = ()
    nodes_falsenodeids: tuple[int, ...] = ()
    nodes_missing_value_tracks_true: tuple[int, ...] = ()
    nodes_hitrates: tuple[float, ...] = ()
    nodes_hitrates_as_tensor: Any = None


@dataclass(frozen=True)
class WeightLists:
    """Weights of leaves, one element a weight.

    Attributes
    ----------
    tree, node : the leaf of a weight.
    target : target or class that it adds to.
    value : the weight.
    """

    tree: tuple[int, ...]
    node: tuple[int, ...]
    target: tuple[int, ...]
    value: NDArray[Any]


def reals(numbers: tuple[float, ...], tensor: Any, what: str) -> NDArray[Any]:
    """Return real numbers of an attribute that exists as a list and as a tensor.

    Raises
    ------
    ModelError
        If both are given, or the tensor is not a vector of float32 or float64.
    """
    if tensor is None:
        return floats(numbers)
    if numbers:
        raise ModelError(f"has both {what} and {what}_as_tensor")
    return vector(tensor, f"{what}_as_tensor", "f")


def vector(tensor: Any, what: str, kinds: str) -> NDArray[Any]:
    """Return an attribute that must be a vector with a dtype of one of the kinds; raise ModelError otherwise."""
    if not isinstance(tensor, np.ndarray) or tensor.ndim != 1 or tensor.dtype.kind not in kinds:
        raise ModelError(f"{what} is not a vector of {'real numbers' if kinds == 'f' else 'integers'}")
    return tensor


def forest_of(nodes: NodeLists, weights: WeightLists, targets: int, dtype: Any) -> Forest:
    """Return the trees that lists of nodes and weights describe.

    Parameters
    ----------
    nodes, weights
        The attributes.
    targets
        Number of targets.
    dtype
        Type of thresholds and weights.

    Raises
    ------
    ModelError
        If lists differ in length, a node exists twice, or a node that is referred to does not exist.
    """
    thresholds = reals(nodes.nodes_values, nodes.nodes_values_as_tensor, "nodes_values").astype(dtype)
    count = len(nodes.nodes_treeids)
    for name in ("nodeids", "featureids", "modes", "truenodeids", "falsenodeids"):
        _check_length(f"nodes_{name}", getattr(nodes, f"nodes_{name}"), count)
    _check_length("nodes_values", thresholds, count)
    tracks = nodes.nodes_missing_value_tracks_true
    if tracks:
        _check_length("nodes_missing_value_tracks_true", tracks, count)
    numbers = {name: _mode(name) for name in set(nodes.nodes_modes)}
    modes = np.fromiter((numbers[name] for name in nodes.nodes_modes), np.intp, count)
    is_branch = modes >= 0
    branch = np.flatnonzero(is_branch)
    # The joint numbering of a forest: branches first.
    number = np.where(is_branch, np.cumsum(is_branch) - 1, len(branch) + np.cumsum(~is_branch) - 1)
    tree, node = np.array(nodes.nodes_treeids, np.int64), np.array(nodes.nodes_nodeids, np.int64)
    index = _NodeIndex(tree, node)
    starts = np.flatnonzero(np.diff(tree, prepend=tree[:1] - 1)) if count else np.zeros(0, np.intp)
    true_child, false_child = (
        number[index.find(tree[branch], np.array(ids, np.int64)[branch])]
        for ids in (nodes.nodes_truenodeids, nodes.nodes_falsenodeids)
    )
    branches = Branches(
        np.array(nodes.nodes_featureids, np.int64)[branch],
        modes[branch],
        thresholds[branch],
        np.array(tracks or [0] * count, np.int64)[branch] == 1,
        true_child,
        false_child,
    )
    first, amount, order = _leaf_weights(weights, index, number - len(branch), int(count - len(branch)))
    target = np.array(weights.target, np.int64)[order]
    value = weights.value.astype(dtype)[order]
    return Forest(branches, number[starts], first, amount, target, value, targets)


def _leaf_weights(
    weights: WeightLists, index: _NodeIndex, leaf: NDArray[Any], leaves: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the first weight and the number of weights of each leaf, and the order that sorts weights by leaf.

    Weights of branches are left out, as in ONNX Runtime: old converters wrote them.
    """
    count = len(weights.tree)
    for name, values in (("node ids", weights.node), ("ids", weights.target), ("values", weights.value)):
        _check_length(f"the {name} of the weights", values, count)
    at = index.find(np.array(weights.tree, np.int64), np.array(weights.node, np.int64))
    owner = leaf[at] if count else np.zeros(0, np.intp)
    order = np.argsort(owner, kind="stable")
    order = order[owner[order] >= 0]
    amount = np.bincount(owner[order], minlength=leaves)
    return np.cumsum(amount) - amount, amount, order


class _NodeIndex:
    """Index of nodes by tree and node id."""

    def __init__(self, tree: NDArray[Any], node: NDArray[Any]) -> None:
        self._trees, self._nodes = np.unique(tree), np.unique(node)
        codes = self._codes(tree, node)
        self._order = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]
        if (np.diff(self._sorted) == 0).any():
            at = self._order[1:][np.diff(self._sorted) == 0][0]
            raise ModelError(f"node {node[at]} of tree {tree[at]} exists twice")

    def _codes(self, tree: NDArray[Any], node: NDArray[Any]) -> NDArray[Any]:
        """Return a number for each pair, negative where there is no such tree or node."""
        first, second = positions_in(tree, self._trees), positions_in(node, self._nodes)
        return np.where((first >= 0) & (second >= 0), first * max(len(self._nodes), 1) + second, -1)

    def find(self, tree: NDArray[Any], node: NDArray[Any]) -> NDArray[np.intp]:
        """Return the positions of nodes; raise ModelError for one that does not exist."""
        at = positions_in(self._codes(tree, node), self._sorted)
        if (at < 0).any():
            wrong = int(np.argmax(at < 0))
            raise ModelError(f"node {node[wrong]} of tree {tree[wrong]} does not exist")
        return self._order[at] if len(at) else at


def _mode(name: str) -> int:
    """Return the index of a mode, -1 for a leaf."""
    if name == _LEAF:
        return -1
    if name not in MODES[:-1]:
        raise ModelError(f"nodes_modes has '{name}'; it must be one of {', '.join(MODES[:-1])}, {_LEAF}")
    return MODES.index(name)


def _check_length(what: str, values: Any, count: int) -> None:
    if len(values) != count:
        raise ModelError(f"{what} has {len(values)} elements; {count} are needed")


@dataclass(frozen=True)
class Trees:
    """Attributes of TreeEnsemble that describe nodes and leaves; the fields have ONNX's names."""

    tree_roots: tuple[int, ...]
    nodes_featureids: tuple[int, ...]
    nodes_modes: Any
    nodes_splits: Any
    nodes_truenodeids: tuple[int, ...]
    nodes_falsenodeids: tuple[int, ...]
    nodes_trueleafs: tuple[int, ...]
    nodes_falseleafs: tuple[int, ...]
    leaf_targetids: tuple[int, ...]
    leaf_weights: Any
    nodes_missing_value_tracks_true: tuple[int, ...] = ()
    nodes_hitrates: Any = None
    membership_values: Any = None

    def forest(self, targets: int, dtype: np.dtype[Any], computed: Any) -> Forest:
        """Return the trees.

        Parameters
        ----------
        targets
            Number of targets.
        dtype
            Type that thresholds and weights must have.
        computed
            Type to compute in.

        Raises
        ------
        ModelError
            If lists differ in length, or a tensor has another type.
        """
        count, leaves = len(self.nodes_featureids), len(self.leaf_targetids)
        splits = self._reals("nodes_splits", dtype).astype(computed)
        weights = self._reals("leaf_weights", dtype).astype(computed)
        modes = vector(self.nodes_modes, "nodes_modes", "iu").astype(np.int64)
        _check_length("nodes_modes", modes, count)
        _check_length("nodes_splits", splits, count)
        _check_length("leaf_weights", weights, leaves)
        tracks = self.nodes_missing_value_tracks_true or (0,) * count
        _check_length("nodes_missing_value_tracks_true", tracks, count)
        roots = np.array(self.tree_roots, np.int64)
        if roots.size and roots.max() >= count:
            raise ModelError(f"tree_roots has {roots.max()}, and there are {count} nodes")
        branches = Branches(
            np.array(self.nodes_featureids, np.int64),
            modes,
            splits,
            np.array(tracks, np.int64) == 1,
            self._children("true", count, leaves),
            self._children("false", count, leaves),
            self._members(int((modes == MODES.index("BRANCH_MEMBER")).sum()), dtype, computed),
        )
        target, one = np.array(self.leaf_targetids, np.int64), np.ones(leaves, np.intp)
        return Forest(branches, roots, np.arange(leaves), one, target, weights, targets)

    def _reals(self, name: str, dtype: np.dtype[Any]) -> Reals:
        tensor = vector(getattr(self, name), name, "f")
        if tensor.dtype != dtype:
            raise ModelError(f"{name} is {tensor.dtype}, and the input is {dtype}")
        return tensor

    def _children(self, side: str, count: int, leaves: int) -> NDArray[np.int64]:
        """Return the children on one side in the joint numbering of a forest."""
        ids, are_leaves = (getattr(self, f"nodes_{side}{kind}") for kind in ("nodeids", "leafs"))
        _check_length(f"nodes_{side}nodeids", ids, count)
        _check_length(f"nodes_{side}leafs", are_leaves, count)
        child, is_leaf = np.array(ids, np.int64), np.array(are_leaves, np.int64) != 0
        limit = np.where(is_leaf, leaves, count)
        if ((child < 0) | (child >= limit)).any():
            at = int(np.argmax((child < 0) | (child >= limit)))
            raise ModelError(f"nodes_{side}nodeids has {child[at]}, outside 0..{limit[at] - 1}")
        return np.where(is_leaf, child + count, child)

    def _members(self, sets: int, dtype: np.dtype[Any], computed: Any) -> tuple[Reals, ...]:
        """Return the sets of the branches of the mode BRANCH_MEMBER, which NaN separates."""
        if self.membership_values is None:
            if sets:
                raise ModelError(f"has {sets} branches of the mode BRANCH_MEMBER, and no membership_values")
            return ()
        values = self._reals("membership_values", dtype).astype(computed)
        ends = np.flatnonzero(np.isnan(values))
        parts = np.split(values, ends)
        found = [part[~np.isnan(part)] for part in parts]
        if len(found) == sets + 1 and not found[-1].size:  # NaN may also end the last set
            found.pop()
        if len(found) != sets and (sets or values.size):
            raise ModelError(f"membership_values holds {len(found)} sets for {sets} branches of the mode BRANCH_MEMBER")
        return tuple(found[:sets])
