"""Axes, indices and sizes as all evaluators read them."""

import ml_dtypes
import numpy as np
import pytest

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import (
    REALS,
    axes_of,
    axis_of,
    check_shape,
    checked_shape,
    element_dtype,
    indices_in,
    is_float,
    is_narrow,
    one_integer,
    reals,
    scalar,
    widened,
    working_dtype,
    zero,
)


def test_axes_and_indices_count_from_the_back_too():
    assert (axis_of(-3, 3), axis_of(2, 3)) == (0, 2)
    assert axes_of([-1, 0], 2) == (1, 0)
    np.testing.assert_array_equal(indices_in(np.int32([-4, -1, 0, 3]), 4), [0, 3, 0, 3])
    assert indices_in(np.zeros((0, 2), np.int64), 0).shape == (0, 2)
    assert one_integer(np.array([7], np.int32), "k") == 7
    assert (scalar(np.array([[2.5]]), "T"), scalar(None, "T")) == (2.5, None)


@pytest.mark.parametrize(
    ("error", "reason", "call"),
    [
        (ModelError, "axis 3 is out of range for a tensor with 3 axes", lambda: axis_of(3, 3)),
        (ModelError, "axis 0 is out of range for a tensor with 0 axes", lambda: axis_of(0, 0)),
        (ModelError, "axis 4611686018427387904 is out of range", lambda: axes_of([2**62], 3)),
        (ModelError, r"axes \[0, -2\] occur twice", lambda: axes_of([0, -2], 2)),
        (ModelError, "an index is 4, outside of -4..3", lambda: indices_in(np.array([0, 4]), 4)),
        (ModelError, "an index is -5, outside of -4..3", lambda: indices_in(np.array([-5, 0]), 4)),
        (ModelError, "an index is 0, outside of 0..-1", lambda: indices_in(np.array([0]), 0)),
        (ModelError, "indices are float64", lambda: indices_in(np.array([0.0]), 4)),
        (ModelError, r"k of shape \[2\] is int64; a single integer", lambda: one_integer(np.array([1, 2]), "k")),
        (ModelError, r"k of shape \[1, 1\]", lambda: one_integer(np.array([[1]]), "k")),
        (ModelError, "is float64", lambda: one_integer(np.array(1.0), "k")),
        (ModelError, r"^R of shape \[0\] must be a single number", lambda: scalar(np.zeros(0), "R")),
        (
            ModelError,
            "^dtype 6 is not a type .* are float16, float32",
            lambda: element_dtype(6, REALS, "dtype"),
        ),
        (ModelError, "^dtype 99 is not a type", lambda: element_dtype(99, REALS, "dtype")),
        (
            ModelError,
            r"W has the shape \[2, 3\], \[any, 4\]",
            lambda: check_shape(np.zeros((2, 3)), (None, 4), "W"),
        ),
        (ModelError, r"^W has the shape \[2, 3\], \[2\] is", lambda: check_shape(np.zeros((2, 3)), (2,), "W")),
        (ModelError, "negative length", lambda: checked_shape((2, -1))),
        (
            UnsupportedError,
            "^the window of 1099511627776 x 2 has more than 1,073,741,824",
            lambda: checked_shape((2**40, 2), 8, "the window"),
        ),
    ],
)
def test_what_is_refused(error, reason, call):
    with pytest.raises(error, match=reason):
        call()


def test_types():
    assert [is_float(np.dtype(t)) for t in (np.float16, ml_dtypes.float8_e4m3fn, np.int8, object)] == [1, 1, 0, 0]
    assert [is_narrow(np.dtype(t)) for t in (np.float16, ml_dtypes.bfloat16, np.float32, np.int8)] == [1, 1, 0, 0]
    assert widened(np.zeros(1, np.float16)).dtype == np.float32
    assert widened(np.zeros(1, np.int8)).dtype == np.int8
    assert reals(np.ones(1, ml_dtypes.bfloat16)).dtype == np.float64
    assert element_dtype(16, REALS, "dtype") == ml_dtypes.bfloat16
    narrow, wide = np.dtype(np.float16), np.dtype(np.float64)
    assert (working_dtype(narrow), working_dtype(), working_dtype(narrow, wide)) == (np.float32, np.float32, wide)
    assert (zero(np.dtype(object)), zero(np.dtype(np.float16)), zero(np.dtype(bool))) == ("", 0, False)
