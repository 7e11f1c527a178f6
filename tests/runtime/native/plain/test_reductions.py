"""Reductions, places of extremes and sums so far in plain order, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas

REAL = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
WHOLE = ("Mean", "Sum", "Max", "Min", "Prod", "L1", "SumSquare")


def numbers(name, shape, dtype):
    rng = np.random.default_rng(5)
    if np.dtype(dtype).kind != "f":
        return rng.integers(-9 if np.dtype(dtype).kind == "i" else 0, 9, shape).astype(dtype)
    x = rng.standard_normal(shape).astype(dtype)
    return np.abs(x) + 0.5 if name in ("LogSum", "Prod") else x


def reduction(name, shape, axes, dtype=np.float32, opset=18, keepdims=0, **attributes):
    x = numbers(name, shape, dtype) if name != "Prod" else numbers(name, shape, dtype) % 3 + 1
    constants, inputs = ({"axes": np.array(axes, np.int64)}, "x axes") if opset >= 18 else ({}, "x")
    attributes |= {"keepdims": keepdims} | ({} if opset >= 18 else {"axes": list(axes)})
    model = network(
        [(f"Reduce{name}", inputs, "y", attributes)],
        inputs={"x": (x.dtype, list(shape))},
        constants=constants,
        opset=opset,
    )
    is_real = np.dtype(dtype).kind == "f"
    return PlainCase(model, {"x": x}, "reduce" if is_real else "reduce_integers", 2e-6 if is_real else 0.0)


SHAPE = (3, 4, 5, 2, 37)
CASES = {
    **{f"{name} {axes}": reduction(name, SHAPE, axes) for name in REAL for axes in ([-1], [1], [0, 2, 4], [0, 1])},
    **{f"{name} float64": reduction(name, SHAPE, [2], np.float64) for name in REAL},
    **{
        f"{name} {np.dtype(dtype).name} {axes}": reduction(name, SHAPE, axes, dtype, opset)
        for name in WHOLE
        for dtype, opset in ((np.int64, 18), (np.int32, 13 if name != "Sum" else 18))
        for axes in ([-1], [1, 2])
    },
    "uint64 Max": reduction("Max", (4, 9), [1], np.uint64),
    "int8 Min": reduction("Min", (4, 9), [0], np.int8, keepdims=1),
    "no axes": reduction("Sum", SHAPE, [], keepdims=1),
    "no axes, nothing": reduction("SumSquare", SHAPE, [], noop_with_empty_axes=1),
    "a long row": reduction("Mean", (3, 10_000), [1]),
    "a row of ones": reduction("L2", (7, 1), [1]),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("axes", [[0], [1]])
def test_any_number_of_threads_gives_the_same(axes, threads):
    check(reduction("Sum", (300, 200), axes), ISAS[0], threads)


@pytest.mark.parametrize("name", ["Max", "Min", "Sum", "Mean", "LogSumExp"])
@pytest.mark.parametrize("isa", ISAS)
def test_infinities_and_nan(name, isa):
    case = reduction(name, (6, 40), [1])
    case.feeds["x"][0, 3], case.feeds["x"][1, 35], case.feeds["x"][2, 5], case.feeds["x"][3] = (
        np.nan,
        np.nan,
        np.inf,
        -np.inf,
    )
    check(case, isa, threads=1)


def place(operator, dtype, shape, axis, last, keepdims=0):
    x = np.random.default_rng(6).integers(0, 4, shape).astype(dtype)  # with equal elements
    if np.dtype(dtype).kind == "f":
        x[np.random.default_rng(7).random(shape) < 0.05] = np.nan
    attributes = {"axis": axis, "select_last_index": last, "keepdims": keepdims}
    model = network([(operator, "x", "y", attributes)], inputs={"x": (x.dtype, list(shape))})
    return PlainCase(model, {"x": x}, "row_place" if np.dtype(dtype).kind == "f" else "axis_place")


PLACES = {
    f"{operator} {np.dtype(dtype).name} {list(shape)} {axis} {last}": place(operator, dtype, shape, axis, last)
    for operator in ("ArgMax", "ArgMin")
    for dtype, shape, axis in (
        (np.float32, (2, 30, 5), 1),
        (np.float32, (3, 150), 1),
        (np.float32, (3, 1), 1),
        (np.float64, (4, 30), -1),
        (np.int32, (4, 30), 0),
    )
    for last in (0, 1)
}


@pytest.mark.parametrize(("case", "isa"), on_isas(PLACES))
def test_places_are_equal(case, isa):
    check(case, isa, threads=1)


def accumulated(operator, dtype, shape, axis, opset=17, **attributes):
    x = (np.random.default_rng(8).standard_normal(shape) * 3).astype(dtype)
    model = network(
        [(operator, "x axis", "y", attributes)],
        inputs={"x": (x.dtype, list(shape))},
        constants={"axis": np.array(axis)},
        opset=opset,
    )
    return PlainCase(model, {"x": x}, "accumulate", 1e-6)


SUMS = {
    f"{np.dtype(dtype).name} {axis} {exclusive} {reverse}": accumulated(
        "CumSum", dtype, (3, 20, 4), axis, exclusive=exclusive, reverse=reverse
    )
    for dtype in (np.float32, np.int64)
    for axis in (0, 1, -1)
    for exclusive, reverse in ((0, 0), (1, 0), (0, 1), (1, 1))
} | {"products": accumulated("CumProd", np.float32, (3, 20), 1, 26)}


@pytest.mark.parametrize(("case", "isa"), on_isas(SUMS))
def test_sums_so_far(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("operator", ["ReduceMax", "ArgMax"])
def test_codes_are_equal_to_the_bit(operator, isa):
    x = np.random.default_rng(9).standard_normal((2, 3, 4, 5, 6)).astype(np.float32)
    attributes = {"axes": [1, 4]} if operator == "ReduceMax" else {"axis": 3}
    model = network([(operator, "x", "y", attributes)], inputs={"x": list(x.shape)}, opset=13)
    kernel = "reduce_integers" if operator == "ReduceMax" else "axis_place"
    check(PlainCase(model, {"x": x}, kernel, options={"qformat": "Q3.4"}), isa, threads=1)
