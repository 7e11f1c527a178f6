"""Arrangements of random problems: valid, never below what brute force finds, and equal to it where they say so."""

from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qengine.deploy.c.arena.exact import search
from qengine.deploy.c.arena.heuristics import best_offsets, climbed, greedy, orders
from qengine.deploy.c.arena.problem import Problem, lowest, union

MOST = 11
"""Offsets that brute force tries; enough for the best arrangement of small problems."""


def random_problem(random, count, most, scale=1):
    sizes = tuple(random.randint(1, most) * scale for _ in range(count))
    alignments = tuple(random.choice([1, 1, 2]) * scale for _ in range(count))
    lives = tuple((first, first + random.randint(0, 3)) for first in (random.randint(0, count) for _ in range(count)))
    forbidden = {}
    for a, b in product(range(count), repeat=2):
        if a < b and lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]:
            low, high = -sizes[a], sizes[b]
            kind = random.randrange(4)
            if kind == 1:
                low = max(low, random.randint(-2, 2) * scale)
            elif kind == 2:
                high = min(high, random.randint(-2, 2) * scale)
            found = union([(low, high)])
            if kind == 3 and high - low > 4:
                found = union([(low, low + 2), (high - 2, high)])
            if found:
                forbidden[a, b] = found
    return Problem(sizes, alignments, lives, forbidden)


def brute_force(problem):
    """The size of the smallest arrangement, by all offsets."""
    grids = np.meshgrid(*(np.arange(0, MOST, a) for a in problem.alignments), indexing="ij", sparse=True)
    is_valid = np.True_
    for (a, b), intervals in problem.forbidden.items():
        for low, high in intervals:
            difference = grids[a] - grids[b]
            is_valid = is_valid & ((difference <= low) | (difference >= high))
    size = np.max(np.broadcast_arrays(*(g + s for g, s in zip(grids, problem.sizes, strict=True))), axis=0)
    return int(size[np.broadcast_to(is_valid, size.shape)].min())


@given(st.integers(0, 1 << 30), st.integers(1, 4))
def test_the_exact_search_finds_the_size_of_brute_force(seed, count):
    problem = random_problem(Random(seed), count, 3)
    known = greedy(problem)
    assert problem.is_valid(known)
    outcome = search(problem, known, 0, 1_000_000)
    assert outcome.is_least
    assert problem.is_valid(outcome.offsets)
    assert problem.size(outcome.offsets) == brute_force(problem)


@given(st.integers(0, 1 << 30), st.integers(1, 14))
def test_every_arrangement_is_valid_and_more_work_is_never_worse(seed, count):
    problem = random_problem(Random(seed), count, 60, 4)
    first = [problem.first_fit(order) for order in orders(problem)]
    better = climbed(problem, 0, 3_000)
    outcome = search(problem, better, 0, 10_000)
    assert all(problem.is_valid(offsets) for offsets in [*first, better, outcome.offsets])
    sizes = [min(map(problem.size, first)), problem.size(better), problem.size(outcome.offsets)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_search_that_gives_up_does_not_claim_to_be_least():
    problem = random_problem(Random(3), 14, 60)
    known = tuple(int(o) for o in np.cumsum([0, *problem.sizes[:-1]]) * 2)
    assert not search(problem, known, 0, 10).is_least
    assert search(problem, known, problem.size(known), 10).is_least


def test_first_fit_cannot_find_what_better_orders_or_the_exact_search_do():
    """Output far below the input: the input must come second, which no order by size does."""
    problem = Problem((10, 10), (1, 1), ((0, 1), (1, 2)), {(0, 1): ((-10, 4),)})
    assert problem.size(best_offsets(problem, 0).offsets) == 14


@pytest.mark.parametrize(
    ("taken", "alignment", "offset"),
    [
        ([], 4, 0),
        ([(-5, 3)], 1, 3),
        ([(-5, 3)], 4, 4),
        ([(0, 3)], 1, 0),
        ([(-1, 3), (3, 8)], 1, 3),
        ([(-1, 3), (3, 8)], 4, 8),
        ([(-9, 2), (-1, 7), (9, 12)], 1, 7),
        ([(-3, 20), (-2, 5)], 8, 24),
    ],
)
def test_the_lowest_offset_is_outside_of_all_open_intervals(taken, alignment, offset):
    assert lowest(taken, alignment) == offset


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(3, 4)], ()),
        ([(0, 5), (4, 9)], ((0, 9),)),
        ([(5, 9), (0, 5)], ((0, 5), (5, 9))),
        ([(0, 9), (2, 4)], ((0, 9),)),
    ],
)
def test_intervals_that_hold_the_same_numbers_are_joined(intervals, expected):
    assert union(intervals) == expected
