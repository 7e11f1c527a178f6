from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from oracle import Codes, Fmt, Options
from oracle.rows import normalize

from qengine.kernels.reference.normalization_fixed import (
    MAX_OFFSET,
    Z_BITS,
    RowScale,
    bit_lengths,
    offset_of_codes,
    offset_of_reals,
    reciprocal_bits,
    scaled_fixed,
    split_epsilon,
    standardize_fixed,
    whole_roots,
)
from qengine.kernels.reference.word import Word

SOURCES = ["Q4.3", "UQ3.5", "Q4.11", "UQ0.16", "Q0.1", "Q-12.27", "Q9.-2", "UQ-30.46"]


def rows_of(fmt, length, seed=0):
    rng = np.random.default_rng(seed)
    wide = rng.integers(fmt.low, fmt.high + 1, (4, length))
    near = np.clip(rng.integers(-2, 3, (3, length)) + (fmt.low + fmt.high) // 3, fmt.low, fmt.high)
    single = np.full((2, length), fmt.low)
    single[1, length // 2] = fmt.high
    return np.concatenate([wide, near, single])


def scale_of(fmt, length, measure, epsilon):
    count = 1 if measure == "norm" else length
    exact = Fraction(epsilon) * count**2 * Fraction(4) ** fmt.n if measure in ("variance", "squares") else 0
    return RowScale(
        count, measure in ("variance", "deviation"), *split_epsilon(round(exact)), reciprocal_bits(fmt.bits, length)
    )


@pytest.mark.parametrize("measure", ["variance", "deviation", "squares", "norm"])
@pytest.mark.parametrize("length", [1, 2, 37, 768])
@pytest.mark.parametrize("source", SOURCES)
def test_the_oracle_gives_the_same(source, length, measure):
    x, y = Fmt.parse(source), Fmt(16, 10)
    rows, epsilon = rows_of(x, length), 1e-5
    wanted = normalize(Codes(rows.astype(object), x), [1], measure, epsilon, None, None, y, Options(y)).codes
    z = standardize_fixed(rows.astype(x.dtype), scale_of(x, length, measure, epsilon))
    found = scaled_fixed(z, np.ones((), np.int64), np.zeros((), np.int64), Z_BITS - y.n, Word(16, True))
    np.testing.assert_array_equal(found, wanted.astype(np.int64))


@pytest.mark.parametrize("length", [3, 256, 4096])
def test_the_error_is_bounded(length):
    """An element is off by 2^-25 and by 2^-28 of itself, beside an epsilon that is rounded."""
    fmt = Fmt.parse("Q4.11")
    rows = rows_of(fmt, length)
    scale = scale_of(fmt, length, "variance", 1e-5)
    z = np.ldexp(standardize_fixed(rows, scale).astype(float), -Z_BITS)
    epsilon = scale.epsilon / length**2 / 4**fmt.n
    real = np.ldexp(rows.astype(float), -fmt.n)
    centred = real - real.mean(axis=1, keepdims=True)
    wanted = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
    assert (np.abs(z - wanted) <= 2**-25 + np.abs(wanted) * 2**-28).all()


def test_equal_codes_without_epsilon_are_zero():
    scale = RowScale(5, True, 0, 0, reciprocal_bits(8, 5))
    assert not standardize_fixed(np.full((2, 5), -128, np.int8), scale).any()


def test_long_rows_stay_in_64_bits():
    length = 1 << 21
    row = np.where(np.arange(length) % 2, 32767, -32768)[None].astype(np.int16)
    z = standardize_fixed(row, RowScale(length, True, 0, 0, reciprocal_bits(16, length)))
    assert np.abs(np.abs(z) - (1 << Z_BITS)).max() <= 4
    assert reciprocal_bits(16, length + 1) is None
    assert reciprocal_bits(8, 1 << 29) == 25
    assert reciprocal_bits(16, 1) == 30


def test_whole_roots_and_lengths():
    rng = np.random.default_rng(0)
    roots = rng.integers(1 << 30, 1 << 31, 1000)
    near = np.concatenate([roots * roots + k for k in (-1, 0, 1)] + [np.arange(20), [(1 << 62) - 1]])
    assert whole_roots(near).tolist() == [isqrt(int(a)) for a in near]
    assert bit_lengths(near).tolist() == [int(a).bit_length() for a in near]


def test_epsilons():
    assert split_epsilon(0) == (0, 0)
    assert split_epsilon((1 << 61) - 1) == ((1 << 61) - 1, 0)
    assert split_epsilon(3 << 70) == (3 << 58, 12)


def test_offsets():
    assert offset_of_reals(np.array([0.5, -0.25, 1e30, -1e30, 2.5 / 16]), 4).tolist() == [
        8,
        -4,
        MAX_OFFSET,
        -MAX_OFFSET,
        2,
    ]
    assert offset_of_codes(np.array([5, -3], np.int8), -2).tolist() == [20, -12]
    assert offset_of_codes(np.array([5, 6, -3], np.int8), 1).tolist() == [2, 3, -2]
