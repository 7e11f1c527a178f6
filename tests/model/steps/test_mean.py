"""Means of steps: exact sums, divided and rounded once, of codes and of numbers of every type."""

from fractions import Fraction

import numpy as np
import pytest

from qengine.model.steps.mean import Mean

from .tensors import fixed_kernel, tensor

X = [[1, 2, 4], [-5, -5, 3], [100, 127, 127]]


def mean(count, form="Q3.4", dtype=np.float32):
    return Mean(tensor("x", form, (3, 3), dtype), lambda x: x.sum(axis=1, dtype=x.dtype), (3,), count)


@pytest.mark.parametrize("count", [1, 2, 3, lambda: np.int64([1, 2, 3])])
def test_codes(count):
    codes = fixed_kernel(mean(count), "Q7.2")(np.int8(X))
    counts = count() if callable(count) else [count] * 3
    wanted = [round(Fraction(sum(row), 4 * int(n))) for row, n in zip(X, counts, strict=True)]
    assert codes.tolist() == wanted


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
@pytest.mark.parametrize("count", [1, 2, lambda: np.int64([1, 2, 4])])
def test_numbers(count, dtype):
    y = mean(count, None, dtype).float32()(np.array(X, dtype))
    wanted = np.sum(X, axis=1) / (count() if callable(count) else count)
    np.testing.assert_array_equal(y, wanted.astype(dtype), strict=True)


def test_a_sum_of_float16_beyond_its_range():
    assert mean(3, None, np.float16).float32()(np.full((3, 3), 60000, np.float16)).tolist() == [60000.0] * 3


def test_whole_sums_keep_all_digits():
    """A count of 1 divides nothing: float64 does not hold 2^60 + 1."""
    step = mean(1, None, np.int64)
    assert step.float32()(np.int64([[2**60, 1, 0]] * 3)).tolist() == [2**60 + 1] * 3
