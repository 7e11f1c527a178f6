"""The code of `kernels.trees.Trees`: searches that run side by side, because each waits for memory at every level.

One search is a chain: the next node is known only when the value was compared. So eight searches are interleaved, of
eight rows in one tree, or of one row in eight trees where rows are few. A block of rows goes through a tree before the
next tree begins, so that the tree stays in the cache; the weights of a row are still added in the order of the trees.
"""

from collections.abc import Callable
from typing import Any

import numba
from numba import njit

from ..trees import Join, Trees
from .python_loops import elements

_ADD, _MAX = int(Join.ADD), int(Join.MAX)


def python_kernel(spec: Trees) -> Callable[..., None]:
    """Return the kernel."""
    items, words, integers, bytes_at = elements(spec.element), elements("i32"), elements("i64"), elements("u8")
    number, cast = (elements("f64"), numba.float64) if spec.wide else (elements("f32"), numba.float32)
    feature_at, child_at = (2, 4) if spec.wide else (1, 3)  # the second child; the first is before it
    wide, has_nan, single = spec.wide, spec.nan, spec.single

    @njit(inline="always")
    def step(x: Any, nodes: Any, thresholds: Any, node: int, row: int) -> Any:
        """Return the child of a node that the value of a row takes."""
        feature = nodes[node + feature_at]
        threshold = thresholds[node >> 1 if wide else node]
        if has_nan:
            value = cast(x[row + (feature >> 1)])
            return nodes[node + child_at - ((value <= threshold) | ((value != value) & ((feature & 1) == 1)))]
        return nodes[node + child_at - (cast(x[row + feature]) <= threshold)]

    @njit(inline="always")
    def is_leaf(nodes: Any, node: int) -> Any:
        return nodes[node + child_at] == node

    @njit(inline="always")
    def add(
        nodes: Any,
        thresholds: Any,
        node: int,
        sums: Any,
        flags: Any,
        at: int,
        leaves: Any,
        targets: Any,
        weights: Any,
        join: int,
    ) -> None:
        """Join the weights of a leaf into the scores of a row, which begin at `at`."""
        if single:
            sums[at] += thresholds[node >> 1 if wide else node]
        else:
            leaf = nodes[node]
            begin = leaves[2 * leaf]
            for k in range(begin, begin + leaves[2 * leaf + 1]):
                place, weight = at + targets[k], weights[k]
                before = sums[place]
                if flags[place] == 0:
                    sums[place] = weight
                elif join == _ADD:
                    sums[place] = before + weight
                elif weight != weight or (before == before and (weight > before) == (join == _MAX)):
                    sums[place] = weight
                flags[place] = 1

    @njit(inline="always")
    def descend(x: Any, nodes: Any, thresholds: Any, depth: int, found: Any, a0: int, features: int) -> None:
        """Go down from the eight nodes at `found`, with a row each: the first at `a0`, the others `features` apart."""
        n0, n1, n2, n3, n4, n5, n6, n7 = found[0], found[1], found[2], found[3], found[4], found[5], found[6], found[7]
        a1, a2, a3 = a0 + features, a0 + 2 * features, a0 + 3 * features
        a4, a5, a6, a7 = a0 + 4 * features, a0 + 5 * features, a0 + 6 * features, a0 + 7 * features
        level = depth
        while level > 0:
            n0, n1 = step(x, nodes, thresholds, n0, a0), step(x, nodes, thresholds, n1, a1)
            n2, n3 = step(x, nodes, thresholds, n2, a2), step(x, nodes, thresholds, n3, a3)
            n4, n5 = step(x, nodes, thresholds, n4, a4), step(x, nodes, thresholds, n5, a5)
            n6, n7 = step(x, nodes, thresholds, n6, a6), step(x, nodes, thresholds, n7, a7)
            level -= 1
            if (level & 7) == 7 and (
                is_leaf(nodes, n0)
                & is_leaf(nodes, n1)
                & is_leaf(nodes, n2)
                & is_leaf(nodes, n3)
                & is_leaf(nodes, n4)
                & is_leaf(nodes, n5)
                & is_leaf(nodes, n6)
                & is_leaf(nodes, n7)
            ):
                level = 0
        found[0], found[1], found[2], found[3], found[4], found[5], found[6], found[7] = n0, n1, n2, n3, n4, n5, n6, n7

    def trees(x: int, scores: int, given: int, first: int, end: int, forest: int, scratch: int) -> None:
        facts = integers(forest)
        features, columns, block, nodes, roots = facts[0], facts[1], facts[2], facts[3], facts[4]
        depths, count, leaves, targets, weights = facts[5], facts[6], facts[7], facts[8], facts[9]
        join, divisor, base = facts[10], facts[11], facts[12]
        source, table, splits, sums, flags = items(x), words(nodes), number(nodes), number(scores), bytes_at(given)
        root_of, depth_of, leaf_table, target_of = words(roots), words(depths), integers(leaves), integers(targets)
        weight_of, base_of, found = number(weights), number(base), integers(scratch)
        begin = first
        while begin < end:
            rows = end - begin
            if rows > block:
                rows = block
            for i in range(begin * columns, (begin + rows) * columns):
                sums[i] = 0.0
                if not single:
                    flags[i] = 0
            together = rows & ~7
            for t in range(count):
                start, depth, r = root_of[t], depth_of[t], 0
                while r < together:
                    for k in range(8):
                        found[k] = start
                    descend(source, table, splits, depth, found, (begin + r) * features, features)
                    for k in range(8):
                        at = (begin + r + k) * columns
                        add(table, splits, found[k], sums, flags, at, leaf_table, target_of, weight_of, join)
                    r += 8
            for r in range(together, rows):
                row, at, t = (begin + r) * features, (begin + r) * columns, 0
                while t < count:
                    level, live = depth_of[t], 1
                    found[0] = root_of[t]
                    if t + 8 <= count:
                        live = 8
                        for k in range(1, 8):
                            found[k] = root_of[t + k]
                            if depth_of[t + k] > level:
                                level = depth_of[t + k]
                        descend(source, table, splits, level, found, row, 0)
                    else:
                        node = found[0]
                        while level > 0 and not is_leaf(table, node):
                            node = step(source, table, splits, node, row)
                            level -= 1
                        found[0] = node
                    for k in range(live):
                        add(table, splits, found[k], sums, flags, at, leaf_table, target_of, weight_of, join)
                    t += live
            for r in range(begin, begin + rows):
                for k in range(columns):
                    score = sums[r * columns + k]
                    if divisor > 0:
                        score = score / cast(divisor)
                    sums[r * columns + k] = score + base_of[k]
            begin += rows

    return trees
