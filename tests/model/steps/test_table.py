"""Tables of steps: an entry for every code, and real numbers chunk by chunk."""

import numpy as np

from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, UNDERFLOWED, new_tally
from qengine.model.rules import Arithmetic
from qengine.model.steps.table import _CHUNK_ELEMENTS, Table

from .tensors import fixed_kernel, tensor


def test_an_entry_for_every_code():
    step = Table(tensor("x", "Q1.2", (4,)), lambda x: x * x / 4)
    out = tensor("y", "Q1.2", (4,))
    squares = [min(round((k / 4) ** 2 / 4 * 4), 7) for k in range(-8, 8)]
    assert step.table(out, Arithmetic())[0].tolist() == squares
    codes, tally = np.int8([-8, 1, 7, 2]), new_tally()
    kernel = fixed_kernel(step, "Q1.2")
    assert kernel(codes).tolist() == kernel(codes, tally=tally).tolist() == [squares[k + 8] for k in codes]
    assert tally[[SATURATED, UNDERFLOWED, LARGEST, TOTAL]].tolist() == [0, 2, 4, 4]


def test_real_numbers_are_computed_in_chunks_that_stay_in_a_cache():
    lengths = []

    def function(x):
        assert x.dtype == np.float64
        lengths.append(x.size)
        return x + 1

    assert _CHUNK_ELEMENTS * 8 == 256 << 10  # bytes
    x = np.arange(2 * _CHUNK_ELEMENTS + 3, dtype=np.float32).reshape(1, -1)
    y = Table(tensor("x", None, x.shape), function).float32()(x)
    np.testing.assert_array_equal(y, x + 1, strict=True)
    assert lengths == [_CHUNK_ELEMENTS, _CHUNK_ELEMENTS, 3]
