"""Descent, by hand."""

from itertools import product

import pytest

from qengine.analysis.search.cost import CostModel
from qengine.analysis.search.descent import Choices, descent, monotone


def test_chance_makes_no_short_word_better():
    assert monotone({2: 0.5, 3: 0.1, 4: 0.2, 8: 0.15}) == {2: 0.5, 3: 0.2, 4: 0.2, 8: 0.15}


def test_each_step_saves_most_for_its_noise():
    widths = [(2, 4, 8), (2, 4, 8), (8,)]
    sensitivity = [{2: 1.0, 4: 0.1, 8: 0.0}, {2: 0.3, 4: 0.2, 8: 0.0}, {8: 0.0}]
    choices = Choices(widths, sensitivity, CostModel(0.0, [(10.0, (0,)), (1.0, (1,))]))
    # Of the first 40 for 0.1; of both words of the second 6 for 0.3, which is more for its noise than 4 for 0.2;
    # the first again is 20 for 0.9.
    assert list(descent(choices)) == [(8, 8, 8), (4, 8, 8), (2, 8, 8), (2, 2, 8)]


def test_what_is_free_goes_first_and_what_costs_nothing_stays():
    choices = Choices([(2, 8), (2, 8)], [{2: 0.0, 8: 0.0}, {}], CostModel(0.0, [(1.0, (0,))]))
    assert list(descent(choices)) == [(8, 8), (2, 8)]
    assert choices.uniform(2) == (2, 8)
    assert choices.uniform(4) is None


@pytest.mark.parametrize("seed", range(5))
def test_of_separable_costs_nothing_is_better_for_its_noise(seed):
    import numpy as np

    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 50, size=4)
    sensitivity = [{b: float(h) * 4.0**-b for b in (2, 3, 4, 6)} for h in rng.random(4) * 100]
    choices = Choices([(2, 3, 4, 6)] * 4, sensitivity, CostModel(0.0, [(float(n), (u,)) for u, n in enumerate(sizes)]))
    every = [(choices.noise(a), choices.cost.total(a)) for a in product((2, 3, 4, 6), repeat=4)]
    for one in descent(choices):
        noise, cost = choices.noise(one), choices.cost.total(one)
        assert not [1 for other_noise, other_cost in every if other_noise <= noise and other_cost < cost - 1e-9]
