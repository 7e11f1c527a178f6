"""Products of 8-bit integers on native kernels, bit for bit those of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas

U, S = np.uint8, np.int8


def codes(kind, *shape):
    limits = np.iinfo(kind)
    made = np.random.default_rng([len(shape), *shape]).integers(limits.min, limits.max + 1, shape).astype(kind)
    made.reshape(-1)[:2] = [limits.max, limits.min][: made.size]
    return made[()] if not shape else made


def product(a, b, a_zero=None, b_zero=None, constant=("b", "b_zero")):
    """MatMulInteger of arrays, of which some are constants of the model."""
    arrays = {"a": a, "b": b, "a_zero": a_zero, "b_zero": b_zero}
    given = {name: np.asarray(array) for name, array in arrays.items() if array is not None}
    feeds = {name: array for name, array in given.items() if name not in constant}
    names = " ".join(name if name in given else "-" for name in arrays)
    model = network(
        [("MatMulInteger", names, "y")],
        inputs={name: (array.dtype, list(array.shape)) for name, array in feeds.items()},
        constants={name: array for name, array in given.items() if name in constant},
    )
    return PlainCase(model, feeds, "dot")


CASES = {
    **{
        f"{ta.__name__} {list(sa)} by {tb.__name__} {list(sb)}, {which}, constant: {' '.join(constant)}": product(
            codes(ta, *sa), codes(tb, *sb), *(np.array(z).astype(t) for t, z in zip((ta, tb), zeros, strict=False)),
            constant=constant,
        )
        for ta, tb, sa, sb, (which, zeros), constant in (
            (U, S, (3, 64), (64, 40), ("no zeros", ()), ("b",)),
            (S, S, (40, 37), (37, 70), ("zeros", (3, 5)), ("b", "b_zero")),
            (U, U, (2, 33, 10), (10, 17), ("zeros", (200, 77)), ("b", "b_zero")),
            (U, U, (2, 33, 10), (10, 17), ("zeros", (200, 77)), ()),
            (S, U, (1, 130), (130, 300), ("zeros", (9, 77)), ()),
            (S, U, (5, 8), (8, 16), ("no zeros", ()), ("b",)),
            (U, S, (2, 1, 3, 7), (2, 7, 37), ("zeros", (99, 4)), ()),
            (U, S, (2, 1, 3, 7), (2, 7, 37), ("zeros", (99, 4)), ("b", "b_zero")),
            (U, S, (64,), (64, 20), ("zeros", (99, 4)), ("b", "b_zero")),
            (U, S, (3, 64), (64,), ("zeros", (99, 4)), ()),
            (U, S, (1, 2), (2, 1), ("no zeros", ()), ("b",)),
        )
    },
    "a zero point of unsigned rows": product(codes(U, 30, 64), codes(S, 64, 40), U(99)),
    "a zero point of signed rows": product(codes(S, 30, 37), codes(S, 37, 40), S(-99)),
    "signed rows": product(codes(S, 1, 64), codes(S, 64, 40)),
    "zero points that fit": product(codes(U, 3, 64), codes(U, 64, 40) // 2, U(99), U(60)),
    "zero points of rows and columns": product(codes(U, 5, 9), codes(S, 9, 21), codes(U, 5), codes(S, 21)),
    "zero points of rows and columns that run": product(
        codes(S, 2, 5, 9), codes(U, 9, 21), codes(S, 2, 5, 1), codes(U, 21), constant=()
    ),
    "zero points of rows and columns of stacks": product(
        codes(U, 2, 5, 9), codes(U, 2, 9, 21), codes(U, 2, 5, 1), codes(U, 2, 1, 21), constant=()
    ),
    "sums beyond 32 bits": product(np.full((1, 70_000), 255, U), np.full((70_000, 3), -128, S), U(0), S(0)),
}  # fmt: skip


def requantized(a, b, b_scale=0.03, b_zero=3):
    """QLinearMatMul of arrays, the left one an input."""
    constants = {"as": np.float32(0.02), "a0": a.dtype.type(3), "b": b, "bs": np.array(b_scale, np.float32)}
    constants |= {"b0": np.array(b_zero, b.dtype), "ys": np.float32(0.7), "y0": a.dtype.type(7)}
    model = network(
        [("QLinearMatMul", "a as a0 b bs b0 ys y0", "y")],
        inputs={"a": (a.dtype, list(a.shape))},
        constants=constants,
    )
    return PlainCase(model, {"a": a}, "rescale")


CASES |= {
    "requantized": requantized(codes(U, 30, 64), codes(S, 64, 40)),
    "requantized by columns": requantized(codes(S, 2, 9), codes(U, 9, 21), np.linspace(0.01, 0.1, 21), codes(U, 21)),
    "requantized stacks": requantized(codes(U, 3, 5, 9), codes(U, 3, 9, 21)),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("rows", [1, 90])
@pytest.mark.parametrize("constant", [("b", "b_zero"), ()])
def test_threads_give_the_same(rows, constant, threads):
    check(product(codes(U, rows, 64), codes(U, 64, 300), U(9), U(100), constant=constant), ISAS[0], threads)
