"""Arithmetic on codes in plain order: bits are those of the reference, in every format, rounding and overflow."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

SHAPES = {"a": [2, 1, 3, 4, 19], "b": [3, 1, 19], "c": [2, 5, 1, 4, 1]}
OPERATIONS = {
    "Add": ("Add", "a b", "add"),
    "Sub": ("Sub", "a c", "subtract"),
    "Sum": ("Sum", "a b c", "add"),
    "Mul": ("Mul", "b c", "multiply"),
    "Div": ("Div", "a c", "divide"),
    "PRelu": ("PRelu", "a b", "prelu"),
    "Max": ("Max", "a b c", "maximum"),
    "Where": ("Where", "m a c", "where"),
    "Concat": ("Concat", "a a2", "copy_runs"),
}
FORMATS = {
    "bytes": {"a": "Q3.4", "b": "Q1.6", "c": "Q4.3", "y": "Q3.4"},
    "coarse": {"a": "Q1.6", "b": "Q0.7", "c": "Q2.5", "y": "Q6.1"},
    "words": {"a": "Q3.12", "b": "Q1.6", "c": "UQ4.12", "y": "Q2.13"},
    "unsigned": {"a": "UQ4.4", "b": "UQ1.7", "c": "Q3.12", "y": "UQ3.5"},
    "far apart": {"a": "Q12.3", "b": "Q1.14", "c": "Q9.6", "y": "Q1.14"},
}
ROUNDINGS = ("half_even", "half_up", "half_away", "floor", "trunc")


def case(operation, formats, rounding="half_even", overflow="saturate", activation=False):
    operator, names, kernel = OPERATIONS[operation]
    shapes = {name: SHAPES[name[0]] for name in names.split() if name != "m"}
    rng = np.random.default_rng(8)
    feeds = {name: rng.normal(0, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    if operation == "Div":
        feeds["c"] *= rng.random(SHAPES["c"]) < 0.8  # zeros
    constants = {"m": np.array([True, False, True]).reshape(3, 1, 1)} if "m" in names else {}
    nodes = [(operator, names, "y", {"axis": 1} if operator == "Concat" else {})]
    if activation:
        nodes = [(operator, names, "z"), ("Relu", "z", "y")]
    model = network(nodes, inputs=shapes, constants=constants, opset=18)
    given = {name: formats[name[0]] for name in (*shapes, "y")}
    options = {"qformat": formats["a"], "formats": given, "rounding": rounding, "overflow": overflow}
    return PlainCase(model, feeds, kernel, options=options)


@pytest.mark.parametrize(
    ("operation", "formats", "rounding", "overflow", "isa"),
    covering(OPERATIONS, FORMATS, ROUNDINGS, ["saturate", "wrap"], ISAS),
)
def test_codes_equal_the_reference(operation, formats, rounding, overflow, isa):
    check(case(operation, FORMATS[formats], rounding, overflow), isa, threads=1)


@pytest.mark.parametrize("formats", FORMATS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_and_format(operation, formats):
    check(case(operation, FORMATS[formats]), ISAS[0], threads=1)


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("operation", ["Add", "Mul", "PRelu"])
def test_a_fused_activation(operation, overflow):
    check(case(operation, FORMATS["bytes"], overflow=overflow, activation=True), ISAS[0], threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads, monkeypatch):
    monkeypatch.setattr("qengine.runtime.native.schedule._MIN_CYCLES", 0)
    check(case("Sub", FORMATS["words"]), ISAS[0], threads)
