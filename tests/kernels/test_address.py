"""Addresses of arrays of every kind."""

import ml_dtypes
import numpy as np
import pytest

from qengine.kernels.address import address

READ_ONLY = np.arange(12.0)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5),
        np.zeros((3, 4), np.uint8)[1:],
        np.zeros((3, 4), np.int16)[:, 1:],
        np.zeros((2, 3)).T,
        np.zeros(0, np.int64),
        np.broadcast_to(np.zeros(3), (4, 3)),
        np.zeros(3, np.float16),
        np.zeros(3, ml_dtypes.bfloat16),
        READ_ONLY,
    ],
    ids=["plain", "rows", "columns", "transposed", "empty", "broadcast", "half", "bfloat16", "read-only"],
)
def test_address(array):
    assert address(array) == array.ctypes.data
    assert array.flags.writeable is (array is not READ_ONLY and array.strides != (0, 8))
