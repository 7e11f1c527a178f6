"""Rules from mappings and back: every field, single rules over a base, and every mistake by its words."""

from dataclasses import replace

import pytest

from qengine.errors import TargetError
from qengine.model.rules import AccumulatorRule, BiasRule, MeanRule, Modes, Rules, TableRule
from qengine.qformat import Overflow, QFormat, Rounding
from qengine.targets import Constraints
from qengine.targets.origin import Origin
from qengine.targets.rules_mapping import constraints_mapping, constraints_over, rules_mapping, rules_over

HERE = Origin("rules")

EVERY_RULE = Rules(
    Rounding.HALF_UP,
    Overflow.WRAP,
    {"mean": Modes(Rounding.TRUNC), "constants": Modes(Rounding.FLOOR, Overflow.SYMMETRIC)},
    {"Gemm": Modes(Rounding.HALF_AWAY)},
    {"conv1/x:0": Modes(None, Overflow.ZERO), "a.b.c": Modes(Rounding.CEIL)},
    AccumulatorRule(20, "saturate", "channels_last", True, 10, Rounding.TRUNC),
    BiasRule(16, "sums", Rounding.FLOOR, 3),
    MeanRule("reciprocal", False),
    TableRule("interpolated", 1024, 16, ("Sigmoid", "Erf")),
    True,
    frozenset({"softmax", "norm"}),
    False,
)
EVERY_CONSTRAINT = Constraints(
    (8, 16),
    (8,),
    True,
    True,
    "conv",
    True,
    (-3, 31),
    ("Add",),
    ("Sub",),
    {"Tanh": (QFormat.parse("Q3.4"),)},
    {"Sigmoid": (QFormat.parse("Q0.7"), QFormat.parse("Q0.15"))},
    ("Add", "Sub", "Tanh", "Sigmoid", "com.microsoft.Gelu"),
    ("Softmax",),
)


def test_every_rule_is_written_and_read_back():
    assert set(EVERY_RULE.differences) == set(Rules.__dataclass_fields__)
    assert rules_over(Rules(), rules_mapping(EVERY_RULE), HERE) == EVERY_RULE
    assert rules_mapping(Rules()) == {}


def test_every_constraint_is_written_and_read_back():
    assert set(EVERY_CONSTRAINT.differences) == set(Constraints.__dataclass_fields__)
    assert constraints_over(Constraints(), constraints_mapping(EVERY_CONSTRAINT), HERE) == EVERY_CONSTRAINT
    assert constraints_mapping(Constraints()) == {}


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ({"mean.rounding": "floor"}, {"kinds": {**EVERY_RULE.kinds, "mean": Modes(Rounding.FLOOR)}}),
        ({"mean": {"overflow": "wrap"}}, {"kinds": {**EVERY_RULE.kinds, "mean": Modes(Rounding.TRUNC, Overflow.WRAP)}}),
        ({"accumulator": {"bits": "all", "overflow": "wrap", "order": "channels_first", "rounds_inside": False}}, None),
        ({"accumulator.fraction_bits": "all", "accumulator.rounding": "floor"}, None),
        ({"tensors.a.b.c.rounding": "away"}, {"tensors": {**EVERY_RULE.tensors, "a.b.c": Modes(Rounding.AWAY)}}),
        ({"tensors": {"new": {"overflow": "wrap"}}}, None),
        ({"operators.Gemm.rounding": "floor"}, {"operators": {"Gemm": Modes(Rounding.FLOOR)}}),
        ({"islands": "softmax, recurrent"}, {"islands": frozenset({"softmax", "recurrent"})}),
        ({"bias": {"fraction_bits": 7, "shift": 0}}, {"bias": BiasRule(16, 7, Rounding.FLOOR)}),
        ({"bias.fraction_bits": "sums"}, {"bias": BiasRule(16, "sums", Rounding.FLOOR, 3)}),
        ({"mean.counts_pads": "model"}, {"mean": MeanRule("reciprocal", None)}),
        ({"table.functions": ["Tanh"]}, {"table": TableRule("interpolated", 1024, 16, ("Tanh",))}),
        ({}, {}),
    ],
)
def test_single_rules_replace_what_they_name_and_nothing_else(given, changes):
    found = rules_over(EVERY_RULE, given, HERE)
    if changes is None:
        changed = {key.partition(".")[0] for key in given}
        assert {name for name in Rules.__dataclass_fields__ if getattr(found, name) != getattr(EVERY_RULE, name)} == (
            changed
        )
    else:
        assert found == replace(EVERY_RULE, **changes)


def test_none_of_a_rule_can_be_said():
    found = rules_over(EVERY_RULE, {"accumulator.bits": "all", "accumulator.overflow": "wrap"}, HERE, complete=False)
    assert found.accumulator.bits is None


MISTAKES = [
    ({"mena.rounding": "floor"}, "rules: mena does not exist; did you mean 'mean'?; allowed: rounding, overflow, "),
    ({"mean": {"roundin": "floor"}}, "rules: mean.roundin does not exist; did you mean 'rounding'?; allowed: method, "),
    ({"rounding": "half_upp"}, "rules: rounding is 'half_upp'; did you mean 'half_up'?; allowed: half_even, half_up, "),
    ({"rounding": 3}, "rules: rounding is 3; allowed: half_even"),
    ({"overflow": True}, "rules: overflow is true; allowed: saturate, symmetric, wrap, zero"),
    ({"mean": "trunc"}, "rules: mean is 'trunc'; allowed: a table with method, counts_pads, rounding, overflow"),
    ({"accumulator.bits": 1}, "rules: accumulator.bits is 1; allowed: 2 to 64 or all"),
    ({"accumulator.bits": True}, "rules: accumulator.bits is true; allowed: 2 to 64 or all"),
    ({"accumulator.bits": 8.0}, "rules: accumulator.bits is 8.0; allowed"),
    ({"bias.fraction_bits": "all"}, "rules: bias.fraction_bits is 'all'; allowed: -112 to 149 or sums or most"),
    ({"aligns_add": "yes"}, "rules: aligns_add is 'yes'; allowed: true or false"),
    ({"islands": ["softmaxx"]}, "rules: islands is 'softmaxx'; did you mean 'softmax'?; allowed: a list of softmax, "),
    ({"islands": 3}, "rules: islands is 3; allowed"),
    ({"table": {"method": "cut", "entries": 100}}, "rules: table.entries is 100; allowed: a power of two, 2 to 65536"),
    ({"table": {"method": "cut", "functions": ["Sigmod"]}}, "table.functions is 'Sigmod'; did you mean 'Sigmoid'?"),
    ({"tensors": {"a b": {"round": "floor"}}}, 'rules: tensors."a b".round does not exist'),
    ({"tensors": ["a"]}, "rules: tensors is ['a']; allowed: a table of tables, one for each name"),
    ({"operators": {"Convv": {}}}, "operators.Convv is not an operator of ONNX: 'Convv'; did you mean 'Conv'?"),
    ({3: 4}, "rules: rules are given by name, not by 3"),
    (["rounding"], "rules: rules are a mapping such as {'rounding': 'half_up'}, not list"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_mistakes(given, message):
    with pytest.raises(TargetError) as error:
        rules_over(Rules(), given, HERE)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


CONSTRAINT_MISTAKES = [
    ({"activation_bits": [1]}, "activation_bits is 1; allowed: a list of 2 to 16, or any"),
    ({"activation_bits": 8}, "activation_bits is 8; allowed"),
    ({"shifts": [3]}, "shifts is [3]; allowed: [least, most] of -63 to 63, or any"),
    ({"shifts": [5, 2]}, "shifts is [5, 2]; allowed"),
    ({"per_channel": "yes"}, "per_channel is 'yes'; allowed: no, conv, all"),
    ({"refused": ["Softmx"]}, "refused is 'Softmx'; did you mean 'Softmax'?"),
    (
        {"input_formats": {"Tanh": ["Q3,4"]}},
        "input_formats is ['Q3,4'] for Tanh; allowed: a table of lists of formats such as Q3.4",
    ),
    ({"input_formats": ["Tanh"]}, "input_formats is ['Tanh']; allowed: a table of lists of formats"),
    ({"signed": True}, "signed does not exist"),
]


@pytest.mark.parametrize(("given", "message"), CONSTRAINT_MISTAKES, ids=[message for _, message in CONSTRAINT_MISTAKES])
def test_mistakes_of_constraints(given, message):
    with pytest.raises(TargetError) as error:
        constraints_over(Constraints(), given, Origin("constraints"))
    assert message in str(error.value)
