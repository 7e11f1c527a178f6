"""Costs of assignments, by hand."""

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession
from qengine.analysis.inspection.costs import Term, Workload, find_cost
from qengine.analysis.search.cost import CostModel, cost_model, model_of_terms
from qengine.errors import UnsupportedError


def test_costs_are_sums_of_products():
    cost = CostModel(100.0, [(2.0, (0,)), (3.0, (0, 1)), (5.0, (2, 2))])
    assert cost.units == {0, 1, 2}
    assert cost.total((4, 5, 6)) == 100 + 8 + 60 + 180
    for unit, width in ((0, 1), (1, 9), (2, 3)):
        other = [4, 5, 6]
        other[unit] = width
        assert cost.saving((4, 5, 6), unit, width) == cost.total((4, 5, 6)) - cost.total(other)
    assert cost.saving((4, 5, 6), 3, 1) == 0


def test_a_tensor_in_no_unit_has_32_bits():
    terms = [Term(7.0), Term(2.0, ("a",)), Term(3.0, ("a", "b")), Term(5.0, ("b", "c")), Term(1.0, ("c", "a"))]
    cost = model_of_terms(terms, {"a": 0, "c": 1})
    assert cost.units == {0, 1}
    assert cost.total((4, 6)) == 7 + 2 * 4 + 3 * 4 * 32 + 5 * 32 * 6 + 6 * 4
    assert model_of_terms([Term(2.0, ("b", "b"))], {}).total(()) == 2 * 32 * 32


@pytest.mark.parametrize(("cost", "expected"), [("weights", 15 * 4 + 5 * 32), ("bit-operations", 15 * 6 * 4)])
def test_terms_of_a_model(cost, expected):
    model = network(
        [("Gemm", "x w b", "y")],
        inputs={"x": ["N", 3]},
        constants={"w": weights(3, 5, seed=1), "b": weights(5, seed=2)},
    )
    work = Workload(InferenceSession(model, qformat="Q3.4"), {"x": np.zeros((2, 3), np.float32)}, 2)
    assert cost_model(find_cost(cost), work, {"x": 0, "w": 1}).total((6, 4)) == expected


def test_shapes_that_only_a_run_knows():
    model = network(
        [("NonZero", "x", "i"), ("Cast", "i", "f", {"to": 1}), ("MatMul", "w f", "y")],
        inputs={"x": [2, 3]},
        constants={"w": weights(4, 2, seed=1)},
    )
    work = Workload(InferenceSession(model), {"x": np.ones((2, 3), np.float32)}, 2)
    with pytest.raises(UnsupportedError, match="and bit operations cannot be counted: take another cost"):
        cost_model(find_cost("bit-operations"), work, {})
