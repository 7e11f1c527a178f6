"""The Pareto front, against its definition."""

import math
from itertools import product

import numpy as np
import pytest

from qengine.metrics.pareto import pareto


def is_beaten(i, points):
    cost, quality = points[i]
    return any(
        (c <= cost and q > quality) or (c < cost and q >= quality) or (j < i and (c, q) == (cost, quality))
        for j, (c, q) in enumerate(points)
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_no_point_beats_the_cheapest_first(seed):
    points = [tuple(map(float, point)) for point in np.random.default_rng(seed).integers(0, 5, (12, 2))]
    wanted = [i for i in range(len(points)) if not is_beaten(i, points)]
    assert pareto(points) == sorted(wanted, key=lambda i: points[i])


def test_small_fronts():
    assert pareto([]) == []
    assert pareto([(1.0, 2.0)]) == [0]
    assert pareto([(1.0, 2.0), (1.0, 2.0)]) == [0]
    assert pareto([(2.0, math.inf), (1.0, 5.0), (3.0, math.inf)]) == [1, 0]
    assert pareto(list(product((2.0, 1.0), (1.0, 2.0)))) == [3]
