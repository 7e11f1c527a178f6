"""Contradictions: each is named at the key that was given, and its opposite is allowed."""

import pytest

from qengine.errors import TargetError
from qengine.model.rules import Rules
from qengine.targets import Constraints
from qengine.targets.origin import Origin
from qengine.targets.rules_mapping import constraints_over, rules_over

RULES = [
    ({"accumulator": {"overflow": "saturate"}}, {"accumulator": {"bits": 20}}, "accumulator.overflow"),
    (
        {"rounding": "half_up", "accumulator": {"rounds_inside": True}},
        {"accumulator": {"bits": 32}},
        "accumulator.rounds_inside",
    ),
    (
        {"accumulator": {"bits": 32, "order": "channels_last"}},
        {"accumulator": {"overflow": "saturate"}},
        "accumulator.order",
    ),
    (
        {"accumulator": {"bits": 32, "rounds_inside": True}},
        {"linear": {"rounding": "half_up"}},
        "accumulator.rounds_inside",
    ),
    (
        {
            "linear": {"rounding": "half_even"},
            "rounding": "half_up",
            "accumulator": {"bits": 32, "rounds_inside": True},
        },
        {"linear": {"rounding": "floor"}},
        "accumulator.rounds_inside",
    ),
    ({"accumulator": {"rounding": "trunc"}}, {"accumulator": {"fraction_bits": 4}}, "accumulator.rounding"),
    (
        {"accumulator": {"fraction_bits": 4}, "bias": {"fraction_bits": 5}},
        {"bias": {"fraction_bits": 4}},
        "bias.fraction_bits",
    ),
    ({"bias": {"fraction_bits": "most", "shift": 7}}, {"bias": {"fraction_bits": "sums"}}, "bias.shift"),
    ({"table": {"entries": 512}}, {"table": {"method": "cut"}}, "table.entries"),
    ({"table": {"method": "cut", "functions": []}}, {"table": {"functions": ["Tanh"]}}, "table.functions"),
    ({"table": {"functions": ["Erf"]}}, {"table": {"method": "interpolated"}}, "table.functions"),
    ({"mean": {"method": "two_pass", "counts_pads": True}}, {"mean": {"counts_pads": False}}, "mean.counts_pads"),
]


@pytest.mark.parametrize(("given", "mended", "key"), RULES)
def test_rules(given, mended, key):
    with pytest.raises(TargetError, match=rf"^here: {key} contradicts other keys: "):
        rules_over(Rules(), given, Origin("here"))
    base = rules_over(Rules(), given, Origin("here"), complete=False)
    rules_over(base, mended, Origin("here"))


def test_the_key_that_is_given_here_is_named_and_not_the_one_that_was_there():
    base = rules_over(Rules(), {"rounding": "half_up", "accumulator": {"bits": 32, "rounds_inside": True}}, Origin("a"))
    with pytest.raises(TargetError, match=r"^b: rounding contradicts other keys: rounds_inside adds the constant"):
        rules_over(base, {"rounding": "trunc"}, Origin("b"))


CONSTRAINTS = [
    ({"equal_formats": ["Add"], "equal_operands": ["Add"]}, "equal_operands"),
    ({"operators": ["Add"], "refused": ["Add"]}, "refused"),
    ({"activation_bits": [8], "weight_bits": [4], "equal_bits": True}, "equal_bits"),
    ({"activation_bits": []}, "activation_bits"),
    ({"output_formats": {"Tanh": []}}, "output_formats.Tanh"),
    ({"output_formats": {"Tanh": ["Q0.7"]}, "refused": ["Tanh"]}, "output_formats.Tanh"),
    ({"output_formats": {"Tanh": ["Q0.7"]}, "operators": ["Add"]}, "output_formats.Tanh"),
    ({"input_formats": {"Tanh": ["Q0.7"]}, "activation_bits": [16]}, "input_formats.Tanh"),
]


@pytest.mark.parametrize(("given", "key"), CONSTRAINTS)
def test_constraints(given, key):
    with pytest.raises(TargetError, match=rf"^here: {key} contradicts other keys: "):
        constraints_over(Constraints(), given, Origin("here"))
