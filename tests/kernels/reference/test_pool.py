from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qengine.kernels.reference.pool import max_index, max_pool, mean_fixed, window_sum
from qengine.kernels.reference.requantize import new_tally
from qengine.kernels.reference.word import Word

# spatial shape, kernel, strides, dilations, pads
WINDOWS = [
    ((7,), (3,), (2,), (1,), ((1, 0),)),
    ((5, 6), (2, 3), (1, 2), (2, 1), ((1, 1), (0, 2))),
    ((6, 5), (3, 3), (3, 2), (1, 1), ((-1, 0), (2, -1))),
    ((4, 3, 5), (2, 2, 2), (2, 1, 3), (1, 2, 1), ((0, 1), (1, 1), (0, 0))),
]


def each_window(x, kernel, strides, dilations, pads):
    """Yield where each output lies and the elements of its window that are not padding."""
    out = [
        (n + a + b - (k - 1) * d - 1) // s + 1
        for n, k, s, d, (a, b) in zip(x.shape[2:], kernel, strides, dilations, pads, strict=True)
    ]
    for n, c, *place in np.ndindex(*x.shape[:2], *out):
        inside = []
        for tap in product(*map(range, kernel)):
            at = [p * s + t * d - a for p, s, t, d, (a, _) in zip(place, strides, tap, dilations, pads, strict=True)]
            # What a negative pad crops is not there.
            if all(max(0, -a) <= i < m + min(0, b) for i, m, (a, b) in zip(at, x.shape[2:], pads, strict=True)):
                inside.append(x[n, c, *at])
        yield (n, c, *place), inside


@pytest.mark.parametrize(("size", "kernel", "strides", "dilations", "pads"), WINDOWS)
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8, np.int16, np.int64])
def test_windows_against_loops(size, kernel, strides, dilations, pads, dtype):
    rng = np.random.default_rng(len(size))
    x = rng.integers(0 if dtype == np.uint8 else -100, 100, (2, 3, *size)).astype(dtype)
    options = {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    largest, total = max_pool(x, **options), window_sum(x.astype(np.int64), **options)
    assert largest.dtype == dtype
    for at, inside in each_window(x, kernel, strides, dilations, pads):
        assert largest[at] == max(inside)
        assert total[at] == sum(map(int, inside))
    assert largest.shape == total.shape == tuple(i + 1 for i in at)


ROW = {"kernel": (2,), "strides": (1,), "dilations": (1,), "pads": ((3, 0),)}


def test_padding_never_wins():
    assert max_pool(np.array([[[-7, -8]]], np.int8), **ROW).tolist() == [[[-128, -128, -7, -7]]]
    assert max_pool(np.array([[[-7, -8]]], np.int8), **ROW, least=-32).tolist() == [[[-32, -32, -7, -7]]]
    assert max_pool(np.array([[[-7, -8]]], np.float32), **ROW).tolist() == [[[-np.inf, -np.inf, -7, -7]]]
    assert max_pool(np.array([[[-np.inf, -8]]], np.float16), **ROW).dtype == np.float16


def test_nan_wins():
    assert np.isnan(max_pool(np.array([[[np.nan, 1]]]), **ROW)).tolist() == [[[False, False, True, True]]]


def test_window_sum_keeps_the_dtype_and_empty_batches():
    for dtype in (np.float32, np.int64):
        assert window_sum(np.ones((1, 1, 2), dtype), **ROW).dtype == dtype
        assert window_sum(np.ones((0, 1, 2), dtype), **ROW).shape == (0, 1, 4)
        assert max_pool(np.ones((1, 0, 2), dtype), **ROW).shape == (1, 0, 4)


words = st.builds(
    Word,
    st.integers(2, 16),
    st.booleans(),
    st.sampled_from(["half_even", "half_up", "half_away", "floor", "trunc"]),
    st.sampled_from(["saturate", "wrap"]),
)


@given(
    total=st.lists(st.integers(-(2**45), 2**45), min_size=1, max_size=5),
    count=st.integers(1, 2**30),
    shift=st.integers(-200, 200),
    word=words,
)
def test_mean_is_the_exact_quotient(total, count, shift, word, code_of):
    expected = [code_of(Fraction(t, count) * Fraction(2) ** -shift, word) for t in total]
    assert mean_fixed(np.array(total), count, shift, word).tolist() == expected
    counts = np.full(len(total), count)
    assert mean_fixed(np.array(total), counts, shift, word).tolist() == expected


def test_mean_ties_by_hand():
    total = np.array([-9, -3, -1, 1, 3, 9])
    for rounding, expected in {
        "half_even": [-4, -2, 0, 0, 2, 4],
        "half_up": [-4, -1, 0, 1, 2, 5],
        "half_away": [-5, -2, -1, 1, 2, 5],
        "floor": [-5, -2, -1, 0, 1, 4],
        "trunc": [-4, -1, 0, 0, 1, 4],
    }.items():
        assert mean_fixed(total, 2, 0, Word(8, True, rounding)).tolist() == expected


def test_mean_broadcasts_counts_and_tallies():
    tally = new_tally()
    total = np.array([[6, 7], [1, 1000]])
    assert mean_fixed(total, np.array([2, 4]), 0, Word(8, True), tally=tally).tolist() == [[3, 2], [0, 127]]
    assert tally.tolist() == [1, 1, 127, 4, 0]


@pytest.mark.parametrize("shift", [-150, 0, 150])
def test_mean_of_one_number_and_of_none(shift):
    got = mean_fixed(np.array(10), 3, shift, Word(8, True))
    assert (got.shape, got.dtype, int(got)) == ((), np.int8, {-150: 127, 0: 3, 150: 0}[shift])
    assert mean_fixed(np.zeros((0, 2), np.int64), 3, shift, Word(8, True)).shape == (0, 2)


@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "strides", "dilations", "pads"), WINDOWS)
def test_the_index_of_the_first_largest_element(shape, kernel, strides, dilations, pads, by_columns):
    """Few values, so that windows have ties; NaN is larger than every number; padding is never picked."""
    rng = np.random.default_rng(len(shape))
    x = rng.integers(-4, 0, (2, 3, *shape)).astype(np.float32)
    x[rng.random(x.shape) < 0.05] = np.nan
    options = {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    got = max_index(x, **options, by_columns=by_columns)
    cells = int(np.prod(shape))
    assert got.shape == max_pool(x, **options).shape
    for n, c, *out in product(*map(range, got.shape)):
        best, largest = -1, -np.inf
        for tap in product(*map(range, kernel)):
            at = [o * s + t * d - a for o, s, t, d, (a, _) in zip(out, strides, tap, dilations, pads, strict=True)]
            # A negative pad cuts rows and columns off: they are no elements.
            ends = [n_ + min(b, 0) for n_, (_, b) in zip(shape, pads, strict=True)]
            starts = [max(-a, 0) for a, _ in pads]
            if not all(low <= i < high for low, i, high in zip(starts, at, ends, strict=True)):
                continue
            value = x[(n, c, *at)]
            if value > largest or (np.isnan(value) and not np.isnan(largest)):
                largest, best = value, int(np.ravel_multi_index(at, shape, order="F" if by_columns else "C"))
        assert got[(n, c, *out)] == (-1 if best < 0 else best + (n * 3 + c) * cells)


def test_a_window_wholly_in_the_padding_has_no_index():
    x = np.float32([[[5, 3, 4]], [[1, 2, 2]]])
    options = {"kernel": (1,), "strides": (2,), "dilations": (1,), "pads": ((2, 2),)}
    assert max_index(x, **options).tolist() == [[[-1, 0, 2, -1]], [[-1, 3, 5, -1]]]


@pytest.mark.parametrize("shape", [(0, 3, 5, 6), (2, 0, 5, 6)])
def test_no_windows_have_no_index(shape):
    index = max_index(np.zeros(shape, np.float32), kernel=(2, 3), strides=(1, 2), dilations=(1, 1), pads=((0, 0),) * 2)
    assert (index.shape, index.dtype) == ((*shape[:2], 4, 2), np.int64)
