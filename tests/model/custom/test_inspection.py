"""The report of `inspect_model` on registered operators."""

import numpy as np
import pytest
from networks import network, weights

from qengine import InferenceSession, QFormat, register_operator
from qengine.analysis.inspection import inspect_model

BUILT = network(
    [
        ("Conv", "x w", "c"),
        ("my.domain.Rule", "c k", "r"),
        ("my.domain.Roll", "r", "m"),
        ("my.domain.Table", "m", "t"),
        ("my.domain.Island", "t d", "i"),
        ("my.domain.Rule", "k k", "f"),
        ("Add", "i f", "a"),
        ("my.domain.Nobody", "a", "n"),
        ("Neg", "n", "y"),
    ],
    constants={"w": weights(3, 3, 1, 1), "k": np.float32([0.5]), "d": np.float32([1, 2, 3, 4, 5])},
)


def registered(nobody=False):
    @register_operator("Rule", domain="my.domain")
    def rule(x, k):
        return x * k

    @rule.fixed_point
    def _(x, k):
        return x.codes * k.codes, x.fraction_bits + k.fraction_bits

    register_operator("Roll", domain="my.domain", fixed_point="move")(lambda x: np.roll(x, 1))
    register_operator("Table", domain="my.domain", fixed_point="table")(lambda x: x * x)
    register_operator("Island", domain="my.domain")(lambda x, d: x + d)
    if nobody:
        register_operator("Nobody", domain="my.domain", fixed_point="move")(lambda x: x)


def test_kinds():
    registered()
    found = inspect_model(BUILT)
    assert {node.outputs[0]: node.kind for node in found.nodes} == {
        "c": "integer",
        "r": "integer",
        "m": "moves",
        "t": "integer",
        "i": "island",
        "f": "shape",
        "a": "integer",
        "n": "unsupported",
        "y": "integer",
    }
    assert found.parameters == 9 + 1 + 5
    islands = [line for line in found.warnings if "--strict refuses" in line]
    assert len(islands) == 1
    assert islands[0].endswith(": node 'the_i' (my.domain.Island)")
    assert any("operator not supported: my.domain.Nobody-1" in line for line in found.warnings)


@pytest.mark.parametrize("formats", [{}, {"m": "Q1.10", "k": "Q0.15", "y": "Q2.9"}, {"r": "Q1.10", "n": "Q2.9"}])
def test_formats_are_those_of_a_session(formats):
    registered(nobody=True)
    found = inspect_model(BUILT, qformat="Q3.4", formats=formats)
    session = InferenceSession(BUILT, qformat="Q3.4", formats=formats)
    told = {one.name: one.format for one in found.tensors if one.format is not None}
    assert told == session.formats
    if formats:
        assert told["r"] == told["m"] == QFormat.parse("Q1.10")
    assert not [line for line in found.warnings if "would fail" in line]


def test_constants_that_their_format_cannot_hold_are_noted():
    registered(nobody=True)
    built = network(
        [("my.domain.Roll", "x", "m"), ("my.domain.Rule", "m k", "r"), ("Conv", "r w", "y")],
        constants={"w": weights(3, 3, 1, 1), "k": np.float32([0.5])},
        values={"m": [1, 3, 6, 5], "r": [1, 3, 6, 5]},
    )
    found = inspect_model(built, qformat="Q3.4", formats={"m": "Q1.10", "w": "Q-3.10", "k": "Q0.15"})
    assert found.macs == 3 * 3 * 30
    assert any("elements of constant 'w' saturate in Q-3.10" in line for line in found.warnings)
