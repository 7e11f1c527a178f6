"""Products of matrices in plain order, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas


def numbers(shape, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def product(a, b, dtype=np.float32, constant="", kernel="matmul"):
    given = {"a": numbers(a, 1, dtype), "b": numbers(b, 2, dtype)}
    feeds = {name: array for name, array in given.items() if name not in constant}
    model = network(
        [("MatMul", "a b", "y")],
        inputs={name: (array.dtype, list(array.shape)) for name, array in feeds.items()},
        constants={name: array for name, array in given.items() if name in constant},
    )
    return PlainCase(model, feeds, kernel, 2e-6)


def gemm(a, b, c=None, constant="", kernel="matmul", **attributes):
    given = {"a": numbers(a, 1), "b": numbers(b, 2)} | ({} if c is None else {"c": numbers(c, 3)})
    feeds = {name: array for name, array in given.items() if name not in constant}
    model = network(
        [("Gemm", " ".join(given), "y", attributes)],
        inputs={name: list(array.shape) for name, array in feeds.items()},
        constants={name: array for name, array in given.items() if name in constant},
    )
    return PlainCase(model, feeds, kernel, 2e-6)


def clipped():
    model = network(
        [("Gemm", "a b c", "s"), ("Clip", "s low high", "y")],
        inputs={"a": [20, 40]},
        constants={"b": numbers((40, 50), 2), "c": numbers(50, 3), "low": -1.5, "high": 2.0},
    )
    return PlainCase(model, {"a": numbers((20, 40), 1)}, "matmul", 2e-6)


CASES = {
    "two activations": product((3, 30, 20), (3, 20, 40)),
    "a row": product((1, 300), (300, 70)),
    "one number": product((5,), (5,)),
    "a vector on the left": product((20,), (3, 20, 40)),
    "a vector on the right": product((2, 30, 20), (20,)),
    "a stack times a matrix": product((2, 3, 17, 20), (20, 33)),
    "a matrix times a stack": product((17, 20), (2, 3, 20, 33)),
    "both broadcast": product((2, 1, 17, 20), (3, 20, 5)),
    "both broadcast, constant": product((2, 1, 17, 20), (3, 20, 5), constant="b"),
    "a constant stack on the left": product((3, 17, 20), (3, 20, 5), constant="a"),
    "one column": product((64, 33), (33, 1)),
    "a long inner axis": product((40, 1500), (1500, 33)),
    "a long inner axis, constant": product((40, 1500), (1500, 33), constant="b"),
    "rows of every tile": product((14 + 4 + 3, 64), (64, 96), constant="b"),
    "many groups of rows": product((500, 400), (400, 40), constant="b"),
    "float64": product((3, 30, 20), (20, 41), np.float64, constant="b"),
    "float64, two activations": product((2, 9, 20), (2, 20, 17), np.float64),
    "Gemm": gemm((9, 20), (20, 35), (35,), constant="bc"),
    "Gemm, all transposed": gemm((20, 9), (35, 20), (35,), transA=1, transB=1),
    "Gemm, all transposed, constant": gemm((20, 9), (35, 20), (35,), constant="bc", transA=1, transB=1),
    "Gemm, several blocks transposed": gemm((9, 50), (70, 50), transB=1),
    "Gemm, both transposed, several blocks": gemm((50, 20), (70, 50), transA=1, transB=1),
    "Gemm, factors": gemm((9, 20), (20, 35), (9, 35), alpha=0.3, beta=-2.0),
    "Gemm, a number": gemm((9, 20), (20, 35), (), constant="c", alpha=0.3),
    "Gemm, a column": gemm((9, 20), (20, 35), (9, 1), constant="bc"),
    "Gemm, a factor and nothing added": gemm((9, 20), (20, 35), alpha=0.5),
    "Gemm, a computed row": gemm((9, 20), (20, 35), (1, 35)),
    "bounds": clipped(),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("name", ["two activations", "many groups of rows", "a long inner axis", "a row"])
def test_any_number_of_threads_gives_the_same(name, threads):
    check(CASES[name], ISAS[0], threads)


@pytest.mark.parametrize("isa", ISAS)
def test_infinities_and_nan_stay_in_their_rows_and_columns(isa):
    case = product((30, 20), (20, 40), constant="b")
    case.feeds["a"][3, 4], case.feeds["a"][5, 6] = np.nan, np.inf
    check(case, isa, threads=1)
