"""Counts of float32 numbers on native kernels: those of the reference."""

import numpy as np
import pytest

from qengine.kernels.histogram import Count, Counters, count
from qengine.kernels.isa import available
from qengine.kernels.layout import Halo, Layout
from qengine.kernels.program import Call, run_call
from qengine.kernels.reference import histogram as reference

ISAS = pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 3.4028235e38, -3.4028235e38, 1e-45, -1e-40, 1.0, -1.0, 0.5]


def assert_same(found, expected):
    np.testing.assert_array_equal(found.counts, expected.counts)
    for name in ("least", "most", "zeros", "infinite", "nan"):
        assert getattr(found, name) == getattr(expected, name), name
    assert bool(found.beyond) == bool(expected.beyond)


def numbers(size, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=size) * np.exp2(rng.integers(-20, 3, size))).astype(np.float32)
    return np.where(rng.random(size) < 0.2, rng.choice(np.array(SPECIAL, np.float32), size), x)


@pytest.mark.parametrize("exponent", [reference.NOTHING, -3, 0, 3, 128])
@pytest.mark.parametrize("old", [None, -5, 0])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 5000])
@ISAS
def test_numbers(isa, size, old, exponent):
    x, counters = numbers(size), Counters()
    counters.begin(exponent, old)
    count(x, counters, isa)
    assert_same(counters.found(), reference.count(x, exponent, old))


@pytest.mark.parametrize(("channels", "block"), [(16, 16), (19, 16), (3, 3), (4, 4), (5, 1), (9, 9), (6, 6), (7, 4)])
@ISAS
def test_blocks_with_a_halo(isa, block, channels):
    x = numbers(2 * channels * 5 * 7).reshape(2, channels, 5, 7)
    layout = Layout(2, channels, 5, 7, 4, block, Halo(1, 2, 3))
    memory = np.full(layout.size // 4 + 1, 7.0, np.float32)  # that nothing counts
    for n, c, r, p in np.ndindex(x.shape):
        place = layout.origin + n * layout.image + c // block * layout.plane + r * layout.row + p * layout.pixel
        memory[place // 4 + c % block] = x[n, c, r, p]
    counters = Counters(channels, block)
    counters.begin(3)
    arguments = {
        **{"x": memory.ctypes.data + layout.origin, "x_batch": layout.image, "x_block": layout.plane},
        **{"x_row": layout.row, "batch": 2, "blocks": layout.blocks, "rows": 5, "width": 7, "channels": channels},
        **counters.addresses,
    }
    run_call(Call(Count(block), arguments), isa)
    assert_same(counters.found(), reference.count(x, 3))
    magnitude = np.where(np.abs(x) < np.float32(3.4028235e38), np.abs(x), 0)  # NaN too is no magnitude
    np.testing.assert_array_equal(counters.most_of_channels, magnitude.max(axis=(0, 2, 3)))


def test_a_range_that_grows_counts_every_number_once():
    x = numbers(3000)
    narrow, rest, whole = reference.count(x, -2), reference.count(x, 5, -2), reference.count(x, 5)
    octaves = slice(reference.BINS, None)
    assert narrow.beyond
    assert not rest.beyond
    assert narrow.counts.sum() + rest.counts.sum() == whole.counts.sum()
    assert (rest.counts[:, octaves] == 0).all() or (rest.counts[:, octaves] <= whole.counts[:, octaves]).all()
