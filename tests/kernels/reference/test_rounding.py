from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import ROUNDINGS

from qengine.kernels.reference.rounding import divide, integer_dtype, round_real, shift_left, shift_right
from qengine.kernels.reference.rounding_table import ROUNDINGS as ROUNDING_RULES

# Value, and what it is rounded to by half_even, half_up, half_down, half_away, half_zero, floor, ceil, trunc, away; the
# last two are those of a shift by 2 or more that rounds twice: tflite, ruy.
TABLE = {
    -2.75: (-3, -3, -3, -3, -3, -3, -2, -2, -3, -3, -2),
    -2.5: (-2, -2, -3, -3, -2, -3, -2, -2, -3, -3, -2),
    -2.25: (-2, -2, -2, -2, -2, -3, -2, -2, -3, -2, -2),
    -2.0: (-2, -2, -2, -2, -2, -2, -2, -2, -2, -2, -2),
    -1.75: (-2, -2, -2, -2, -2, -2, -1, -1, -2, -2, -1),
    -1.5: (-2, -1, -2, -2, -1, -2, -1, -1, -2, -2, -1),
    -1.25: (-1, -1, -1, -1, -1, -2, -1, -1, -2, -1, -1),
    -0.75: (-1, -1, -1, -1, -1, -1, 0, 0, -1, -1, 0),
    -0.5: (0, 0, -1, -1, 0, -1, 0, 0, -1, -1, 0),
    -0.25: (0, 0, 0, 0, 0, -1, 0, 0, -1, 0, 0),
    0.0: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    0.25: (0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1),
    0.5: (0, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1),
    0.75: (1, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1),
    1.25: (1, 1, 1, 1, 1, 1, 2, 1, 2, 2, 2),
    1.5: (2, 2, 1, 2, 1, 1, 2, 1, 2, 2, 2),
    1.75: (2, 2, 2, 2, 2, 1, 2, 1, 2, 2, 2),
    2.5: (2, 3, 2, 3, 2, 2, 3, 2, 3, 3, 3),
    3.5: (4, 4, 3, 4, 3, 3, 4, 3, 4, 4, 4),
}
COLUMN = {rounding: i for i, rounding in enumerate(ROUNDINGS)}
UNSHIFTED = {"tflite": "half_away", "ruy": "half_up"}  # what quotients and real numbers are rounded by

EDGES = [0, 1, 2, 3, 2**31, 2**53 + 1, 2**59 - 1, 2**59, 3 * 2**58, 2**60 - 1, 2**60]
WHOLE = [sign * v for v in EDGES for sign in (1, -1)]
modes = st.sampled_from(list(COLUMN))
int60 = st.integers(-(2**60), 2**60)


@pytest.mark.parametrize("dtype", [np.int64, object])
def test_hand_table_of_shifts_and_quotients(rounding, dtype):
    quarters = np.array([int(4 * v) for v in TABLE], dtype)
    assert shift_right(quarters, 2, rounding).tolist() == [row[COLUMN[rounding]] for row in TABLE.values()]
    expected = [row[COLUMN[UNSHIFTED.get(rounding, rounding)]] for row in TABLE.values()]
    assert divide(quarters, 4, rounding).tolist() == expected
    assert divide(quarters * 3, 12, rounding).tolist() == expected


def high_mul(a, b):
    """gemmlowp's SaturatingRoundingDoublingHighMul: (a * b) / 2^31, rounded by a nudge and a division of C."""
    product = a * b
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    return abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)


def rounding_divide(a, exponent):
    """gemmlowp's RoundingDivideByPOT."""
    mask = (1 << exponent) - 1
    return (a >> exponent) + ((a & mask) > (mask >> 1) + (a < 0))


def rounding_shift(a, exponent):
    """ruy's rounding shift to the right: half up."""
    return (a + ((1 << exponent) >> 1)) >> exponent


@pytest.mark.parametrize("shift", [1, 2, 3, 8, 17, 30])
@pytest.mark.parametrize(("rounding", "then"), [("tflite", rounding_divide), ("ruy", rounding_shift)])
def test_two_steps_of_fixed_point_multiplication(rounding, then, shift):
    """A factor of 2^-shift is the multiplier 2^30 and a shift by 1 - shift."""
    near = [k * (1 << shift) // 4 + d for k in range(-13, 14) for d in (-2, -1, 0, 1, 2)]
    values = [*range(-600, 600), *near, 2**31 - 1, -(2**31), 2**31 - 2**shift + 1]
    expected = [then(high_mul(a, 1 << 30), shift - 1) for a in values]
    assert shift_right(np.array(values), shift, rounding).tolist() == expected


@pytest.mark.parametrize("shift", [0, 1, 2, 3, 5])
def test_constants_of_a_table_row(shift, rounding):
    """Written out: a + base + parity + negative, shifted; a shift by 0 adds nothing."""
    rule = ROUNDING_RULES[rounding]
    base, parity, negative = (part.of(shift) for part in (rule.base, rule.parity, rule.negative))
    values = list(range(-70, 70))
    got = [(a + base + (parity & (a >> shift)) + (negative & (a >> 63))) >> shift for a in values]
    assert got == (shift_right(np.array(values), shift, rounding).tolist() if shift else values)
    assert rule.addend.of(shift) == base + parity <= 1 << shift  # the headroom that kernels leave
    assert rule.looks_at_sign == (rounding in ("half_away", "half_zero", "trunc", "away", "tflite"))


def test_hand_table_of_reals(rounding):
    expected = [row[COLUMN[UNSHIFTED.get(rounding, rounding)]] for row in TABLE.values()]
    assert round_real(np.array(list(TABLE)), rounding).tolist() == expected


@pytest.mark.parametrize("dtype", [np.int64, object])
@pytest.mark.parametrize("shift", [1, 2, 31, 52, 59, 60, 61, 62, 63, 64, 100, 200])
def test_shift_right_at_the_edges(rounding, round_exact, dtype, shift):
    got = shift_right(np.array(WHOLE, dtype), shift, rounding)
    assert got.dtype == dtype
    assert got.tolist() == [round_exact(Fraction(v, 2**shift), rounding, shift) for v in WHOLE]


def test_shift_right_of_integers_beyond_int64(rounding, round_exact):
    values = [sign * v for v in (2**100, 2**100 + 2**69, 3 * 2**69, 2**200 - 1, 2**70) for sign in (1, -1)]
    for shift in (1, 70, 200):
        for given_shift in (shift, np.int64(shift)):
            got = shift_right(np.array(values, object), given_shift, rounding)
            assert got.tolist() == [round_exact(Fraction(v, 2**shift), rounding, shift) for v in values]


@given(values=st.lists(st.tuples(int60, st.integers(1, 200)), min_size=1, max_size=8), rounding=modes)
def test_shift_per_channel(values, rounding, round_exact):
    a, shift = (np.array(v, np.int64) for v in zip(*values, strict=True))
    expected = [[round_exact(Fraction(int(v), 2 ** int(s)), rounding, int(s)) for s in shift] for v in a]
    assert shift_right(a[:, None], shift, rounding).tolist() == expected
    assert shift_right(a[:, None].astype(object), shift, rounding).tolist() == expected


@given(a=int60, by=st.integers(1, 2**60), rounding=modes)
def test_divide(a, by, rounding, round_exact):
    expected = round_exact(Fraction(a, by), rounding)
    assert divide(np.array([a]), by, rounding).tolist() == [expected]
    assert divide(np.array([a], object), np.array([by]), rounding).tolist() == [expected]


@given(q=st.integers(-(2**29), 2**29), half=st.integers(1, 2**29), rounding=modes)
def test_divide_at_ties(q, half, rounding, round_exact):
    a, by = (2 * q + 1) * half, 2 * half
    assert divide(np.array([a]), by, rounding).tolist() == [round_exact(Fraction(a, by), rounding)]


MIRRORED = {"half_up": "half_down", "half_down": "half_up", "floor": "ceil", "ceil": "floor"}


@given(a=int60, b=int60, shift=st.integers(1, 61), rounding=modes)
def test_order_distance_and_sign(a, b, shift, rounding):
    """A larger number is not rounded to a smaller one, and none by a step or more; most modes have a mirror image."""
    low, high = (int(shift_right(np.array([v]), shift, rounding)[0]) for v in sorted((a, b)))
    assert low <= high
    assert abs(Fraction(low) - Fraction(min(a, b), 2**shift)) < 1
    if rounding not in ("tflite", "ruy"):
        other = MIRRORED.get(rounding, rounding)
        assert shift_right(np.array([-max(a, b)]), shift, other).tolist() == [-high]


def test_divide_beyond_int64(rounding, round_exact):
    by = 2**90 + 2
    values = [by // 2, -by // 2, 3 * by // 2, by // 2 + 1, -(by // 2) - 1, 7 * by]
    got = divide(np.array(values, object), by, rounding)
    assert got.tolist() == [round_exact(Fraction(v, by), rounding) for v in values]


@given(x=st.floats(allow_nan=False, allow_infinity=False), rounding=modes)
def test_round_real(x, rounding, round_exact):
    assert int(round_real(np.array(x), rounding)) == round_exact(Fraction(x), rounding)


@given(q=st.integers(-(2**51), 2**51), rounding=modes)
def test_round_real_at_ties_and_next_to_them(q, rounding, round_exact):
    tie = q + 0.5
    for x in (tie, np.nextafter(tie, -np.inf), np.nextafter(tie, np.inf)):
        assert int(round_real(np.array(x), rounding)) == round_exact(Fraction(x), rounding)


def test_round_real_leaves_infinities(rounding):
    assert round_real(np.array([np.inf, -np.inf]), rounding).tolist() == [np.inf, -np.inf]


def test_shift_left_is_exact_up_to_40_and_holds_there():
    codes = [-32768, -1, 0, 1, 65535]
    for dtype in (np.int64, object):
        a = np.array(codes, dtype)
        for shift in (0, 1, 40, 41, 1000):
            got = shift_left(a, shift)
            assert got.dtype == dtype
            assert got.tolist() == [v << min(shift, 40) for v in codes]
    assert shift_left(np.array([3, 5]), np.array([2, 90])).tolist() == [12, 5 << 40]


@pytest.mark.parametrize("dtype", [np.int64, object])
def test_arrays_without_axes_and_without_elements(rounding, dtype):
    for a in (np.array(7, dtype), np.zeros((0, 3), dtype)):
        for got in (shift_right(a, 1, rounding), divide(a, 2, rounding), shift_left(a, 1)):
            assert (got.shape, got.dtype) == (a.shape, dtype)


def test_integer_dtype_leaves_room():
    assert integer_dtype(60) == np.int64
    assert integer_dtype(61) == np.dtype(object)


@pytest.mark.parametrize("function", [shift_right, divide])
def test_unknown_rounding(function):
    with pytest.raises(ValueError, match="no rounding is named 'stochastic'"):
        function(np.array([1]), 1, "stochastic")
    with pytest.raises(ValueError, match="no rounding is named 'stochastic'"):
        round_real(np.array([1.0]), "stochastic")
