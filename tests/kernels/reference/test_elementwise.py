from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qengine.kernels.reference.elementwise import add_fixed, bounded, divide_fixed, multiply_fixed, prelu_fixed
from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, new_tally
from qengine.kernels.reference.word import Word

CODES = np.array([-32768, -129, -128, -3, -1, 0, 1, 2, 5, 127, 128, 32767], np.int16)
BYTES = np.array([0, 1, 3, 128, 255], np.uint8)
words = st.builds(
    Word,
    st.integers(2, 16),
    st.booleans(),
    st.sampled_from(["half_even", "half_up", "half_away", "floor", "trunc"]),
    st.sampled_from(["saturate", "wrap"]),
)


def value(code, n):
    return Fraction(int(code)) * Fraction(2) ** -n


@pytest.mark.parametrize(
    ("n", "n_y"),
    [
        ((3, 3), 3),
        ((3, 7), 5),
        ((7, 3), -4),
        ((-2, 0), -3),
        ((0, 43), 20),
        ((0, 44), 44),
        ((0, 200), 200),
        ((200, 0), 3),
    ],
)
def test_sum_and_difference(word, code_of, n, n_y):
    a, b = np.meshgrid(CODES, BYTES, indexing="ij")
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        got = add_fixed([a, b], n, signs, n_y, word)
        expected = [
            [
                code_of(
                    (signs[0] * value(p, n[0]) + signs[1] * value(q, n[1])) * Fraction(2) ** n_y, word, max(n) - n_y
                )
                for q in BYTES
            ]
            for p in CODES
        ]
        assert got.dtype == word.dtype
        assert got.tolist() == expected


@given(
    terms=st.lists(
        st.tuples(st.integers(-32768, 32767), st.integers(-100, 100), st.sampled_from([1, -1])),
        min_size=1,
        max_size=40,
    ),
    n_y=st.integers(-100, 100),
    word=words,
)
def test_many_operands_far_apart(terms, n_y, word, code_of):
    codes, n, signs = zip(*terms, strict=True)
    exact = sum(s * value(c, k) for c, k, s in terms) * Fraction(2) ** n_y
    got = add_fixed([np.array([c], np.int16) for c in codes], n, signs, n_y, word)
    assert got.tolist() == [code_of(exact, word, max(n) - n_y)]


def test_a_hundred_largest_codes_at_the_width_of_int64():
    for spread in (36, 37, 38, 43, 44, 45):
        n = [spread, *[0] * 99]
        got = add_fixed([np.array([65535], np.uint16)] * 100, n, [1] * 100, -10, Word(16, False, "floor"))
        assert got.tolist() == [min((65535 + 99 * 65535 * 2**spread) >> (spread + 10), 65535)]


def test_sums_broadcast():
    a, b = np.ones((2, 1, 3), np.int8), np.arange(4, dtype=np.int8)[:, None]
    got = add_fixed([a, b], [0, 1], [1, 1], 1, Word(8, True))
    assert got.shape == (2, 4, 3)
    assert got[1, :, 2].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("shift", [-200, -20, -1, 0, 1, 15, 31, 40, 63, 200])
def test_product(word, code_of, shift):
    a, b = CODES[:, None], CODES[None]
    got = multiply_fixed(a, b, shift, word)
    assert got.tolist() == [[code_of(value(int(p) * int(q), shift), word, shift) for q in CODES] for p in CODES]
    unsigned = np.array([65535], np.uint16)
    assert multiply_fixed(unsigned, unsigned, shift, word).tolist() == [code_of(value(65535**2, shift), word, shift)]


@pytest.mark.parametrize("shift", [-200, -60, -45, -44, -43, -8, -1, 0, 1, 8, 43, 44, 45, 60, 200])
def test_quotient(word, code_of, shift):
    b = CODES[CODES != 0]
    got = divide_fixed(CODES[:, None], b[None], shift, word)
    expected = [[code_of(Fraction(int(p), int(q)) * Fraction(2) ** -shift, word) for q in b] for p in CODES]
    assert got.dtype == word.dtype
    assert got.tolist() == expected


@pytest.mark.parametrize("shift", [-60, 0, 60])
def test_division_by_zero_saturates_and_counts(word, shift):
    tally = new_tally()
    a, b = np.array([-5, 0, 7], np.int16), np.array([[0], [0]], np.uint8)
    got = divide_fixed(a, b, shift, word, tally=tally)
    assert got.dtype == word.dtype
    assert got.tolist() == [[word.lowest, 0, word.most]] * 2
    assert (tally[SATURATED], tally[TOTAL]) == (6, 6)
    assert tally[LARGEST] == max(word.most, -word.lowest)


def test_tally_of_a_quotient():
    tally = new_tally()
    a, b = np.array([1, 100, 0, 100], np.int8), np.array([3, 1, 1, 0], np.int8)
    assert divide_fixed(a, b, -1, Word(8, True), tally=tally).tolist() == [1, 127, 0, 127]
    assert tally.tolist() == [2, 0, 127, 4, 0]
    assert divide_fixed(a, b, 2, Word(8, True), tally=tally).tolist() == [0, 25, 0, 127]
    assert tally.tolist() == [3, 1, 127, 8, 0]


def test_tallies_and_bounds_of_sums_and_products():
    a = np.array([-100, 1, 100], np.int8)
    tally = new_tally()
    assert add_fixed([a, a], [0, 0], [1, 1], 0, Word(8, True), low=0, tally=tally).tolist() == [0, 2, 127]
    assert tally.tolist() == [1, 0, 127, 3, 0]
    assert multiply_fixed(a, a, 2, Word(8, True), high=50, tally=tally).tolist() == [50, 0, 50]
    assert tally.tolist() == [1, 1, 127, 6, 0]


@pytest.mark.parametrize("n", [0, 150])
def test_scalars(n):
    a, b = np.array(6, np.int8), np.array(-3, np.int8)
    w = Word(8, True)
    for got, expected in [
        (add_fixed([a, b], [0, n], [1, -1], 0, w), 9 if n == 0 else 6),
        (multiply_fixed(a, b, 0, w), -18),
        (divide_fixed(a, b, n, w), -2 if n == 0 else 0),
        (divide_fixed(a, b, -n, w), -2 if n == 0 else -128),
        (divide_fixed(a, b * 0, -n, w), 127),
    ]:
        assert (got.shape, got.dtype) == ((), np.int8)
        assert got == expected


@pytest.mark.parametrize(
    ("n", "n_slope", "n_y"),
    [(3, 7, 5), (7, -2, 4), (0, 40, 3), (-3, 0, -3), (2, 140, 30), (5, 3, 50), (0, 44, 3), (0, 50, 3), (0, -29, -20)],
)
def test_prelu(word, code_of, n, n_slope, n_y):
    slopes = np.int16([-32768, -3, 0, 5, 32767])
    got = prelu_fixed(CODES[:, None], slopes, n_slope, n - n_y, word)
    dropped = n + max(n_slope, 0) - n_y
    expected = [
        [
            code_of((value(x, n) if x >= 0 else value(x, n) * value(a, n_slope)) * Fraction(2) ** n_y, word, dropped)
            for a in slopes
        ]
        for x in CODES
    ]
    assert got.dtype == word.dtype
    assert got.tolist() == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (None, None, [-3, -1, 0, 2, 5]),
        (-1.0, None, [-1, -1, 0, 2, 5]),
        (None, 2.0, [-3, -1, 0, 2, 2]),
        (0.0, 2.0, [0, 0, 0, 2, 2]),
        (0.0, -2.0, [-2] * 5),  # the upper bound is applied last
    ],
)
def test_bounds_keep_the_element_type(low, high, wanted, dtype):
    v = np.array([-3, -1, 0, 2, 5], dtype)
    np.testing.assert_array_equal(bounded(v, low, high), np.array(wanted, dtype), strict=True)
    assert bounded(v, low, high, out=v) is v
    np.testing.assert_array_equal(v, np.array(wanted, dtype), strict=True)
