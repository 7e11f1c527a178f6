"""Figures of assignments: measured once, within a budget, and compared with the right reference."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, SessionOptions
from qengine.analysis.search.cost import CostModel
from qengine.analysis.search.evaluate import BudgetExhausted, Evaluator, ModelEvaluator, goal_on
from qengine.data.datasets import Batch
from qengine.data.datasets.runs import Runs
from qengine.data.preprocessing import Preprocessing
from qengine.errors import OptionError, QEngineError
from qengine.metrics.declaration import all_metrics
from qengine.metrics.drop import Drop
from qengine.model.loader import load

METRICS = {one.name: one for one in all_metrics()}
MODEL = network([("Gemm", "x w", "y")], inputs={"x": ["N", 3]}, constants={"w": weights(3, 4, seed=1)})
X = weights(6, 3, seed=2, scale=1.0)
FORMATS = {"x": "Q1.2", "w": "Q1.3", "y": "Q2.3"}


def model(metric="sqnr", labels=None, x=X):
    graph, exact = load(MODEL), InferenceSession(MODEL)
    parts = [slice(0, 4), slice(4, 6)]
    batches = [Batch({"x": x[p]}, {}, None if labels is None else labels[p], len(x[p])) for p in parts]
    outputs = [{"y": exact.run(None, {"x": x[p]})[0]} for p in parts]
    runs = Runs(lambda: iter(batches), len(x))
    return ModelEvaluator(graph, runs, outputs, "y", Preprocessing(), METRICS[metric], SessionOptions())


def fixed(metric, value, longest=None):
    """Return an evaluator whose figures are given."""
    return SimpleNamespace(metric=METRICS[metric], in_float32=lambda: value, in_formats=lambda _: longest)


def test_figures_are_of_all_batches():
    (exact,), (y,) = (InferenceSession(MODEL, formats=f).run(None, {"x": X}) for f in (None, FORMATS))
    wide = exact.astype(np.float64)
    expected = 10 * np.log10(np.sum(wide**2) / np.sum((wide - y) ** 2))
    assert model().in_formats(FORMATS) == pytest.approx(expected, rel=1e-6)
    assert model().in_float32() == math.inf
    labels = exact.argmax(axis=1)
    labels[5] = (labels[5] + 1) % 4
    assert model("top1", labels).in_float32() == 5 / 6
    assert model("top1", labels).in_formats(FORMATS) == np.mean(y.argmax(axis=1) == labels)


def test_no_signal_has_no_figure():
    assert model(x=X * 0).in_float32() == math.inf
    silent = model(x=X * 0)
    object.__setattr__(silent, "exact", [{"y": np.ones_like(one["y"]) * np.nan} for one in silent.exact])
    assert silent.in_formats(FORMATS) is None


def test_a_goal_is_a_drop_below_float32():
    goal = goal_on(fixed("top1", 0.9), {}, Drop(2.0), None)
    assert (goal.reference, goal.reference_of, goal.least) == (0.9, "float32", pytest.approx(0.88))
    assert goal.is_met(0.88)
    assert not goal.is_met(0.879)
    assert not goal.is_met(None)


def test_where_float32_is_infinite_the_longest_words_stand_for_it():
    goal = goal_on(fixed("sqnr", math.inf, 60.0), {}, Drop(3.0), None)
    assert (goal.reference, goal.reference_of, goal.least) == (60.0, "the longest words", 57.0)
    assert goal_on(fixed("sqnr", None, math.inf), {}, Drop(3.0), None).least == math.inf
    with pytest.raises(OptionError, match="sqnr has no value in the longest words"):
        goal_on(fixed("sqnr", math.inf, None), {}, Drop(3.0), None)


def test_a_figure_may_be_given():
    goal = goal_on(fixed("top1", 0.9), {}, Drop(2.0), 0.5)
    assert (goal.reference, goal.least) == (0.9, 0.5)


def evaluator(max_runs=10, seconds=None, figure=lambda formats: 1.0):
    units = [SimpleNamespace(name="a", tensor_formats={2: {"a": "Q0.1"}, 4: {"a": "Q0.3"}})]
    done = []
    cost = CostModel(1.0, [(3.0, (0,))])
    evaluate = Evaluator(SimpleNamespace(in_formats=figure), units, cost, max_runs, seconds, done.append)
    return evaluate, done


def test_an_assignment_is_measured_once():
    seen = []
    evaluate, done = evaluator(figure=lambda formats: seen.append(formats) or 0.25)
    first = evaluate((4,))
    assert (first.widths, first.cost, first.value) == ((4,), 13.0, 0.25)
    assert evaluate((4,)) is first
    assert seen == [{"a": "Q0.3"}]
    assert (done, evaluate.measured) == ([1], {(4,): first})


def test_a_budget_of_runs():
    evaluate, _ = evaluator(max_runs=1)
    first = evaluate((4,))
    with pytest.raises(BudgetExhausted):
        evaluate((2,))
    assert evaluate((4,)) is first  # which is known


def test_a_budget_of_time_leaves_the_first():
    evaluate, done = evaluator(seconds=0.0)
    evaluate((4,))
    with pytest.raises(BudgetExhausted):
        evaluate((2,))
    assert done == [1]


def test_an_error_names_the_word_lengths():
    def fail(_):
        raise QEngineError("it cannot be")

    evaluate, _ = evaluator(figure=fail)
    with pytest.raises(QEngineError, match="in the word lengths a 4: it cannot be"):
        evaluate((4,))
    assert evaluate.measured == {}
