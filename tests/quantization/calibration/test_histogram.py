"""Counts are exact, and are the same in whatever order and in however many parts the values come."""

from itertools import pairwise

import numpy as np
import pytest

from qengine.quantization.calibration.histogram import BINS, Histogram, HistogramArrays


def of(*parts):
    histogram = Histogram()
    for part in parts:
        histogram.add(np.asarray(part, np.float32))
    return histogram


def same(a, b):
    assert (a.least, a.most, a.zeros, a.infinite, a.nan) == (b.least, b.most, b.zeros, b.infinite, b.nan)
    assert a.exponent == b.exponent
    assert a.octaves() == b.octaves()
    for one, other in zip(vars(a.cells()).values(), vars(b.cells()).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def values(seed, size=5000):
    rng = np.random.default_rng(seed)
    found = rng.normal(size=size) * 2.0 ** rng.integers(-20, 12, size)
    found[rng.random(size) < 0.1] = 0
    return found.astype(np.float32)


def test_a_few_values_by_hand():
    found = of([0.0, -0.0, 1.0, -1.5, 3.0, 3.9, 0.25])
    assert (found.least, found.most, found.zeros, found.exponent) == (-1.5, np.float32(3.9), 2, 2)
    assert found.octaves() == {-2: (1, 0), 0: (1, 1), 1: (2, 0)}
    assert found.finite == 7
    cells = found.cells()
    width = 4 / BINS
    ends = {1: np.float32(3.9), -1: 1.5}
    for sign, low, wide in zip(cells.sign, cells.low, cells.width, strict=True):
        assert low + wide == pytest.approx(min(low + width, ends[sign]), abs=1e-12)
    expected = {(1, 0.25), (1, 1.0), (1, 3.0), (1, 1996 * width), (-1, 1.5)}  # 3.9 * 512 = 1996.8
    assert set(zip(cells.sign, cells.low, strict=True)) == expected
    assert set(cells.count) == {1}


@pytest.mark.parametrize("seed", range(4))
def test_octaves_are_exact(seed):
    x = values(seed)
    found = of(x)
    for k in range(-40, 16):
        low, high = 2.0**k, 2.0 ** (k + 1)
        above, below = np.count_nonzero((x >= low) & (x < high)), np.count_nonzero((-x >= low) & (-x < high))
        assert found.octaves().get(k, (0, 0)) == (above, below)
    assert found.zeros == np.count_nonzero(x == 0)


@pytest.mark.parametrize("seed", range(4))
def test_every_value_is_in_one_cell(seed):
    x = values(seed)
    found = of(*np.array_split(x, 7))
    cells = found.cells()
    assert cells.count.sum() == np.count_nonzero(x)
    for sign, low, width, count in zip(*vars(cells).values(), strict=True):
        # No cell is wider than 1/2,048 of the range, nor than the power of two that it lies in.
        assert width <= min(2.0**found.exponent / BINS, low)
        if low + width in (x.max(), -x.min()):
            assert np.count_nonzero((sign * x >= low) & (sign * x <= low + width)) == count
            continue
        assert np.frexp(width)[0] == 0.5
        assert low % width == 0
        assert np.count_nonzero((sign * x >= low) & (sign * x < low + width)) == count


@pytest.mark.parametrize("seed", range(3))
def test_order_and_parts_do_not_matter(seed):
    x = values(seed)
    whole = of(x)
    shuffled = np.random.default_rng(seed + 50).permutation(x)
    cuts = [0, 1, 2, 700, 701, 4000, len(x)]
    for order in (x, np.sort(x), np.sort(-np.abs(x)) * np.sign(x), shuffled):
        same(of(order), of(*(order[a:b] for a, b in pairwise(cuts))))
    same(whole, of(shuffled))
    same(whole, of(x.reshape(50, 100).T, np.zeros(0, np.float32)))


def test_merging_is_counting_together():
    odd = [np.nan, np.inf, -np.inf, 1.0, 0.0], [np.nan, np.nan, np.inf]
    pairs = [(values(1), values(2) / 1024), (values(1) / 1e6, values(2)), (np.zeros(4), values(3)), ([], [1.0]), odd]
    for a, b in pairs:
        first, second = of(a), of(b)
        same(first.merged(second), of(a, b))
        same(second.merged(first), of(a, b))
        same(first, of(a))  # and stays as it is


def test_extremes_of_float32():
    infinite = np.finfo(np.float32).max  # as masks use it
    tiny, huge = np.float32(1e-45), np.nextafter(infinite, np.float32(0))
    found = of([tiny, -tiny, huge, -huge, infinite, -infinite, np.inf, -np.inf, np.nan, 0])
    assert (found.infinite, found.nan, found.zeros, found.finite) == (4, 1, 1, 5)
    assert (found.least, found.most, found.exponent) == (-huge, huge, 128)
    assert found.octaves() == {-127: (1, 1), 127: (1, 1)}
    assert found.cells().count.sum() == 4


def test_the_largest_float32_is_infinite_without_any_infinity_beside_it():
    largest = np.finfo(np.float32).max
    found = of([1.0, largest, -largest])
    assert (found.infinite, found.nan, found.finite, found.most) == (2, 0, 1, 1.0)


def test_subnormal_numbers_of_both_signs():
    normal = 2.0**-126
    found = of([0.0, 1e-40, -0.75 * normal, -normal, -1.5 * normal, 1.5 * normal])
    assert found.octaves() == {-127: (1, 1), -126: (1, 2)}
    assert found.zeros == 1
    assert of([1e-40, -3e-40]).cells().count.sum() == 2


def test_other_types_are_taken_as_float32():
    x = values(0)
    found = Histogram()
    found.add(x.astype(np.float64))
    same(found, of(x))
    half = Histogram()
    half.add(np.float16([0.5, 2.0]))
    same(half, of([0.5, 2.0]))


def test_nothing_and_zeros():
    for found in (of([]), of(np.zeros(10))):
        assert found.is_zero
        assert found.cells().count.size == 0
    assert of([]).finite == 0
    assert of([np.nan]).is_zero


@pytest.mark.parametrize("count", [0, 1, 3])
def test_arrays_of_histograms_give_them_back(count):
    histograms = [of(values(seed), [np.inf, np.nan] * seed, [0.0]) for seed in range(count)]
    arrays = HistogramArrays.of(histograms)
    shapes = [(count, 2), (count, 3), (count, 2), (count, 2, BINS), (count, 2, 256), (count, 3)]
    assert [array.shape for array in arrays] == shapes
    for one, other in zip(histograms, arrays.histograms(), strict=True):
        same(one, other)
