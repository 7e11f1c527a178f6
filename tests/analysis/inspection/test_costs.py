"""Costs of a session: memory and bit operations counted by hand, in formats of several word lengths."""

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession
from qengine.analysis.inspection.costs import FLOAT_BITS, Workload, all_costs, find_cost, word_length
from qengine.errors import OptionError
from qengine.qformat import QFormat, channel_formats

# x (2, 3) -> c (2, 5) -> m (2, 5) -> y (2, 5), all outputs: weights 15, a bias of 5, and a factor of 5 read twice.
MODEL = network(
    [("Gemm", "x w b", "c"), ("Mul", "c f", "m"), ("Add", "m f", "y")],
    inputs={"x": ["N", 3]},
    outputs=["c", "m", "y"],
    constants={"w": weights(3, 5, seed=1), "b": weights(5, seed=2), "f": weights(5, seed=3)},
)
FEEDS = {"x": np.ones((2, 3), np.float32)}
FORMATS = {"x": "Q3.4", "w": "Q1.4", "c": "Q7.8", "f": "Q1.2", "m": "Q3.4", "y": "Q5.6"}


def work(**options):
    return Workload(InferenceSession(MODEL, **options), FEEDS, 2)


@pytest.mark.parametrize(
    ("name", "fixed", "real"),
    [
        ("weights", (15 * 6 + 5 * 32 + 5 * 4) / 8, (15 + 5 + 5) * 4),
        ("activations", (3 * 8 + 5 * 16 + 5 * 8 + 5 * 12) / 8, (3 + 3 * 5) * 4),
        ("bit-operations", 15 * 8 * 6, 15 * 32 * 32),
    ],
)
def test_costs_of_one_sample(name, fixed, real):
    cost = find_cost(name)
    assert cost.total(work(formats=FORMATS)) == fixed
    assert cost.total(work()) == real


def test_figures_for_people():
    assert [cost.spelled(81_920.0) for cost in all_costs()] == [
        "10,240 bytes",
        "10,240 bytes",
        "81,920 bit operations",
    ]


def test_names_and_synonyms():
    assert [find_cost(name).name for name in ("weights", "weight-memory", "macs")] == [
        "weights",
        "weights",
        "bit-operations",
    ]
    with pytest.raises(OptionError, match=r"^no cost is named 'area'; there are weights, activations, bit-operations$"):
        find_cost("area")


def test_word_lengths():
    assert word_length(None) == FLOAT_BITS == 32
    assert word_length(QFormat.parse("Q3.4")) == 8
    assert word_length(channel_formats(["Q3.8"], 0)) == 12


def test_an_attribute_is_no_constant_that_costs_memory():
    """Shapes and other integers are not computed with; neither is what only a shape is made of."""
    model = network(
        [("Reshape", "x shape", "r"), ("Resize", "r - scales", "y", {"mode": "nearest"})],
        inputs={"x": [1, 4]},
        constants={"shape": [1, 1, 2, 2], "scales": [1.0, 1.0, 2.0, 2.0]},
    )
    session = InferenceSession(model, qformat="Q3.4")
    assert find_cost("weights").total(Workload(session, {"x": np.ones((1, 4), np.float32)}, 1)) == 0


def test_shapes_that_only_a_run_knows():
    model = network([("NonZero", "x", "i"), ("Cast", "i", "f", {"to": 1}), ("Relu", "f", "y")], inputs={"x": [2, 3]})
    undecided = Workload(InferenceSession(model), {"x": np.ones((2, 3), np.float32)}, 2)
    assert [cost.total(undecided) for cost in all_costs()] == [0.0, None, None]
