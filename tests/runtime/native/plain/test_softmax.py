"""Softmax and LogSoftmax in plain order, on native kernels."""

from __future__ import annotations

import numpy as np
import pytest
from networks import network
from runtime.native.native import ISAS
from runtime.native.plain.cases import PlainCase, check, on_isas


def softmax(operator, shape, axis, opset=17, change=None):
    x = np.random.default_rng(4).standard_normal(shape).astype(np.float32) * 4
    if change:
        change(x)
    model = network([(operator, "x", "y", {"axis": axis})], inputs={"x": list(shape)}, opset=opset)
    return PlainCase(model, {"x": x}, "softmax", 2e-6)


def masked(x):
    x[..., ::2] = -10000.0
    x[0, 1] = -np.inf
    x[0, 1, 2] = 3.0


def special(x):
    x[0, 1, 2], x[0, 2, 3], x[1, 0] = np.nan, np.inf, -np.inf


CASES = {
    f"{operator} {list(shape)} {axis} opset {opset}": softmax(operator, shape, axis, opset)
    for operator in ("Softmax", "LogSoftmax")
    for shape, axis, opset in (
        ((2, 3, 128), -1, 17),
        ((2, 3, 197), -1, 13),
        ((5, 3), 1, 17),
        ((7,), 0, 17),
        ((2, 65, 50), 1, 17),
        ((9, 2, 2), 0, 17),
        ((2, 5, 6, 7), 2, 11),
        ((2, 5, 6, 7), 0, 11),
    )
} | {
    "masked": softmax("Softmax", (2, 3, 40), -1, change=masked),
    "infinities and NaN": softmax("Softmax", (2, 3, 40), -1, change=special),
    "infinities and NaN, alternating": softmax("LogSoftmax", (2, 3, 40), 1, change=special),
}


@pytest.mark.parametrize(("case", "isa"), on_isas(CASES))
def test_native_equals_the_reference(case, isa):
    check(case, isa, threads=1)


@pytest.mark.parametrize("axis", [1, 2])
def test_any_number_of_threads_gives_the_same(axis):
    check(softmax("Softmax", (40, 30, 30), axis), ISAS[0], threads=3)
