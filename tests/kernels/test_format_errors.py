"""Errors of formats on native kernels: the bits of the reference, which are those of the definition."""

import numpy as np
import pytest

from qengine.kernels import format_errors
from qengine.kernels.isa import available
from qengine.kernels.reference import format_errors as reference

ISAS = pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
SHAPES = [(1, 1), (1, 16), (3, 5), (40, 33), (1, 4096), (1, 4097), (2, 9000), (300, 70)]


def candidates(rows, bits):
    n = bits - 2 + np.arange(rows)[:, None] % 3 + np.arange(5)
    return reference.candidate(n, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@ISAS
def test_values(isa, shape, dtype, threads):
    x = np.random.default_rng(shape[1]).normal(size=shape).astype(dtype)
    rows = format_errors.RowErrors([x, x[:, ::-1]], 5, isa, threads)
    for bits in (2, 8, 16):
        wanted = [reference.value_errors(one, candidates(len(x), bits)) for one in (x, x[:, ::-1])]
        found = rows.errors(np.concatenate([candidates(len(x), bits)] * 2))
        np.testing.assert_array_equal(found, np.concatenate(wanted), strict=True)


def test_values_by_the_definition():
    x = np.random.default_rng(0).normal(size=(2, 5000))
    found = reference.value_errors(x, reference.candidate(np.array([[5, 7], [6, 8]]), -128, 127))
    for row in range(2):
        for k, n in enumerate([[5, 7], [6, 8]][row]):
            q = np.clip(np.rint(x[row] * 2.0**n), -128, 127) / 2.0**n
            beyond = np.maximum(np.abs(x[row]) - 128 / 2.0**n, 0)
            expected = [np.sum((x[row] - q) ** 2), np.sum(beyond**2)]
            np.testing.assert_allclose(found[row, k], expected, rtol=1e-12)


@pytest.mark.parametrize("size", [0, 1, 17, 4096, 5000])
@ISAS
def test_cells(isa, size):
    rng = np.random.default_rng(size)
    low = np.sort(rng.integers(0, 4096, size)) / 1024.0
    cells = format_errors.padded_cells(
        low, np.exp2(-rng.integers(4, 12, size).astype(float)), rng.integers(1, 99, size)
    )
    tables = np.stack(
        [
            reference.cell_candidate(np.arange(4) + bits - 3, last, above=above, reach=1 << (bits - 1))
            for bits in (2, 8, 16)
            for above, last in ((True, (1 << (bits - 1)) - 1), (False, 1 << (bits - 1)))
        ]
    )
    found = format_errors.CellErrors([cells] * 6, 4, isa)
    for candidates in (tables, tables[::-1]):
        expected = np.stack([reference.cell_errors(cells, one) for one in candidates])
        np.testing.assert_array_equal(found.errors(candidates), expected, strict=True)


def test_the_error_beyond_the_range_bounds_that_of_finer_formats():
    x = np.random.default_rng(1).laplace(size=(1, 3000))
    found = reference.value_errors(x, reference.candidate(np.arange(24)[None] + 2, -8, 7))[0]
    assert (np.diff(found[:, 1]) >= 0).all()
    assert (found[:, 1] <= found[:, 0]).all()
