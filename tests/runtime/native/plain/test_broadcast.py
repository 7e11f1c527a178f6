"""Operations on tensors that broadcast, and conversions, on plain buffers: every type of element."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check

from qengine import InferenceSession
from qengine.errors import ModelError

REALS = (np.float32, np.float64)
INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
SHAPES = (
    ((5000,), (5000,)),
    ((3, 4, 5, 6, 7), (3, 4, 5, 6, 7)),
    ((3, 4, 5, 6, 7), (7,)),
    ((2, 3, 40), (3, 1)),
    ((2, 1, 40), (3, 1)),
    ((1,), (2, 3, 21)),
    ((2, 1, 3, 1, 33), (5, 1, 4, 1)),
    ((), (19,)),
)


def elements(dtype, shape, seed=1):
    """Elements of a type with its ends, 0, and NaN and infinities where it has them."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        x = np.asarray(rng.normal(size=shape)).astype(dtype)
        special = np.array([np.nan, np.inf, -np.inf, 0, -0.0], dtype)
        return np.where(rng.random(shape) < 0.1, rng.choice(special, shape), x)
    info = np.iinfo(dtype)
    x = np.asarray(rng.integers(max(info.min, -50), 50, shape)).astype(dtype)
    return np.where(rng.random(shape) < 0.1, rng.choice(np.array([info.min, info.max], dtype), shape), x)


def pair(operator, dtype, shapes=SHAPES[3], attributes=None, kernel="", result=None, nonzero=False, opset=18):
    a, b = (elements(dtype, shape, i) for i, shape in enumerate(shapes))
    if nonzero:
        b = np.where(b == 0, 1, b).astype(dtype)
    inputs = {"a": (a.dtype, list(a.shape)), "b": (b.dtype, list(b.shape))}
    values = {"y": (result or a.dtype, None)} if result else None
    model = network([(operator, "a b", "y", attributes or {})], inputs=inputs, values=values, opset=opset)
    return PlainCase(model, {"a": a, "b": b}, kernel)


ARITHMETIC = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Max": "maximum", "Min": "minimum"}
COMPARISONS = {
    "Equal": "equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64, np.uint8], ids=str)
@pytest.mark.parametrize("operator", ARITHMETIC)
def test_arithmetic_equals_the_reference(operator, dtype, isa):
    check(pair(operator, dtype, kernel=ARITHMETIC[operator], nonzero=operator == "Div"), isa, threads=1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", [*REALS, *INTEGERS], ids=str)
@pytest.mark.parametrize("operator", ARITHMETIC)
def test_arithmetic_of_any_type(operator, dtype):
    shapes = SHAPES[6]  # more axes than blocks of channels have
    check(pair(operator, dtype, shapes, kernel=ARITHMETIC[operator], nonzero=operator == "Div"), ISAS[0], threads=1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_any_shapes_broadcast(shapes, threads, monkeypatch):
    monkeypatch.setattr("qengine.runtime.native.schedule._MIN_CYCLES", 0)
    check(pair("Sub", np.int64, shapes, kernel="subtract"), ISAS[0], threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint64], ids=str)
@pytest.mark.parametrize("operator", COMPARISONS)
def test_comparisons_equal_the_reference(operator, dtype, isa):
    check(pair(operator, dtype, kernel=COMPARISONS[operator], result=np.bool_), isa, threads=1)


@pytest.mark.parametrize("operator", ["And", "Or", "Xor"])
def test_logic_equals_the_reference(operator):
    check(pair(operator, np.bool_, kernel=f"logical_{operator.lower()}"), ISAS[0], threads=1)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("fmod", [0, 1])
def test_remainders_equal_the_reference(dtype, fmod):
    check(pair("Mod", dtype, attributes={"fmod": fmod}, kernel="fmod" if fmod else "mod", nonzero=True), ISAS[0], 1)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("operator", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_operations_on_bits_equal_the_reference(operator, dtype):
    check(pair(operator, dtype, kernel=f"logical_{operator[7:].lower()}"), ISAS[0], threads=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64], ids=str)
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts_of_bits_equal_the_reference(direction, dtype):
    case = pair("BitShift", dtype, attributes={"direction": direction}, kernel=f"shift {direction.lower()}")
    check(case._replace(feeds={"a": case.feeds["a"], "b": case.feeds["b"] % 70}), ISAS[0], threads=1)


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_a_division_by_0_is_an_error(operator):
    case = pair(operator, np.int32, kernel="")
    zero = {"a": case.feeds["a"], "b": np.array([[1], [0], [2]], np.int32)}
    session = InferenceSession(case.model, isa=ISAS[0])
    with pytest.raises(ModelError, match="an integer is divided by 0"):
        session.run(None, zero)
    session.run(None, {"a": zero["a"], "b": np.ones((3, 1), np.int32)})


def one(operator, dtype, attributes=None, kernel="", shape=(3, 45), result=None, constants=None):
    x = elements(dtype, shape)
    names = " ".join(["x", *(constants or {})])
    values = {"y": (result, None)} if result else None
    inputs = {"x": (x.dtype, list(shape))}
    spelled = [(operator, names, "y", attributes or {})]
    return PlainCase(network(spelled, inputs=inputs, values=values, constants=constants, opset=20), {"x": x}, kernel)


@pytest.mark.parametrize(
    ("case", "isa"),
    [
        (case, isa)
        for isa in ISAS
        for case in (
            one("IsNaN", np.float32, kernel="is nan", result=np.bool_),
            one("IsInf", np.float32, kernel="is infinite", result=np.bool_),
            one("IsInf", np.float64, {"detect_negative": 0}, "is above", result=np.bool_),
            one("IsInf", np.float32, {"detect_positive": 0}, "is below", result=np.bool_),
            one("Not", np.bool_, kernel="logical_not"),
            one("BitwiseNot", np.int16, kernel="invert"),
            one("Relu", np.float64, kernel="copy"),
            one("Clip", np.int32, kernel="copy", constants={"a": np.int32(-9), "b": np.int32(8)}),
            one("Clip", np.uint8, kernel="copy", constants={"a": np.uint8(3)}),
            one("Relu", np.float32, kernel="copy", shape=(2, 1, 3, 4, 5)),
        )
    ],
)
def test_functions_of_one_tensor_equal_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.int16, np.int64], ids=str)
def test_where_picks_elements_of_any_type(dtype):
    c, x, y = elements(np.bool_, (4, 1, 40)), elements(dtype, (3, 1)), elements(dtype, (40,), 2)
    inputs = {name: (v.dtype, list(v.shape)) for name, v in (("c", c), ("x", x), ("z", y))}
    model = network([("Where", "c x z", "y")], inputs=inputs)
    check(PlainCase(model, {"c": c, "x": x, "z": y}, "where"), ISAS[0], threads=1)


@pytest.mark.parametrize("word", ["Q3.4", "Q3.12"])
@pytest.mark.parametrize(
    ("operator", "kernel"), [("Max", "maximum"), ("Where", "where"), ("Relu", "copy"), ("Concat", "copy_runs")]
)
def test_codes_of_one_format_equal_the_reference(operator, kernel, word):
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 1, 3, 4, 5)), rng.normal(size=(2, 1, 3, 4, 5))
    names = {"Where": "c a b", "Relu": "a"}.get(operator, "a b")
    inputs = {"a": [2, 1, 3, 4, 5], "b": [2, 1, 3, 4, 5], "c": (np.bool_, [3, 1, 1])}
    used = {name: inputs[name] for name in names.split()}
    attributes = {"axis": 2} if operator == "Concat" else {}
    feeds = {"a": a.astype(np.float32), "b": b.astype(np.float32), "c": np.array([True, False, True]).reshape(3, 1, 1)}
    model = network([(operator, names, "y", attributes)], inputs=used)
    case = PlainCase(model, {name: feeds[name] for name in used}, kernel, options={"qformat": word})
    check(case, ISAS[0], threads=1)


TYPES = (np.float16, np.float32, np.float64, np.bool_, *INTEGERS)


def cast(source, target):
    x = elements(source, (3, 45))
    if np.dtype(source).kind == "f":
        ends = [s * 2.0**n + d for s in (-1, 1) for n in (7, 8, 15, 16, 31, 32, 63, 64, 10) for d in (-1, -0.5, 0, 0.5)]
        halves = [65519.99, 65520.0, 2.0**-24, 2.0**-25, 2.0**-25 * 1.0001, 2.0**-14 * 0.9999, 1 + 2.0**-11, 1.00048828]
        halves += [1 + 2.0**-11 + 2.0**-40, 1 + 3 * 2.0**-11 - 2.0**-40]  # ties, once they are rounded to float32
        with np.errstate(over="ignore"):
            x = np.concatenate([x.ravel(), np.array([*ends, *halves, *(-h for h in halves)]).astype(source)])
    number = {"float16": 10, "float32": 1, "float64": 11, "bool": 9, "int8": 3, "uint8": 2, "int16": 5, "uint16": 4}
    number |= {"int32": 6, "uint32": 12, "int64": 7, "uint64": 13}
    to = number[np.dtype(target).name]
    model = network(
        [("Cast", "x", "y", {"to": to})], inputs={"x": (x.dtype, list(x.shape))}, values={"y": (target, None)}
    )
    kernel = "cast"
    if target is np.float16 and source is not np.float32:
        kernel = "cast to half" if source is np.float64 else "round"
    return PlainCase(model, {"x": x}, kernel)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("target", TYPES, ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("source", TYPES, ids=lambda t: np.dtype(t).name)
def test_a_cast_equals_the_reference(source, target):
    if source is not target:
        check(cast(source, target), ISAS[0], threads=1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("isa", ISAS[1:])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        *((np.float32, t) for t in (np.float16, np.int8, np.uint32, np.uint64)),
        *((np.float64, t) for t in (np.float16, np.int32)),
        *((np.float16, t) for t in (np.float32, np.int64)),
    ],
    ids=str,
)
def test_a_cast_on_other_instruction_sets(source, target, isa):
    check(cast(source, target), isa, threads=1)
