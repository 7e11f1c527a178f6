"""Descent: a forest in the form in which machine code searches it.

A search is fast where every branch does the same and nothing decides which code runs. So all branches become one
comparison, `value <= threshold`, which chooses one of two children:

- The other comparisons are this one with another threshold or with its children swapped: x < t is x <= the number
  before t, and x > t is the opposite of x <= t. Equality is two such branches, one after the other; a set of numbers
  is a search tree of equalities.
- NaN is never <= a threshold, so it takes the second child. Where the first is right for NaN, a flag says so.
- A leaf is its own child. A search goes as many levels down as the tree is deep, and where it arrives early it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.eager.ml.forest import MODES, Forest

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Descent:
    """A forest for machine code. Nodes that one search visits lie near to one another.

    Attributes
    ----------
    threshold, feature : number that each node compares with, and column that it compares; anything for a leaf.
    below, above : child where the value is <= the threshold, and where it is not; a leaf's own number for a leaf.
    nan_is_below : whether NaN takes the first child.
    leaf : number of the leaf in the forest; -1 for a branch.
    roots, depths : first node, and number of branches on the longest path, of each tree.
    """

    threshold: NDArray[Any]
    feature: Indices
    below: Indices
    above: Indices
    nan_is_below: NDArray[np.bool_]
    leaf: Indices
    roots: Indices
    depths: Indices


def descent_of(forest: Forest) -> Descent:
    """Return a forest in the form for machine code."""
    nodes = _Nodes(forest)
    order, depths = _search_order(nodes.below, nodes.above, forest.roots, nodes.is_leaf)
    place = np.full(len(nodes.below), -1, np.int64)
    place[order] = np.arange(len(order))
    return Descent(
        nodes.threshold[order],
        nodes.feature[order],
        place[nodes.below[order]],
        place[nodes.above[order]],
        nodes.nan_is_below[order],
        nodes.leaf[order],
        place[forest.roots],
        depths,
    )


class _Nodes:
    """Nodes of a forest with comparisons by <= alone; those that were added come last."""

    def __init__(self, forest: Forest) -> None:
        b, count, self.leaves = forest.branches, len(forest.branches), len(forest.leaf_first)
        mode = {name: b.mode == MODES.index(name) for name in MODES}
        before = np.nextafter(b.threshold, -np.inf)
        before[np.isneginf(b.threshold)] = np.nan  # nothing is less
        is_strict, is_swapped = (
            mode["BRANCH_LT"] | mode["BRANCH_GTE"],
            mode["BRANCH_GTE"] | mode["BRANCH_GT"] | mode["BRANCH_NEQ"],
        )
        threshold = np.where(is_strict, before, b.threshold)
        true, false = b.true_child.astype(np.int64), b.false_child.astype(np.int64)
        below, above = np.where(is_swapped, false, true), np.where(is_swapped, true, false)
        # The comparison of NaN is false but for "not equal"; of a threshold NaN it is false for every value.
        goes_true = b.tracks_true | mode["BRANCH_NEQ"]
        nan_is_below = goes_true != is_swapped
        never = np.isnan(b.threshold) & (mode["BRANCH_GTE"] | mode["BRANCH_GT"])
        threshold = np.where(never, np.inf, threshold)
        leaves = np.arange(count, count + self.leaves)
        self.threshold = np.concatenate([threshold, np.zeros(self.leaves, threshold.dtype)])
        self.feature = np.concatenate([b.feature, np.zeros(self.leaves, np.int64)]).astype(np.int64)
        self.below, self.above = np.concatenate([below, leaves]), np.concatenate([above, leaves])
        self.nan_is_below = np.concatenate([nan_is_below, np.zeros(self.leaves, bool)])
        self.leaf = np.concatenate([np.full(count, -1), np.arange(self.leaves)])
        self._add_equalities(np.flatnonzero(mode["BRANCH_EQ"] | mode["BRANCH_NEQ"]), before)
        for at, members in zip(np.flatnonzero(mode["BRANCH_MEMBER"]), b.members, strict=True):
            self._add_set(int(at), np.unique(members), int(true[at]), int(false[at]))

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """Whether each node is a leaf."""
        return self.leaf >= 0

    def _add_equalities(self, at: Indices, before: NDArray[Any]) -> None:
        """Make branches of equality two comparisons: a value that is <= t is t if it is not <= the number before t."""
        second = np.arange(len(self.below), len(self.below) + len(at))
        self.threshold = np.concatenate([self.threshold, before[at]])
        self.feature = np.concatenate([self.feature, self.feature[at]])
        equal, other = self.below[at], self.above[at]
        self.below, self.above = np.concatenate([self.below, other]), np.concatenate([self.above, equal])
        self.below[at] = second
        self.nan_is_below = np.concatenate([self.nan_is_below, np.zeros(len(at), bool)])
        self.leaf = np.concatenate([self.leaf, np.full(len(at), -1)])

    def _add_set(self, at: int, members: NDArray[Any], true: int, false: int) -> None:
        """Make a branch of a set a search tree, whose root is the branch."""
        rows: list[tuple[Any, int, int, bool]] = []
        first = len(self.below)

        def add(low: int, high: int) -> int:
            """Return the node that decides about members low..high-1."""
            if low == high:
                return false
            middle, own = (low + high) // 2, first + len(rows)
            value = members[middle]
            before = np.nan if np.isneginf(value) else np.nextafter(value, -np.inf)
            rows.extend([(value, own + 1, 0, False), (before, 0, true, False)])
            left = add(low, middle)
            rows[own + 1 - first] = (before, left, true, False)
            rows[own - first] = (value, own + 1, add(middle + 1, high), False)
            return own

        add(0, len(members))
        tracks = self.nan_is_below[at]
        if not rows:  # no number is a member
            self.threshold[at], self.below[at], self.above[at] = np.nan, true, false
            return
        values, below, above, _ = (np.array(column) for column in zip(*rows, strict=True))
        # The branch takes NaN to its first child, where NaN is a member; every number goes on with the search.
        self.threshold[at], self.below[at], self.above[at] = np.nan, true, first
        self.nan_is_below[at] = tracks
        self.threshold = np.concatenate([self.threshold, values.astype(self.threshold.dtype)])
        self.feature = np.concatenate([self.feature, np.full(len(rows), self.feature[at])])
        self.below, self.above = np.concatenate([self.below, below]), np.concatenate([self.above, above])
        self.nan_is_below = np.concatenate([self.nan_is_below, np.zeros(len(rows), bool)])
        self.leaf = np.concatenate([self.leaf, np.full(len(rows), -1)])


def _search_order(
    below: Indices, above: Indices, roots: Indices, is_leaf: NDArray[np.bool_]
) -> tuple[Indices, Indices]:
    """Return all nodes that searches visit, tree by tree and level by level, and the depth of each tree."""
    count, depths = len(below), np.zeros(len(roots), np.int64)
    owner, level_of = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    node, tree, level = roots.astype(np.int64), np.arange(len(roots)), 0
    while node.size:
        is_new = owner[node] < 0
        owner[node[is_new]], level_of[node[is_new]] = tree[is_new], level
        inner = ~is_leaf[node]
        node, tree = node[inner], tree[inner]
        if not node.size:
            break
        level += 1
        depths[tree] = level
        pairs = np.concatenate([tree * count + below[node], tree * count + above[node]])
        pairs = np.unique(pairs)
        tree, node = np.divmod(pairs, count)
    visited = np.flatnonzero(owner >= 0)
    order = visited[np.lexsort((visited, level_of[visited], owner[visited]))]
    return order, depths
