"""Split taps and chunks of taps: exact bounds, at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from qengine.kernels.epilogue import Epilogue
from qengine.runtime.native.exact_sums import (
    CHUNK_LIMIT,
    MAX_PACKED_TAPS,
    chunk_taps,
    split_taps,
    tap_bounds,
    widening_note,
)
from qengine.runtime.native.tensor_buffer import TensorBuffer


def codes(low, high, zero=0):
    """An input whose codes lie within low..high."""
    return TensorBuffer("x", (1, 16, 4, 4), "i16", 16, zero, low, high)


UNIT = codes(0, 1)
"""An input of 0 and 1: a weight is then the bound of its tap."""


def taps(*weights, dtype=np.int64):
    """The lanes of one sum, a weight for each tap."""
    return np.array(weights, dtype).reshape(1, -1, 1)


def test_the_limit_leaves_16_bits_of_the_chunk_before():
    assert CHUNK_LIMIT == 2_147_418_111
    assert np.iinfo(np.int32).max - 1 == CHUNK_LIMIT + 0xFFFF


@pytest.mark.parametrize(
    ("x", "weights", "most", "least"),
    [
        (codes(-5, 7), (3, -2), 3 * 7 + 2 * 5, 3 * 5 + 2 * 7),
        (codes(-5, 7), (0, 0), 0, 0),
        # Stored codes are codes + zero: 0..255 and -32768..32767.
        (codes(-128, 127, zero=128), (3, -2), 3 * 255, 2 * 255),
        (codes(0, 65535, zero=-32768), (3, -2), 3 * 32767 + 2 * 32768, 3 * 32768 + 2 * 32767),
        # The halo holds the code 0, which a bounded input need not hold.
        (codes(5, 7), (3, -2), 3 * 7, 2 * 7),
        (codes(-7, -5), (3, -2), 2 * 7, 3 * 7),
        # Sums begin with 0: a tap that only subtracts adds 0, and one that only adds subtracts 0.
        (codes(0, 100, zero=-32768), (3, 0), 0, 3 * 32768),
        (codes(0, 100, zero=-32768), (-3, 0), 3 * 32768, 0),
        # Each item counts with its own worst code.
        (codes(-32768, 32767), (-32768, -32768), 2 << 30, 2 * 32768 * 32767),
    ],
)
def test_bounds_of_one_tap(x, weights, most, least):
    bounds = tap_bounds(np.array([[weights]]), x)
    assert bounds.tolist() == [[most, least]]
    assert bounds.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_bounds_do_not_overflow_the_type_of_the_weights(dtype):
    least = np.iinfo(dtype).min
    lanes = np.full((1, 1, 4), least, dtype)
    assert tap_bounds(lanes, codes(-32768, 32767)).tolist() == [[4 * -least * 32768, 4 * -least * 32767]]


def test_bounds_of_several_sums_and_taps():
    lanes = np.array([[[1], [2]], [[-3], [4]]])  # two sums of two taps
    # taps x (additions to both sums, subtractions from both)
    assert tap_bounds(lanes, codes(-1, 10)).tolist() == [[10, 3, 1, 30], [20, 40, 2, 4]]


def split(lanes, x=UNIT, **options):
    source, kept = split_taps(np.asarray(lanes), x, **options)
    assert kept.dtype == bool
    return source.tolist(), kept.astype(int).tolist()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tap_at_the_limit_is_whole_and_one_beyond_is_split(sign):
    half = CHUNK_LIMIT // 2
    at = [[[sign * half, sign * (CHUNK_LIMIT - half)]]]
    assert split(at) == ([0], [[1, 1]])
    beyond = [[[sign * half, sign * (CHUNK_LIMIT - half + 1)]]]
    assert split(beyond) == ([0, 0], [[1, 0], [0, 1]])


def test_one_tap_of_several_is_split():
    lanes = [[[1, 2, 3], [CHUNK_LIMIT, 1, 1], [4, 5, 6]]]
    assert split(lanes) == ([0, 1, 1, 1, 2], [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])


def test_a_tap_that_is_too_large_for_one_of_several_sums_is_split():
    assert split([[[1, 1]], [[CHUNK_LIMIT, 1]]]) == ([0, 0], [[1, 0], [0, 1]])


def test_no_taps_are_not_split():
    source, kept = split_taps(np.zeros((2, 0, 4), np.int8), UNIT)
    assert (source.shape, kept.shape) == ((0,), (0, 4))


EVEN, ODD, ALL = [1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("weights", "high", "parts"),
    [
        ((127, 90, 0, 0), 151, [ALL]),  # 217 * 151 = 2^15 - 1
        ((0, 0, 127, 90), 151, [ALL]),
        ((127, 90, 127, 90), 151, [ALL]),  # each pair has bits of its own
        ((-127, -90, 0, 0), 151, [ALL]),
        ((-128, -128, 0, 0), 128, [EVEN, ODD]),  # 2^15 is subtracted
        ((0, 0, -128, -128), 128, [EVEN, ODD]),
        ((0, 0, 64, 64), 256, [EVEN, ODD]),  # 2^15 is added
        ((0, 64, 64, 0), 256, [ALL]),  # items of different pairs
    ],
)
def test_pairs_stay_in_16_bits(weights, high, parts):
    lanes = np.array([[weights]], np.int8)
    assert split(lanes, codes(0, high), paired=True) == ([0] * len(parts), parts)
    # Unpaired, all of them are far within 32 bits.
    assert split(lanes, codes(0, high)) == ([0], [ALL])


def test_only_pairs_that_overflow_are_split():
    lanes = np.array([[[1] * 4, [127] * 4, [2] * 4]], np.int8)
    assert split(lanes, codes(0, 255), paired=True) == ([0, 1, 1, 2], [ALL, EVEN, ODD, ALL])


def chunks(lanes, x=UNIT):
    order, ends = chunk_taps(np.asarray(lanes), x)
    assert ends.dtype == np.int64
    return order.tolist(), ends.tolist()


def test_no_taps_are_one_empty_chunk():
    assert chunks(np.zeros((3, 0, 2), np.int16)) == ([], [0])


@pytest.mark.parametrize("sign", [1, -1])
def test_one_chunk_up_to_the_limit_and_two_beyond(sign):
    assert chunks(taps(sign * 1, sign * (CHUNK_LIMIT - 1))) == ([0, 1], [2])
    assert chunks(taps(sign * 2, sign * (CHUNK_LIMIT - 1))) == ([1, 0], [1, 2])


def test_additions_and_subtractions_have_a_limit_each():
    assert chunks(taps(CHUNK_LIMIT, -CHUNK_LIMIT)) == ([0, 1], [2])


def test_a_chunk_is_filled_up_to_the_limit():
    """6 does not fit beside the largest tap, 5 does, to the last unit."""
    assert chunks(taps(5, 6, CHUNK_LIMIT - 5)) == ([0, 2, 1], [2, 3])


def test_the_largest_tap_goes_first_into_the_first_chunk_with_room():
    unit = CHUNK_LIMIT // 10
    # 7; 5 opens a second chunk, the other 5 fills it; 3 fills the first
    assert chunks(taps(5 * unit, 3 * unit, 5 * unit, 7 * unit)) == ([1, 3, 0, 2], [2, 4])
    # 8, 7 and 6 take a chunk each; 3 fits beside 7, not beside 8; 2 beside 8
    assert chunks(taps(2 * unit, 3 * unit, 6 * unit, 7 * unit, 8 * unit)) == ([0, 4, 1, 3, 2], [2, 4, 5])


def test_equal_taps_keep_their_order():
    third = CHUNK_LIMIT // 3
    assert chunks(taps(*[third] * 7)) == (list(range(7)), [3, 6, 7])


def test_a_chunk_has_room_in_every_sum():
    # Three taps of two sums: the last one fits neither beside the first nor beside the second.
    lanes = np.array([[CHUNK_LIMIT, 0, 1], [0, CHUNK_LIMIT, 1]]).reshape(2, 3, 1)
    assert chunks(lanes) == ([0, 1, 2], [2, 3])
    # It fits beside the first in both sums.
    lanes = np.array([[CHUNK_LIMIT - 1, CHUNK_LIMIT, 1], [0, CHUNK_LIMIT, 0]]).reshape(2, 3, 1)
    assert chunks(lanes) == ([1, 0, 2], [1, 3])


def test_the_largest_tap_is_the_one_with_the_largest_bound_of_any_sum():
    # Sums of bounds over all sums would put the first tap first.
    lanes = np.array([[CHUNK_LIMIT - 2, CHUNK_LIMIT - 1, 2], [CHUNK_LIMIT - 2, 0, 2]]).reshape(2, 3, 1)
    assert chunks(lanes) == ([1, 0, 2], [1, 3])


@pytest.mark.parametrize("count", [MAX_PACKED_TAPS - 2, MAX_PACKED_TAPS])
def test_taps_are_reordered_up_to_a_number(count):
    weights = [1, CHUNK_LIMIT] * (count // 2)
    order = [*range(1, count, 2), *range(0, count, 2)]
    assert MAX_PACKED_TAPS == 1024
    assert chunks(taps(*weights)) == (order, [*range(1, count // 2 + 1), count])


def test_more_taps_keep_their_order():
    count = MAX_PACKED_TAPS + 1
    assert chunks(taps(*[1, CHUNK_LIMIT] * (count // 2), 1)) == (list(range(count)), list(range(1, count + 1)))
    # Each chunk is filled before the next begins, and none is filled later.
    half = CHUNK_LIMIT // 2
    assert chunks(taps(*[half] * count)) == (list(range(count)), [*range(2, count, 2), count])
    weights = [CHUNK_LIMIT, *[half] * (count - 2), 1]
    ends = [1, *range(3, count, 2), count]
    assert chunks(taps(*weights)) == (list(range(count)), ends)


def test_a_tap_beyond_the_limit_must_be_split_before():
    with pytest.raises(AssertionError):
        chunk_taps(taps(CHUNK_LIMIT + 1), UNIT)
    assert chunks(taps(CHUNK_LIMIT, 1)) == ([0, 1], [1, 2])


@pytest.mark.parametrize("seed", range(20))
def test_chunks_of_random_weights_stay_within_the_limit(seed):
    rng = np.random.default_rng(seed)
    lanes = rng.integers(-32768, 32768, (int(rng.integers(1, 5)), int(rng.integers(1, 60)), 2)).astype(np.int16)
    x = codes(-32768, int(rng.integers(0, 32768)))
    source, kept = split_taps(lanes, x)
    split_lanes = lanes[:, source] * kept
    # Together the parts of a tap are the tap.
    whole = np.zeros_like(lanes)
    np.add.at(whole, (slice(None), source), split_lanes)
    np.testing.assert_array_equal(whole, lanes)
    order, ends = chunk_taps(split_lanes, x)
    assert sorted(order.tolist()) == list(range(len(source)))
    bounds = tap_bounds(split_lanes, x)[order]
    assert ends[-1] == len(source)
    for begin, end in zip([0, *ends], ends, strict=False):
        assert end > begin
        assert (bounds[begin:end].sum(axis=0) <= CHUNK_LIMIT).all()


NARROW = Epilogue("half_even", "saturate", signed=True, itemsize=1)
WIDE = Epilogue("half_even", "saturate", signed=True, itemsize=2, wide=True)


@pytest.mark.parametrize(
    ("form", "counts", "note"),
    [
        (None, (100, 7), "float32 sums"),
        (NARROW, (100, 7), "32-bit sums"),
        (WIDE, (100, 1), "32-bit sums, widened once"),
        (WIDE, (100, 2), "32-bit sums, widened every 50.0 of 100 taps"),
        (WIDE, (100, 8), "32-bit sums, widened every 12.5 of 100 taps"),
        (WIDE, (100, 3, 3), "32-bit sums, widened once"),
        (WIDE, (100, 4, 3), "32-bit sums, widened every 25.0 of 100 taps"),
    ],
)
def test_notes(form, counts, note):
    assert widening_note(form, *counts) == note
