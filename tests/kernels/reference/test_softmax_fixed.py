from fractions import Fraction

import numpy as np
import pytest
from oracle import OVERFLOWS, ROUNDINGS, Codes, Fmt, Options
from oracle.rows import softmax

from qengine.kernels.reference.requantize import SATURATED, UNDERFLOWED, new_tally
from qengine.kernels.reference.softmax_fixed import (
    POWER_BITS,
    log_of_sum,
    log_softmax_fixed,
    log_width,
    power_table,
    softmax_fixed,
)
from qengine.kernels.reference.word import Word

FORMATS = (("Q4.3", "UQ0.8"), ("UQ3.5", "Q0.7"), ("Q4.11", "UQ0.16"), ("Q0.1", "UQ0.2"), ("UQ5.11", "Q-3.18"))
FORMATS = (*FORMATS, ("Q12.-9", "Q9.-2"), ("Q-30.45", "UQ-20.36"))


def rows_of(fmt, shape=(5, 23), seed=0):
    rng = np.random.default_rng(seed)
    wide = rng.integers(fmt.low, fmt.high + 1, shape)
    near = np.clip(wide[:, :1] + rng.integers(-40, 1, shape), fmt.low, fmt.high)
    return np.concatenate([wide, near, np.full((1, shape[1]), fmt.low)])


@pytest.mark.parametrize("logarithm", [False, True])
@pytest.mark.parametrize(("source", "target"), FORMATS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_the_oracle_gives_the_same(source, target, rounding, overflow, logarithm):
    x, y = Fmt.parse(source), Fmt.parse(target)
    rows = rows_of(x)
    options = Options(y, rounding, overflow)
    wanted = softmax(Codes(rows.astype(object), x), 1, False, y, options, logarithm).codes.astype(np.int64)
    word, powers = Word(y.bits, y.signed, rounding, overflow), power_table(x.n, x.bits)
    if logarithm:
        found = log_softmax_fixed(rows.astype(x.dtype), powers, x.n, y.n, word)
    else:
        found = softmax_fixed(rows.astype(x.dtype), powers, y.n, word)
    assert found.dtype == y.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("n", "bits"), [(3, 8), (11, 16), (-2, 8), (14, 16)])
def test_the_error_is_bounded(n, bits):
    """Beside real numbers a result is off by (N + 1) 2^-31 before it is rounded, a logarithm by N 2^-31 + 2^-29."""
    length = 197
    rows = np.random.default_rng(1).integers(-(1 << (bits - 1)), 1 << (bits - 1), (9, length)) // 4
    real = np.ldexp(rows.astype(np.float64), -n)
    shifted = real - real.max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    word, powers = Word(16, False), power_table(n, bits)
    found = np.ldexp(softmax_fixed(rows, powers, 16, word).astype(float), -16)
    assert (
        np.abs(found - np.minimum(np.exp(shifted) / total, word.most / 65536)).max() <= 2**-17 + (length + 1) * 2**-31
    )
    sums = powers[np.minimum(rows.max(axis=1, keepdims=True) - rows, len(powers) - 1)].sum(axis=1)
    errors = np.ldexp(log_of_sum(sums).astype(float), -36) - np.log(total[:, 0])
    assert np.abs(errors).max() <= length * 2**-31 + 2**-29


def test_logarithms_of_all_sizes():
    sums = np.array([1 << 30, (1 << 30) + 1, (1 << 31) - 1, 1 << 31, (1 << 53) - 1, (1 << 60) - 1, 1 << 60], np.int64)
    np.testing.assert_allclose(np.ldexp(log_of_sum(sums).astype(float), -36), np.log(sums / 2**30), rtol=0, atol=2**-29)


def test_powers():
    table = power_table(3, 8)
    assert table[0] == 1 << POWER_BITS
    assert table[-1] == 0
    assert table[8] == round(Fraction(np.exp(-1.0)) * 2**30)
    assert len(table) == 173  # e^(-171 / 8) 2^30 is 0.56
    assert power_table(-20, 8).tolist() == [1 << 30, 0]
    assert len(power_table(20, 8)) == 256
    assert log_width(50) > 0


def test_counts():
    tally = new_tally()
    codes = softmax_fixed(
        np.array([[0, -40, -20, -120, -128]], np.int8), power_table(2, 8), 8, Word(8, False), tally=tally
    )
    assert codes.tolist() == [[254, 0, 2, 0, 0]]
    assert (tally[SATURATED], tally[UNDERFLOWED]) == (0, 1)
    full = softmax_fixed(np.array([[0, -128]], np.int8), power_table(0, 8), 8, Word(8, False), tally=tally)
    assert full.tolist() == [[255, 0]]
    assert tally[SATURATED] == 1
