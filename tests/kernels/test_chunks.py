"""Bounds of taps and their packing on native kernels: what NumPy gives."""

import numpy as np
import pytest

from qengine.kernels.chunks import Bounds, tap_bounds
from qengine.kernels.isa import available
from qengine.runtime.native import exact_sums
from qengine.runtime.native.tensor_buffer import TensorBuffer

ISAS = pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)


@pytest.mark.parametrize(("dtype", "items"), [(np.int8, 4), (np.int16, 2)])
@pytest.mark.parametrize(("low", "high"), [(-32768, 32767), (0, 255), (-5, -1), (3, 9)])
@ISAS
def test_bounds(isa, low, high, dtype, items):
    info = np.iinfo(dtype)
    packed = np.random.default_rng(abs(high)).integers(info.min, info.max, (2, 3, 11, 16, items), dtype, endpoint=True)
    x = TensorBuffer("x", (1, 16, 1, 1), "i16", 16, low=low, high=high)
    found = tap_bounds(packed, *exact_sums.factor_range(x), isa)
    for own, each, totals, most in zip(packed, found.each, found.totals, found.most, strict=True):
        expected = exact_sums.tap_bounds(own.transpose(0, 2, 1, 3).reshape(48, 11, items), x)
        np.testing.assert_array_equal(each, expected, strict=True)
        np.testing.assert_array_equal(totals, expected.sum(axis=0), strict=True)
        np.testing.assert_array_equal(most, expected.max(axis=1), strict=True)


@pytest.mark.parametrize("taps", [1, 7, 300, 1500])
@pytest.mark.parametrize("sums", [1, 16, 70])
@ISAS
def test_packing(isa, sums, taps):
    rng = np.random.default_rng(taps)
    each = rng.integers(0, exact_sums.CHUNK_LIMIT, (3, taps, sums)) >> rng.integers(0, 6, (3, taps, 1))
    bounds = Bounds(each, each.sum(axis=1), each.max(axis=2))
    order, ends = exact_sums.chunk_bounds(bounds, isa)
    expected = exact_sums.chunk_bounds(bounds, None)
    np.testing.assert_array_equal(order, expected[0])
    for found, wanted in zip(ends, expected[1], strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
