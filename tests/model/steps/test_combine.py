"""Elementwise arithmetic of steps: every operation on codes of different formats, bounds, integers, real numbers."""

from fractions import Fraction

import numpy as np
import pytest

from qengine.model.graph import ActivationBounds
from qengine.model.steps.combine import Combine

from .tensors import fixed_kernel, tensor

A, B = np.int8([-128, -7, 0, 1, 100, 127]), np.int8([3, -5, 7, -1, -127, 127])
EXACT = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "prelu": lambda a, b: a if a >= 0 else a * b,
}


def combine(operation, forms=("Q3.4", "Q1.6"), activation=None, dtype=np.float32, shape=(6,)):
    return Combine(operation, tuple(tensor(f"t{i}", form, shape, dtype) for i, form in enumerate(forms)), activation)


@pytest.mark.parametrize("out", [("Q5.2", 2), ("Q9.6", 6)])
@pytest.mark.parametrize(
    "activation", [None, ActivationBounds(0.0, None), ActivationBounds(None, 1.5), ActivationBounds(-100.0, 1000.0)]
)
@pytest.mark.parametrize("operation", EXACT)
def test_codes_are_rounded_once_and_bounded(operation, activation, out):
    form, n = out
    codes = fixed_kernel(combine(operation, activation=activation), form)(A, B)
    most = 2 ** (7 if form == "Q5.2" else 15) - 1
    low, high = (activation.low, activation.high) if activation else (None, None)
    wanted = []
    for a, b in zip(A.tolist(), B.tolist(), strict=True):
        code = round(EXACT[operation](Fraction(a, 16), Fraction(b, 64)) * 2**n)  # half to even, as Python rounds
        code = min(max(code, -most - 1), most)
        code = code if low is None else max(code, min(max(round(low * 2**n), -most - 1), most))
        wanted.append(code if high is None else min(code, min(max(round(high * 2**n), -most - 1), most)))
    assert codes.tolist() == wanted


@pytest.mark.parametrize("operation", EXACT)
def test_real_numbers(operation):
    a, b = A.astype(np.float32), B.astype(np.float32) / 8
    wanted = [EXACT[operation](p, q) for p, q in zip(a, b, strict=True)]
    step = combine(operation, (None, None))
    np.testing.assert_array_equal(step.float32()(a, b), np.float32(wanted), strict=True)
    bounded = combine(operation, (None, None), ActivationBounds(-2.0, 3.0)).float32()(a, b)
    np.testing.assert_array_equal(bounded, np.clip(np.float32(wanted), -2, 3), strict=True)


@pytest.mark.parametrize(("a", "b", "y"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3), (-8, 2, -4), (0, -3, 0)])
def test_integers_are_divided_toward_zero(a, b, y):
    step = combine("divide", (None, None), dtype=np.int32, shape=(1,))
    np.testing.assert_array_equal(step.float32()(np.int32([a]), np.int32([b])), np.int32([y]), strict=True)


def test_a_slope_of_infinity_leaves_zero_alone():
    step = combine("prelu", (None, None), shape=(2,))
    with np.errstate(invalid="ignore"):
        assert step.float32()(np.float32([0, -1]), np.float32([np.inf] * 2)).tolist() == [0, -np.inf]
        assert step.float32()(np.float32([0.5, 1]), np.float32([3] * 2)).tolist() == [0.5, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_a_sum_of_any_number_of_terms(count):
    step = combine("add", ("Q3.4",) * count)
    assert (step.dtype, step.shape) == (np.float32, (6,))
    x = A.astype(np.float32)
    y = step.float32()(*[x] * count)
    assert y.tolist() == (x * count).tolist()
    assert not np.shares_memory(x, y)
    assert fixed_kernel(step, "Q9.4")(*[A] * count).tolist() == (A.astype(int) * count).tolist()
