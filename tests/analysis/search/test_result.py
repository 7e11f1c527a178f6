"""Results: the cheapest good candidate, and the front."""

import json
import math

import pytest

from qengine.analysis.inspection.costs import find_cost
from qengine.analysis.search.result import Candidate, Goal, SearchResult, cheapest, front_of
from qengine.metrics.declaration import all_metrics

TOP1, SQNR = ({one.name: one for one in all_metrics()}[name] for name in ("top1", "sqnr"))


def candidates(*pairs):
    return [Candidate((i,), cost, value) for i, (cost, value) in enumerate(pairs)]


def places(found):
    return [one.widths[0] for one in found]


def test_the_cheapest_good_one_counts():
    goal = Goal(TOP1, 1.0, "float32", 0.5)
    known = candidates((5, 0.9), (3, 0.6), (3, 0.7), (1, 0.4), (2, None))
    assert cheapest(known, goal).widths == (2,)
    assert cheapest(candidates((1, 0.4), (2, None), (3, math.nan)), goal) is None


def test_the_front_is_what_nothing_beats():
    assert places(front_of(candidates((5, 0.9), (3, 0.6), (3, 0.7), (1, 0.4), (4, 0.7)), TOP1)) == [3, 2, 0]
    assert places(front_of(candidates((1, 0.5), (1, 0.5)), TOP1)) == [0]
    assert places(front_of(candidates((1, None), (2, -3.0), (3, math.inf)), SQNR)) == [1, 2]


@pytest.fixture
def result():
    best = Candidate((4,), 12.0, 0.98)
    goal = Goal(TOP1, 0.99, "float32", 0.97)
    cost = find_cost("weights")
    return SearchResult({"w": "Q0.3"}, best, (), goal, cost, {}, (best,), 3, True, "y", None, ())


def test_a_result_knows_its_goal(result):
    assert (result.metric, result.reference, result.least) == (TOP1, 0.99, 0.97)
    assert result.is_good(result.best)
    assert not result.is_good(Candidate((2,), 6.0, 0.96))


def test_it_is_saved_as_a_formats_file(result, tmp_path):
    result.save(tmp_path / "formats.json")
    assert json.loads((tmp_path / "formats.json").read_text()) == {"w": "Q0.3"}
