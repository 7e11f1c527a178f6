"""What nothing beats in both cost and quality."""

import math
from collections.abc import Sequence


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which of (cost, quality) no other one beats: none is as cheap and better, or as good and cheaper.

    The cheapest comes first; of equal ones the first counts.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    front, best = [], -math.inf
    for i in order:
        if points[i][1] > best:
            front.append(i)
            best = points[i][1]
    return front
