"""Moves: the same function on numbers and on codes, its constants as codes, and what is counted."""

import numpy as np
import pytest

from qengine.kernels.reference.requantize import LARGEST, TOTAL, new_tally
from qengine.model.steps.move import Move

from .tensors import fixed_kernel, tensor


def test_constants_become_codes_of_the_input():
    step = Move(tensor("x", "Q3.4", (3,)), lambda x, low, high: np.clip(x, low, high), (3,), constants=(-1.03, None))
    assert step.float32()(np.float32([-2, 0, 2])).tolist() == np.float32([-1.03, 0, 2]).tolist()
    tally = new_tally()
    kernel = fixed_kernel(step, "Q3.4")
    assert kernel(np.int8([-32, 0, 9])).tolist() == kernel(np.int8([-32, 0, 9]), tally=tally).tolist() == [-16, 0, 9]
    assert (tally[TOTAL], tally[LARGEST]) == (3, 16)


@pytest.mark.parametrize("out_dtype", [None, np.dtype(np.int64)])
def test_the_element_type_of_the_output(out_dtype):
    """Indices are no codes: they are not counted."""
    step = Move(tensor("x", "Q3.4", (3,)), lambda x: x.argmax(keepdims=True), (1,), out_dtype=out_dtype)
    assert step.dtype == (np.float32 if out_dtype is None else np.int64)
    tally = new_tally()
    assert fixed_kernel(step, None)(np.int8([1, 3, 2]), tally=tally).tolist() == [1]
    assert not tally.any()
