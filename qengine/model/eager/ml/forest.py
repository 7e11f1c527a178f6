"""Forest: an ensemble of decision trees as flat arrays, checked before any search in it.

Nodes have one numbering: first the branches, 0 up to the number of branches, then the leaves. All samples descend
all trees at once, one level a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.ml.lookup import positions_in

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
"""Comparisons of a branch, in the order of their numbers in TreeEnsemble."""
MAX_DEPTH = 10_000
"""Largest number of branches on a path."""

_COMPARISONS = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)
_MEMBER = MODES.index("BRANCH_MEMBER")
_PAIRS_AT_ONCE = 1 << 18  # pairs of a sample and a tree that descend together

Indices = NDArray[np.intp]
Reals = NDArray[Any]


@dataclass(frozen=True)
class Branches:
    """The branches of all trees.

    Attributes
    ----------
    feature, mode : column that is compared, and index into `MODES`.
    threshold : number that the feature is compared with.
    tracks_true : whether NaN takes the true child; otherwise the comparison decides.
    true_child, false_child : node to go on with.
    members : set of numbers of each branch with the mode BRANCH_MEMBER, in their order.
    """

    feature: Indices
    mode: Indices
    threshold: Reals
    tracks_true: NDArray[np.bool_]
    true_child: Indices
    false_child: Indices
    members: tuple[Reals, ...] = ()

    def __len__(self) -> int:
        return len(self.feature)


@dataclass(frozen=True)
class Forest:
    """An ensemble of trees.

    Attributes
    ----------
    branches : the branches.
    roots : root of each tree, a branch or a leaf.
    leaf_first, leaf_count : position of the first weight of each leaf, and the number of its weights.
    target, weight : target and value of each weight, those of a leaf side by side.
    targets : number of targets.
    """

    branches: Branches
    roots: Indices
    leaf_first: Indices
    leaf_count: Indices
    target: Indices
    weight: Reals
    targets: int

    def __post_init__(self) -> None:
        branches, nodes = self.branches, len(self.branches) + len(self.leaf_first)
        for what, index, limit in (
            ("root", self.roots, nodes),
            ("true child", branches.true_child, nodes),
            ("false child", branches.false_child, nodes),
            ("target", self.target, self.targets),
            ("mode", branches.mode, len(MODES)),
            ("feature", branches.feature, np.iinfo(np.intp).max),
        ):
            if index.size and (index.min() < 0 or index.max() >= limit):
                wrong = index[(index < 0) | (index >= limit)][0]
                raise ModelError(f"a tree has the {what} {wrong}, outside 0..{limit - 1}")
        if not len(self.roots):
            raise ModelError("has no trees")
        _check_depth(branches)

    def scores(self, x: Reals, function: str) -> tuple[Reals, NDArray[np.bool_]]:
        """Return a number for each sample and target, and whether any leaf has a weight for it.

        Parameters
        ----------
        x
            Samples, [N, C].
        function
            SUM, AVERAGE, MIN or MAX of the weights of the leaves that a sample reaches.

        Raises
        ------
        ModelError
            If a branch compares a feature that the samples do not have.
        """
        needed = int(self.branches.feature.max(initial=-1)) + 1
        if x.shape[1] < needed:
            raise ModelError(f"its trees compare feature {needed - 1}, and the input has {x.shape[1]} features")
        step = max(1, _PAIRS_AT_ONCE // len(self.roots))
        scores = np.zeros(checked_shape((len(x), self.targets), self.weight.itemsize + 1), self.weight.dtype)
        is_given = np.zeros(scores.shape, bool)
        for i in range(0, len(x), step):
            part = slice(i, i + step)
            self._aggregate(self._descend(x[part]), function, scores[part], is_given[part])
        return scores, is_given

    def _descend(self, x: Reals) -> Indices:
        """Return the leaf, counted from 0, that each sample reaches in each tree, [N, T]."""
        branches, trees = self.branches, len(self.roots)
        count = len(branches)
        at = np.tile(self.roots, len(x))
        active = np.flatnonzero(at < count)
        while active.size:
            node = at[active]
            value = x[active // trees, branches.feature[node]]
            is_true = self._compare(node, value) | (branches.tracks_true[node] & np.isnan(value))
            at[active] = np.where(is_true, branches.true_child[node], branches.false_child[node])
            active = active[at[active] < count]
        return at.reshape(len(x), trees) - count

    def _compare(self, node: Indices, value: Reals) -> NDArray[np.bool_]:
        """Return whether the comparison of each branch with a value is true."""
        modes, thresholds = self.branches.mode[node], self.branches.threshold[node]
        result = np.zeros(len(node), bool)
        for mode in np.unique(modes):
            where = modes == mode
            if mode == _MEMBER:
                result[where] = self._is_member(node[where], value[where])
            else:
                result[where] = _COMPARISONS[mode](value[where], thresholds[where])
        return result

    def _is_member(self, node: Indices, value: Reals) -> NDArray[np.bool_]:
        """Return whether each value is in the set of its branch."""
        members = self.branches.members
        every = np.unique(np.concatenate(members))
        codes = np.concatenate([i * len(every) + np.searchsorted(every, one) for i, one in enumerate(members)])
        which = np.cumsum(self.branches.mode == _MEMBER)[node] - 1
        at = positions_in(value, every)
        return (at >= 0) & np.isin(which * len(every) + at, codes)

    def _aggregate(self, leaves: Indices, function: str, scores: Reals, is_given: NDArray[np.bool_]) -> None:
        """Join the weights of leaves into scores, which are zeros, and note which targets have one.

        Weights are added tree by tree in their own dtype, as a loop over the trees does.
        """
        join = {"MIN": np.minimum, "MAX": np.maximum}.get(function, np.add)
        for tree in leaves.T:
            first, count = self.leaf_first[tree], self.leaf_count[tree]
            for k in range(count.max(initial=0)):
                rows = np.flatnonzero(count > k)
                column, weight = self.target[first[rows] + k], self.weight[first[rows] + k]
                joined = join(scores[rows, column], weight)
                scores[rows, column] = np.where(is_given[rows, column], joined, weight)
                is_given[rows, column] = True
        if function == "AVERAGE":
            scores /= scores.dtype.type(leaves.shape[1])


def _check_depth(branches: Branches) -> None:
    """Raise ModelError for a branch that is its own descendant, UnsupportedError for a path that is too long.

    Level by level, branches without an unseen parent are removed; those of a circle remain.
    """
    count = len(branches)
    children = np.concatenate([branches.true_child, branches.false_child])
    parents = np.bincount(children[children < count], minlength=count)
    level = np.flatnonzero(parents == 0)
    seen = 0
    for _ in range(MAX_DEPTH):
        if not level.size:
            break
        seen += level.size
        reached = np.concatenate([branches.true_child[level], branches.false_child[level]])
        reached, times = np.unique(reached[reached < count], return_counts=True)
        parents[reached] -= times
        level = reached[parents[reached] == 0]
    if level.size:
        raise UnsupportedError(f"a tree has more than {MAX_DEPTH:,} branches on a path")
    if seen < count:
        raise ModelError("a branch of a tree is its own descendant, so a search in it would never end")
