"""The Pareto front of cost and quality."""

import math
from collections.abc import Sequence


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points (cost, quality) that no other point beats, the cheapest first.

    A point beats another if it is as cheap and better, or as good and cheaper. Of equal points the first counts.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    front, best = [], -math.inf
    for i in order:
        if points[i][1] > best:
            front.append(i)
            best = points[i][1]
    return front
