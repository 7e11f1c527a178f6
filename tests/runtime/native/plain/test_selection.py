"""Elements that are picked by their order, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas


def top_k(dtype, shape, k, axis, largest, values=6):
    rng = np.random.default_rng(3)
    x = rng.integers(-values, values, shape).astype(dtype)  # with equal elements
    if np.dtype(dtype).kind == "f":
        x[rng.random(shape) < 0.1] = np.nan
    model = network(
        [("TopK", "x k", "v i", {"axis": axis, "largest": largest})],
        inputs={"x": (x.dtype, list(shape))},
        outputs=("v", "i"),
        constants={"k": np.array([k])},
        opset=18,
    )
    return PlainCase(model, {"x": x}, "top_k")


CASES = {
    f"{np.dtype(dtype).name} {list(shape)} axis {axis} k {k} {'largest' if largest else 'smallest'}": top_k(
        dtype, shape, k, axis, largest
    )
    for dtype, shape, k, axis, largest in (
        (np.float32, (4, 50), 5, -1, 1),
        (np.float32, (4, 50), 50, -1, 0),
        (np.float32, (3, 31, 7), 9, 1, 1),
        (np.float32, (31,), 1, 0, 0),
        (np.float64, (2, 3, 17), 4, 2, 1),
        (np.int64, (17, 5), 6, 0, 1),
        (np.int32, (5, 40), 7, 1, 0),
    )
}


@pytest.mark.parametrize("k", [1, 40, 300])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("nan", [0.0, 0.3])
def test_all_kinds_of_numbers(k, largest, nan):
    case, rng = top_k(np.float32, (3, 300), k, -1, largest), np.random.default_rng(2)
    x = rng.normal(size=(3, 300)).astype(np.float32) * 10.0 ** rng.integers(-45, 38, (3, 300))
    x = x.astype(np.float32)
    x[:, 40:60:2], x[:, 41:60:2], x[1, 7], x[2, 290] = 0.0, -0.0, np.inf, -np.inf
    x[rng.random((3, 300)) < nan] = np.nan
    check(case._replace(feeds={"x": x}), ISAS[0], threads=1)


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same(threads):
    case = top_k(np.float32, (300, 90), 11, 1, 1)
    check(case, ISAS[0], threads)
