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


def test_the_next_word_lengths_of_a_unit():
    choices = Choices([(2, 4, 8), (8,)], [{2: 0.7, 4: 0.2, 8: 0.0}, {}], CostModel(0.0, [(1.0, (0,))]))
    assert [choices.lower((width, 8), 0) for width in (2, 4, 8)] == [None, 2, 4]
    assert [choices.higher((width, 8), 0) for width in (2, 4, 8)] == [4, 8, None]
    assert choices.lower((8, 8), 1) is choices.higher((8, 8), 1) is None
    assert choices.longest == (8, 8)
    assert (choices.noise((4, 8)), choices.noise((8, 8))) == (0.2, 0.0)
    assert (choices.added_noise((4, 8), 0, 2), choices.added_noise((4, 8), 1, 4)) == (0.7 - 0.2, 0.0)


def test_uniform_word_lengths_where_a_unit_has_no_choice():
    cost = CostModel(0.0, [(1.0, (0,)), (1.0, (1,)), (1.0, (2,))])
    choices = Choices([(2, 4), (4, 8), (6,), (2, 16)], [{}] * 4, cost)
    assert choices.uniform(4) == (4, 4, 6, 16)
    assert choices.uniform(2) is choices.uniform(8) is choices.uniform(6) is None
    assert Choices([(4,)], [{}], CostModel(0.0, [(1.0, (0,))])).uniform(4) is None


def test_small_savings_are_steps_too_and_no_saving_is_none():
    cost = CostModel(0.0, [(0.25, (0,)), (0.0, (1,))])
    choices = Choices([(2, 4), (2, 4)], [{2: 0.5, 4: 0.0}] * 2, cost)
    assert list(descent(choices)) == [(4, 4), (2, 4)]


def test_of_equal_gains_for_the_noise_the_larger_saving_goes_first():
    sensitivity = [{4: 0.1, 8: 0.0}, {4: 0.2, 8: 0.0}, {4: 0.0, 8: 0.0}, {4: 0.0, 8: 0.1}]
    cost = CostModel(0.0, [(1.0, (0,)), (2.0, (1,)), (1.0, (2,)), (3.0, (3,))])
    choices = Choices([(4, 8)] * 4, sensitivity, cost)
    assert list(descent(choices)) == [(8, 8, 8, 8), (8, 8, 8, 4), (8, 8, 4, 4), (8, 4, 4, 4), (4, 4, 4, 4)]


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
