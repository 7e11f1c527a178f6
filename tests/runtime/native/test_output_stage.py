"""Numbers of the output stage as kernels read them."""

from __future__ import annotations

import numpy as np

from qengine.kernels.epilogue import choose_epilogue
from qengine.kernels.reference.word import Word
from qengine.runtime.native.lowerings.linear_op import Filters
from qengine.runtime.native.output_stage import OutputStage
from qengine.runtime.native.sampling import transposed_sampling

ORDER = np.array([[2, 0, 1, *[-1] * 13]])
BOUNDS = np.array([-1, np.inf], np.float32)
WORD = Word(8, True, "floor", "saturate")


def fixed(zero):
    """Three channels with biases 100, 200 and 300, and shifts 1, 2 and 3."""
    bias, shift = np.array([100, 200, 300]), np.array([1, 2, 3])
    requantization = choose_epilogue(bias, 10_000, shift, WORD)
    return OutputStage(requantization, zero, np.zeros(3, np.float32), BOUNDS)


def test_float32_has_a_bias_in_the_order_of_the_lanes():
    stage = OutputStage(None, 0, np.float32([1.5, -2, 3]), BOUNDS)
    numbers = stage.channel_numbers(ORDER, 0)
    assert numbers.dtype == np.uint8
    assert numbers.view(np.float32).tolist() == [3, 1.5, -2, *[0] * 13]
    assert stage.epilogue is None
    assert stage.vector_bytes == 64
    np.testing.assert_array_equal(stage.scalars, BOUNDS)


def test_the_stored_code_of_0_is_taken_off_the_sum():
    totals = np.array([6, 22, 38])
    plain, shifted = (fixed(zero).channel_numbers(ORDER, totals).view(np.int32).reshape(2, 16) for zero in (0, 128))
    np.testing.assert_array_equal(plain[0, :3] - shifted[0, :3], [128 * 38, 128 * 6, 128 * 22])
    np.testing.assert_array_equal(shifted[1, :3], [3, 1, 2])
    np.testing.assert_array_equal(shifted[:, 3:], 0)


def test_sums_of_weights_do_not_overflow_their_type():
    w = np.full((3, 1, 10, 100), 127, np.int8)
    phases = transposed_sampling((10, 100), (2, 2), (1, 1), ((0, 0), (0, 0)))
    filters = Filters("s8", w, 1, phases, sums=np.zeros((3, 2), np.int64))
    assert [filters.totals(phase).tolist() for phase in phases] == [[127 * 250] * 3] * 4


def test_fixed_point_has_the_numbers_of_the_requantization():
    stage = fixed(0)
    assert stage.requantize is not None
    assert stage.epilogue is stage.requantize.epilogue
    assert stage.scalars is stage.requantize.scalars
    assert stage.vector_bytes == 2 * 16 * 4
    assert stage.vector_bytes == len(stage.channel_numbers(ORDER, np.ones(3, np.int64)))
