"""Words for rules and constraints: every field that differs is said, and every word of an enum has one."""

from typing import get_args, get_type_hints

import pytest

from qengine.model.rules import KINDS, MeanRule, Rules
from qengine.qformat import Overflow, Rounding
from qengine.targets import Constraints, Target, names, words
from qengine.targets.origin import Origin
from qengine.targets.rules_mapping import rules_mapping, rules_over


def test_every_mode_and_kind_has_words():
    assert set(words.ROUNDINGS) == set(Rounding)
    assert set(words.OVERFLOWS) == set(Overflow)
    assert set(words.KINDS_IN_WORDS) == set(KINDS)
    assert set(words._MEANS) == set(get_args(get_type_hints(MeanRule)["method"]))


RULES = [
    ({"mean": {"method": "reciprocal"}}, "means", "floor(65536 / count)"),
    ({"mean": {"counts_pads": False}}, "means", "pads do not count"),
    ({"accumulator": {"bits": 20, "overflow": "saturate"}}, "accumulators", "20 bits, which stop at the rails"),
    ({"accumulator": {"bits": 20}}, "accumulators", "20 bits, which wrap"),
    ({"accumulator": {"fraction_bits": 10}}, "accumulators", "each product is cut to 10 fraction bits (floor)"),
    (
        {"rounding": "half_up", "accumulator": {"bits": 32, "rounds_inside": True}},
        "accumulators",
        "half a step is added before they wrap",
    ),
    ({"bias": {"bits": 8, "fraction_bits": "most"}}, "biases", "8 bits, the most fraction bits"),
    ({"bias": {"fraction_bits": 7}}, "biases", "32 bits, 7 fraction bits"),
    ({"table": {"method": "cut"}}, "tables", "Sigmoid, Tanh: 256 entries over [-8, 8)"),
    ({"table": {"method": "interpolated"}}, "tables", "with lines between them"),
    ({"aligns_add": True}, "operands of Add", "brought to the output's format"),
    ({"fuses_functions": False}, "functions in several operators", "after each operator"),
    ({"islands": ["norm"]}, "in float32", "norm"),
    ({"add": {"rounding": "half_away"}}, "Add, Sub, Sum", "half_away: to nearest, ties away from zero"),
    ({"operators": {"Gemm": {"overflow": "wrap"}}}, "Gemm", "too large: wraps"),
    ({"tensors": {"a": {"overflow": "zero"}}}, "tensor 'a'", "too large: becomes 0"),
]


@pytest.mark.parametrize(("given", "name", "text"), RULES)
def test_rules_in_words(given, name, text):
    found = dict(words.rules_in_words(rules_over(Rules(), given, Origin("here"))))
    assert text in found[name]
    assert text not in dict(words.rules_in_words(Rules())).get(name, "")


@pytest.mark.parametrize("name", names())
def test_every_rule_and_constraint_of_a_target_is_said(name):
    target = Target.named(name)
    said = dict(words.rules_in_words(target.rules))
    for kind in set(rules_mapping(target.rules)) & set(KINDS):
        if target.rules.kinds.get(kind):
            assert words.KINDS_IN_WORDS[kind] in said
    count = sum(
        len(getattr(target.constraints, f)) if f.endswith("_formats") and f != "equal_formats" else 1
        for f in target.constraints.differences
    )
    assert len(list(words.constraints_in_words(target.constraints))) == count
    assert not list(words.constraints_in_words(Constraints()))
