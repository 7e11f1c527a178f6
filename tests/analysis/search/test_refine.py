"""Bisection of a path and the local search, on figures from a table: which are measured, and which is returned."""

import pytest

from qengine.analysis.search.cost import CostModel
from qengine.analysis.search.descent import Choices
from qengine.analysis.search.refine import bisect_path, refine
from qengine.analysis.search.result import Candidate, Goal
from qengine.metrics.declaration import all_metrics

GOAL = Goal(all_metrics()[0], 1.0, "float32", 0.5)


class Table:
    """Measured assignments, whose figures a function gives."""

    def __init__(self, cost, value):
        self._cost, self._value, self.asked = cost, value, []

    def __call__(self, widths):
        if widths not in self.asked:
            self.asked.append(widths)
        return Candidate(widths, self._cost.total(widths), self._value(widths))


def path_of(length):
    return [(length - i,) for i in range(length)]


def bisected(good, length):
    """Return the places of a path that are measured, where the first `good` are good enough."""
    table = Table(CostModel(0.0, [(1.0, (0,))]), lambda widths: 1.0 if length - widths[0] < good else 0.0)
    bisect_path(path_of(length), table, GOAL)
    return [length - widths[0] for widths in table.asked]


@pytest.mark.parametrize("length", [1, 2, 3, 10, 33])
def test_the_last_good_and_the_first_bad_one_are_measured(length):
    for good in range(1, length + 1):
        asked = bisected(good, length)
        assert 0 not in asked
        # The first is known to be good, and there is none behind the last.
        assert {place for place in (good - 1, good) if 0 < place < length} <= set(asked)
        assert len(asked) <= length.bit_length() + 3


def test_it_halves_and_looks_three_further_ahead():
    assert bisected(3, 16) == [8, 4, 2, 3, 5, 6]  # 3 is the first bad one; 4 was measured on the way
    assert bisected(5, 100) == [50, 25, 12, 6, 3, 4, 5, 7, 8]
    assert bisected(14, 16) == [8, 12, 14, 13, 15]
    assert bisected(16, 16) == [8, 12, 14, 15]


def test_a_good_one_behind_a_bad_one_is_seen():
    good = {0, 1, 2, 5}
    table = Table(CostModel(0.0, [(1.0, (0,))]), lambda widths: 1.0 if 40 - widths[0] in good else 0.0)
    bisect_path(path_of(40), table, GOAL)
    assert (35,) in table.asked


WIDTHS = (2, 4, 8)


def refined(sizes, sensitivity, is_good, start):
    """Return the result of refining, and everything that was measured."""
    cost = CostModel(0.0, [(float(size), (u,)) for u, size in enumerate(sizes)])
    choices = Choices([WIDTHS] * len(sizes), sensitivity, cost)
    table = Table(cost, lambda widths: 1.0 if is_good(widths) else 0.0)
    best = refine(choices, table(start), table, GOAL)
    return best.widths, table.asked


def flat(*noises):
    return [dict(zip(WIDTHS, each, strict=True)) for each in noises]


def test_units_are_shortened_while_that_is_good_enough():
    noises = flat((0.9, 0.2, 0.0), (0.9, 0.1, 0.0))
    widths, asked = refined((1, 1), noises, lambda w: w[0] >= 4 and w[1] >= 4, (8, 8))
    assert widths == (4, 4)
    # First the least noise for the saving; then the other; then both again, which fail.
    assert asked[:4] == [(8, 8), (8, 4), (4, 4), (2, 4)]
    assert asked[4] == (4, 2)


def test_a_unit_that_saves_more_is_shortened_first():
    _, asked = refined((10, 1), flat((0.9, 0.2, 0.0), (0.9, 0.1, 0.0)), lambda w: w != (4, 4), (8, 8))
    assert asked[1] == (4, 8)


def test_an_exchange_goes_where_no_single_step_does():
    # Two bits for the large unit and eight for the small one are cheaper than four for both, and good.
    good = {(8, 8), (4, 8), (8, 4), (4, 4), (2, 8)}
    widths, asked = refined((10, 1), flat((0.3, 0.2, 0.0), (0.9, 0.2, 0.0)), good.__contains__, (4, 4))
    assert widths == (2, 8)
    assert (8, 2) not in asked  # it costs more


def test_a_double_exchange_goes_where_no_exchange_does():
    good = {(4, 4, 4), (8, 2, 2)}
    widths, _ = refined((1, 5, 5), flat(*[(0.3, 0.2, 0.0)] * 3), good.__contains__, (4, 4, 4))
    assert widths == (8, 2, 2)


def test_two_units_may_be_longer_for_one_that_is_shorter():
    good = {(4, 4, 4), (8, 8, 2)}
    widths, _ = refined((1, 1, 9), flat(*[(0.3, 0.2, 0.0)] * 3), good.__contains__, (4, 4, 4))
    assert widths == (8, 8, 2)


def test_two_units_may_be_shorter_where_one_may_not():
    widths, _ = refined((1, 1), flat(*[(0.3, 0.2, 0.0)] * 2), {(8, 8), (4, 4)}.__contains__, (8, 8))
    assert widths == (4, 4)


@pytest.mark.parametrize(
    ("sizes", "exchanges", "doubles"),
    [
        ((1,) * 10, 0, 8 + 28),  # of eight units one or two are shorter; two bits less pay for no four bits more
        ((0.01,) + (1,) * 9, 9, 40),  # the first unit may be longer for any other: no more than 40 are measured
    ],
)
def test_neighbours_that_are_measured_are_few(sizes, exchanges, doubles):
    cost = CostModel(0.0, [(float(size), (u,)) for u, size in enumerate(sizes)])
    choices = Choices([WIDTHS] * 10, flat(*[(0.3, 0.2, 0.0)] * 10), cost)
    measured = []

    def evaluate(widths):
        measured.append(widths)
        return Candidate(widths, cost.total(widths), 0.0)

    start = Candidate((4,) * 10, cost.total((4,) * 10), 1.0)
    assert refine(choices, start, evaluate, GOAL) is start
    assert len(measured) == 10 + exchanges + doubles


def test_the_units_that_take_most_noise_away_are_lengthened():
    # Of eleven units eight are tried; the last two of the small ones matter.
    noises = flat(*[(0.3, 0.01, 0.0)] * 8, *[(0.3, 0.2, 0.0)] * 2, (0.3, 0.2, 0.0))
    good = {(4,) * 11, (4,) * 8 + (8, 8, 2)}
    widths, _ = refined((1,) * 10 + (50,), noises, good.__contains__, (4,) * 11)
    assert widths == (4,) * 8 + (8, 8, 2)


def test_a_step_that_saves_nothing_is_not_taken():
    cost = CostModel(0.0, [(1.0, (0,)), (0.0, (1,))])
    choices = Choices([WIDTHS, WIDTHS], flat((0.1, 0.1, 0.0), (0.1, 0.1, 0.0)), cost)
    table = Table(cost, lambda _: 1.0)
    assert refine(choices, table((8, 8)), table, GOAL).widths == (2, 8)


def test_only_cheaper_neighbours_are_measured():
    cost = {}
    _, asked = refined((3, 2, 1), flat(*[(0.3, 0.2, 0.0)] * 3), lambda w: w == (4, 4, 4), (4, 4, 4))
    for widths in asked:
        cost[widths] = 3 * widths[0] + 2 * widths[1] + widths[2]
    assert all(value < 24 for widths, value in cost.items() if widths != (4, 4, 4))
    assert {(2, 4, 4), (4, 2, 4), (4, 4, 2)} < set(asked)


def test_a_unit_that_costs_nothing_is_left_alone():
    cost = CostModel(0.0, [(1.0, (0,))])
    choices = Choices([WIDTHS, WIDTHS], [{2: 0.1, 4: 0.1, 8: 0.0}, {}], cost)
    table = Table(cost, lambda _: 1.0)
    assert refine(choices, table((8, 8)), table, GOAL).widths == (2, 8)
    assert {widths[1] for widths in table.asked} == {8}
