"""Arithmetic on codes in plain order: bits are those of the reference, in every format, rounding and overflow."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from covering import covering
from networks import network
from oracle import OVERFLOWS, ROUNDINGS, Fmt
from oracle.codes import overflow_code, round_fraction
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

import qengine

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
    covering(OPERATIONS, FORMATS, ROUNDINGS, OVERFLOWS, ISAS),
)
def test_codes_equal_the_reference(operation, formats, rounding, overflow, isa):
    check(case(operation, FORMATS[formats], rounding, overflow), isa, threads=1)


@pytest.mark.parametrize("formats", FORMATS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_and_format(operation, formats):
    check(case(operation, FORMATS[formats]), ISAS[0], threads=1)


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("operation", ["Add", "Mul", "PRelu"])
def test_a_fused_activation(operation, overflow):
    check(case(operation, FORMATS["bytes"], overflow=overflow, activation=True), ISAS[0], threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads, monkeypatch):
    monkeypatch.setattr("qengine.runtime.native.schedule._MIN_CYCLES", 0)
    check(case("Sub", FORMATS["words"]), ISAS[0], threads)


PICKED = {
    "TopK": (("TopK", "a k", "y i", {"axis": 1}), "top_k", {"k": np.int64([3])}),
    "smallest": (("TopK", "a k", "y i", {"axis": -1, "largest": 0}), "top_k", {"k": np.int64([7])}),
    "GatherElements": (("GatherElements", "a p", "y"), "PickElements", {"p": np.arange(12).reshape(2, 6, 1) % 2}),
    "GatherND": (("GatherND", "a q", "y"), "PickSlices", {"q": np.int64([[1, 2], [0, -1]])}),
    "ReverseSequence": (
        ("ReverseSequence", "a s", "y", {"batch_axis": 0, "time_axis": 1}),
        "reverse_runs",
        {"s": np.int64([4, 2])},
    ),
}


@pytest.mark.parametrize("fmt", ["Q3.4", "UQ2.6", "Q4.11"])
@pytest.mark.parametrize("kind", PICKED)
def test_codes_are_picked(kind, fmt):
    node, kernel, constants = PICKED[kind]
    outputs = node[2].split()
    x = np.random.default_rng(8).normal(0, 2, (2, 6, 9)).astype(np.float32)
    model = network([node], inputs={"a": list(x.shape)}, constants=constants, outputs=outputs, opset=18)
    check(PlainCase(model, {"a": x}, kernel, options={"qformat": fmt, "strict": True}), ISAS[0], threads=1)
    # Oracle: real numbers that are codes are picked in float32.
    (codes, *places) = qengine.InferenceSession(model, qformat=fmt).run(None, {"a": x}, raw=True)
    word = qengine.QFormat.parse(fmt)
    rounded = np.clip(np.rint(x * 2.0**word.fraction_bits), word.word().least, word.word().most).astype(np.float32)
    wanted = qengine.InferenceSession(model).run(None, {"a": rounded})
    for found, want in zip((codes, *places), wanted, strict=True):
        np.testing.assert_array_equal(found, want)


NUMBERS = {
    "8": ("Q4.3", "add"),
    "0.25": ("Q1.6", "add"),
    "3": ("Q4.3", "table"),
    "-2": ("Q4.3", "table"),
    "0": ("Q4.3", "table"),
}


@pytest.mark.parametrize(
    ("number", "formats", "rounding", "overflow", "isa"),
    covering(NUMBERS, FORMATS, ROUNDINGS, OVERFLOWS, ISAS),
)
def test_one_number_divides(number, formats, rounding, overflow, isa):
    own, kernel = NUMBERS[number]
    given = FORMATS[formats]
    x = np.random.default_rng(8).normal(0, 2, SHAPES["a"]).astype(np.float32)
    model = network([("Div", "a k", "y")], inputs={"a": SHAPES["a"]}, constants={"k": np.float32(number)}, opset=18)
    options = {"formats": {"a": given["a"], "k": own, "y": given["y"]}, "rounding": rounding, "overflow": overflow}
    check(PlainCase(model, {"a": x}, kernel, options=options), isa, threads=1)


@pytest.mark.parametrize("target", ["Q3.4", "Q15.0", "UQ1.15", "Q20.-5"])
@pytest.mark.parametrize("source", ["int64", "int32", "uint8", "bool", "int8"])
def test_integers_become_codes(source, target):
    rng = np.random.default_rng(8)
    most = 2 if source == "bool" else min(np.iinfo(source).max, 1 << 40)
    x = rng.integers(0 if source in ("bool", "uint8") else -most, most, (2, 3, 5, 7)) >> rng.integers(
        0, 41, (2, 3, 5, 7)
    )
    model = network([("Cast", "a", "y", {"to": 1})], inputs={"a": (source, x.shape)}, opset=18)
    options = {"formats": {"y": target}, "strict": True}
    check(PlainCase(model, {"a": x.astype(source)}, "add", options=options), ISAS[0], threads=1)
    n, word = (fmt := qengine.QFormat.parse(target)).fraction_bits, fmt.word()
    wanted = [
        min(max(round(Fraction(int(v)) * Fraction(2) ** n), word.least), word.most) for v in x.astype(source).ravel()
    ]
    (codes,) = qengine.InferenceSession(model, formats={"y": target}).run(None, {"a": x.astype(source)}, raw=True)
    assert codes.ravel().tolist() == wanted


@pytest.mark.parametrize(
    ("target", "rounding", "overflow", "isa"),
    covering(["Q3.4", "Q10.-3", "Q24.-9", "UQ22.-6"], ROUNDINGS, OVERFLOWS, ISAS),
)
def test_integers_become_codes_in_every_mode(target, rounding, overflow, isa):
    """Also where the integers that kernels cut them to are at the end of the word."""
    near = [*range(-40, 40), 1 << 7, 1 << 10, 1 << 13, 1 << 22, 1 << 24, 1 << 25, 1 << 40]
    x = np.array([v + d for n in near for v in (n, -n) for d in (-1, 0, 1)], np.int64)
    model = network([("Cast", "a", "y", {"to": 1})], inputs={"a": ("int64", x.shape)}, opset=18)
    options = {"formats": {"y": target}, "strict": True, "rounding": rounding, "overflow": overflow}
    got, want = (
        qengine.InferenceSession(model, isa=name, **options).run(None, {"a": x}, raw=True)[0]
        for name in (isa, "reference")
    )
    np.testing.assert_array_equal(got, want, strict=True)
    fmt = Fmt.parse(target)
    assert got.tolist() == [
        overflow_code(round_fraction(Fraction(int(v)) * Fraction(2) ** fmt.n, rounding), fmt, overflow) for v in x
    ]
