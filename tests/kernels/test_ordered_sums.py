"""OrderedSums sums of products on native kernels: the reference's bits."""

import numpy as np
import pytest

from qengine.kernels.isa import available
from qengine.kernels.ordered_sums import add_products
from qengine.kernels.reference import ordered_sums as reference

SHAPES = [(1, 1, 1), (3, 5, 7), (2, 1024, 8), (5, 1029, 9), (64, 70, 64), (1, 3, 17), (4, 0, 3), (0, 4, 3), (4, 4, 0)]


def numbers(rows, columns, count):
    """Numbers whose products and sums all have to be rounded."""
    rng = np.random.default_rng(rows + columns)
    return tuple(rng.normal(size=size) / 3 for size in ((rows, columns), (count, rows), (count, columns)))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_bits_of_the_reference(shape, isa, threads):
    total, left, right = numbers(*shape)
    wanted, found = total.copy(), total.copy()
    reference.add_products(wanted, left, right)
    add_products(found, left, right, isa, threads)
    np.testing.assert_array_equal(found, wanted, strict=True)


@pytest.mark.parametrize("isa", available(), ids=lambda isa: isa.name)
def test_parts_of_matrices_and_nothing_beside_them(isa):
    total, left, right = numbers(9, 40, 11)
    wanted, found = total.copy(), total.copy()
    reference.add_products(wanted[2:7, 3:35], left[1:, 2:7], right[1:, 3:35])
    add_products(found[2:7, 3:35], left[1:, 2:7], right[1:, 3:35], isa)
    np.testing.assert_array_equal(found, wanted)


def test_a_sum_that_fused_multiplication_would_change():
    total, left, right = (np.array([[value]]) for value in (-1.0, 1 + 2.0**-30, 1 - 2.0**-30))
    for isa in available():
        found = total.copy()
        add_products(found, left, right, isa)
        assert found[0, 0] == 0.0  # fused it is -2^-60


@pytest.mark.parametrize("spoil", ["shape", "type", "columns"])
def test_what_is_no_such_matrix_is_refused(spoil):
    total, left, right = numbers(4, 6, 5)
    match spoil:
        case "shape":
            left = left[:, :3]
        case "type":
            right = right.astype(np.float32)
        case "columns":
            total = np.asfortranarray(total)
    with pytest.raises(ValueError, match=r"give a float64 array of shape .* with contiguous rows"):
        add_products(total, left, right, available()[0])
