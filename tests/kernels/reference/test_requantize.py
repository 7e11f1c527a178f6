from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import OVERFLOWS, ROUNDINGS

from qengine.kernels.reference.requantize import (
    LARGEST,
    SATURATED,
    TOTAL,
    UNDERFLOWED,
    dequantize,
    fit,
    new_tally,
    quantize,
    requantize,
    requantize_quotient,
)
from qengine.kernels.reference.word import Word

EDGES = [0, 1, 2, 3, 5, 63, 64, 65, 127, 128, 129, 255, 256, 32767, 32768, 65536, 2**31, 2**59 + 2**30, 2**60]
WHOLE = [sign * v for v in EDGES for sign in (1, -1)]
SHIFTS = [-200, -64, -41, -40, -17, -3, -1, 0, 1, 2, 7, 16, 59, 60, 62, 63, 64, 200]

words = st.builds(
    Word,
    st.integers(2, 16),
    st.booleans(),
    st.sampled_from(ROUNDINGS),
    st.sampled_from(OVERFLOWS),
)


def scaled(v, shift):
    return Fraction(v) * Fraction(2) ** -shift


@pytest.mark.parametrize("dtype", [np.int64, object])
def test_edges_by_every_shift(word, code_of, dtype):
    acc = np.array(WHOLE, dtype)
    for shift in SHIFTS:
        got = requantize(acc, shift, word)
        assert got.dtype == word.dtype
        assert got.tolist() == [code_of(scaled(v, shift), word, shift) for v in WHOLE], shift


def test_shift_per_channel_of_either_sign(word, code_of):
    expected = [[code_of(scaled(v, s), word, s) for s in SHIFTS] for v in WHOLE]
    for dtype in (np.int64, object):
        acc = np.array(WHOLE, dtype)[:, None]
        assert requantize(acc, np.array(SHIFTS), word).tolist() == expected
    negative = [s for s in SHIFTS if s <= 0]
    got = requantize(np.array(WHOLE)[:, None], np.array(negative), word)
    assert got.tolist() == [row[: len(negative)] for row in expected]


@given(acc=st.integers(-(2**60), 2**60), shift=st.integers(-80, 80), word=words)
def test_any_shift(acc, shift, word, code_of):
    assert requantize(np.array([acc]), shift, word).tolist() == [code_of(scaled(acc, shift), word, shift)]


@given(acc=st.integers(-(2**300), 2**300), shift=st.integers(-300, 300), word=words)
def test_integers_beyond_int64(acc, shift, word, code_of):
    assert requantize(np.array([acc], object), shift, word).tolist() == [code_of(scaled(acc, shift), word, shift)]


@given(a=st.integers(-(2**60), 2**60), b=st.integers(1, 2**60), word=words)
def test_quotient(a, b, word, code_of):
    assert requantize_quotient(np.array([a]), np.array([b]), word).tolist() == [code_of(Fraction(a, b), word)]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
def test_narrow_integers_are_widened(dtype):
    acc = np.array([np.iinfo(dtype).min, 1, np.iinfo(dtype).max], dtype)
    expected = [min(max(int(v) << 3, -32768), 32767) for v in acc]
    assert requantize(acc, -3, Word(16, True)).tolist() == expected


@pytest.mark.parametrize("dtype", [np.int64, object])
@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
@pytest.mark.parametrize("shift", [0, -1, -2, -15, -16, -60])
def test_left_shifts_into_unsigned_16_bit_words(shift, overflow, dtype):
    """An unsigned word of 16 bits holds codes above 2^15, which a left shift must leave whole before overflow."""
    acc = [sign * v for v in (0, 1, 16383, 32767, 32768, 32769, 40000, 65535, 65536, 98304) for sign in (1, -1)]
    tally = new_tally()
    codes = requantize(np.array(acc, dtype), shift, Word(16, False, overflow=overflow), tally=tally)
    exact = [v << -shift for v in acc]
    expected = [v & 0xFFFF if overflow == "wrap" else min(max(v, 0), 65535) for v in exact]
    assert codes.tolist() == expected
    assert tally[SATURATED] == sum(not 0 <= v <= 65535 for v in exact)
    mixed = requantize(np.array(acc, dtype)[:, None], np.array([shift, 1]), Word(16, False, overflow=overflow))
    assert mixed[:, 0].tolist() == expected


# Bounds as they come from an activation's constants, some outside the word.
BOUNDS = [(0, None), (None, 5), (-3, 5), (0, 1000), (-1000, 5), (-1000, 1000), (100, -100), (200, None)]


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_bounds_are_applied_after_overflow(word, code_of, low, high):
    acc = np.arange(-600, 600)
    expected = [code_of(Fraction(int(v), 2), word, 1) for v in acc]
    if low is not None:
        low_code = min(max(low, word.least), word.most)
        expected = [max(v, low_code) for v in expected]
    if high is not None:
        high_code = min(max(high, word.least), word.most)
        expected = [min(v, high_code) for v in expected]
    assert requantize(acc, 1, word, low=low, high=high).tolist() == expected


def test_tally_counts():
    word = Word(8, True)
    tally = new_tally()
    codes = requantize(np.array([0, 1, 2, -2, 3, 508, 510, 600, -600, -512]), 2, word, tally=tally)
    #                                  0, .25, .5, -.5, .75, 127, 127.5 -> 128, 150, -150, -128
    assert codes.tolist() == [0, 0, 0, 0, 1, 127, 127, 127, -128, -128]
    assert (tally[SATURATED], tally[UNDERFLOWED], tally[LARGEST], tally[TOTAL]) == (3, 3, 128, 10)
    requantize(np.array([4, 1]), 2, word, tally=tally)
    assert tally.tolist() == [3, 4, 128, 12, 0]


def test_tally_adds_nothing_for_nothing():
    tally = new_tally()
    requantize(np.zeros((0, 3), np.int64), 2, Word(8, True), tally=tally)
    assert tally.tolist() == [0, 0, 0, 0, 0]


def test_tally_of_wrapping_counts_what_would_have_saturated():
    word = Word(8, True, overflow="wrap")
    tally = new_tally()
    codes = requantize(np.array([127, 128, 256, 1 << 50, -129]), 0, word, tally=tally)
    assert codes.tolist() == [127, -128, 0, 0, 127]
    assert tally.tolist() == [4, 0, 128, 5, 0]  # wrapped to 0 is not flushed to 0
    tally = new_tally()
    codes = requantize(np.array([1, 1]), np.array([-60, 60]), word, tally=tally)
    assert (codes.tolist(), tally.tolist()) == ([0, 0], [1, 1, 0, 2, 0])


@pytest.mark.parametrize(
    ("low", "high", "overflow", "saturated"),
    [
        (None, None, "saturate", 2),
        (0, None, "saturate", 1),  # the activation cuts what lies below
        (0, 127, "saturate", 0),
        (-128, None, "saturate", 1),
        (None, 200, "saturate", 2),  # a bound outside the word cuts nothing
        (-1000, 50, "saturate", 1),
        (0, 127, "wrap", 2),  # a wrapped code is wrong whatever the activation makes of it
        (0, 127, "zero", 2),
        (-127, None, "symmetric", 1),
        (-128, None, "symmetric", 2),
        (0, 127, "symmetric", 0),
    ],
)
def test_tally_leaves_out_what_the_activation_cuts(low, high, overflow, saturated):
    tally = new_tally()
    word = Word(8, True, overflow=overflow)
    requantize(np.array([-500, 1, 500]), 0, word, low=low, high=high, tally=tally)
    assert tally[SATURATED] == saturated


@given(
    acc=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=6),
    shift=st.integers(-20, 45),
    low=st.none() | st.integers(-300, 300),
    high=st.none() | st.integers(-300, 300),
    word=words,
)
def test_tally_never_changes_a_result(acc, shift, low, high, word):
    acc = np.array(acc)
    plain = requantize(acc, shift, word, low=low, high=high)
    counted = requantize(acc, shift, word, low=low, high=high, tally=new_tally())
    assert plain.tolist() == counted.tolist()


def test_fit_alone_counts_what_it_is_given():
    tally = new_tally()
    assert fit(np.array([0, 5, 300]), Word(8, True), tally=tally).tolist() == [0, 5, 127]
    assert tally.tolist() == [1, 0, 127, 3, 0]


@pytest.mark.parametrize(
    ("overflow", "signed", "unsigned"),
    [
        ("saturate", [-4, -4, -4, -3, 0, 3, 3, 3, 3], [0, 0, 0, 0, 0, 3, 4, 7, 7]),
        ("symmetric", [-3, -3, -3, -3, 0, 3, 3, 3, 3], [0, 0, 0, 0, 0, 3, 4, 7, 7]),
        ("wrap", [-1, 3, -4, -3, 0, 3, -4, 0, 1], [7, 3, 4, 5, 0, 3, 4, 0, 1]),
        ("zero", [0, 0, -4, -3, 0, 3, 0, 0, 0], [0, 0, 0, 0, 0, 3, 4, 0, 0]),
    ],
)
def test_hand_table_of_overflows(overflow, signed, unsigned):
    """Words of 3 bits; ap_fixed's SAT, SAT_SYM, WRAP and SAT_ZERO."""
    values = np.array([-9, -5, -4, -3, 0, 3, 4, 8, 9])
    for is_signed, expected in ((True, signed), (False, unsigned)):
        word = Word(3, is_signed, overflow=overflow)
        assert requantize(values, 0, word).tolist() == expected
        assert quantize(values.astype(np.float32), 0, word).tolist() == expected
        assert quantize(np.ldexp(values, -2).astype(np.float32), 2, word).tolist() == expected
        counted = [new_tally() for _ in range(2)]
        requantize(values, 0, word, tally=counted[0])
        quantize(values.astype(np.float32), 0, word, tally=counted[1])
        assert counted[0].tolist() == counted[1].tolist()
        assert counted[0][SATURATED] == sum(not word.lowest <= v <= word.most for v in values.tolist())
        assert counted[0][UNDERFLOWED] == 0


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_whole_numbers_are_rounded_as_real_ones(rounding):
    """A format with a step of 8: integers are no shifts, so that tflite and ruy round them once."""
    values = np.arange(-50, 50)
    word = Word(8, True, rounding)
    assert quantize(values, -3, word).tolist() == quantize(values.astype(np.float64), -3, word).tolist()


def test_unknown_overflow():
    word = Word(8, True, overflow="explode")
    for call in (lambda: requantize(np.array([1]), 0, word), lambda: quantize(np.array([1.0]), 0, word)):
        with pytest.raises(ValueError, match="no overflow is named 'explode'"):
            call()


@pytest.mark.parametrize("dtype", [np.int64, object])
@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_scalars_stay_arrays(word, code_of, dtype, shift):
    got = requantize(np.array(100, dtype), shift, word, low=-1, tally=new_tally())
    assert (type(got), got.shape) == (np.ndarray, ())
    assert got == max(code_of(scaled(100, shift), word, shift), max(-1, word.least))


REALS = [0.0, 0.25, 0.5, 0.75, 1.5, 2.5, 127.4, 127.5, 128.0, 255.5, 256.0, 65535.5, 1e9, 2.0**70, 3.4e38]
SUBNORMAL = 2.0**-149


@pytest.mark.parametrize("n", [-112, -8, -1, 0, 1, 3, 15, 149])
def test_quantize(word, code_of, n):
    values = [sign * v for v in [*REALS, SUBNORMAL, 3 * SUBNORMAL, 1e-40] for sign in (1, -1)]
    x = np.array(values, np.float32)
    tally = new_tally()
    got = quantize(x, n, word, tally=tally)
    assert got.dtype == word.dtype
    assert got.tolist() == quantize(x, n, word).tolist()
    exact = [scaled(float(v), -n) for v in x]
    assert got.tolist() == [code_of(v, word) for v in exact]
    beyond = word._replace(bits=300, signed=True)
    whole = [code_of(v, beyond) for v in exact]
    assert tally[SATURATED] == sum(not word.lowest <= v <= word.most for v in whole)
    assert tally[UNDERFLOWED] == sum(v == 0 != e for v, e in zip(whole, exact, strict=True))
    assert tally[LARGEST] == max(abs(int(v)) for v in got)
    assert tally[TOTAL] == len(values)


@given(x=st.floats(allow_nan=False, allow_infinity=False), n=st.integers(-200, 200), word=words)
def test_quantize_float64_to_its_very_ends(x, n, word, code_of):
    assert quantize(np.array([x]), n, word).tolist() == [code_of(scaled(x, -n), word)]


@pytest.mark.parametrize("x", [5e-324, -5e-324, 1e-310, 1.7e308, -1.7e308])
def test_quantize_what_scaling_takes_out_of_float64(word, code_of, x):
    for n in (-2000, -112, -1, 149, 2000):
        assert quantize(np.array(x), n, word) == code_of(scaled(x, -n), word)


def test_quantize_infinities_saturate_in_every_overflow(word):
    tally = new_tally()
    x = np.array([np.inf, -np.inf], np.float32)
    assert quantize(x, 3, word, tally=tally).tolist() == [word.most, word.lowest]
    assert tally.tolist() == [2, 0, max(word.most, -word.lowest), 2, 0]


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.int32, np.int64, np.uint64, np.float16])
def test_quantize_other_types(word, code_of, dtype):
    if dtype == np.float16:
        x = np.array([0.1, -2.5, 65504, 6e-8, -np.inf], dtype)
    elif dtype == np.bool_:
        x = np.array([True, False])
    else:
        info = np.iinfo(dtype)
        x = np.array([info.min, 0, 1, 5, info.max - 1, info.max], dtype)
    for n in (-70, -1, 0, 2, 70):
        expected = [
            (word.lowest if v < 0 else word.most) if v in (np.inf, -np.inf) else code_of(scaled(v, -n), word)
            for v in x.tolist()
        ]
        assert quantize(x, n, word).tolist() == expected


def test_quantize_and_dequantize_per_channel():
    n = np.array([[0], [3]])
    x = np.array([[1.5, 2.5], [1.5, -2.5]], np.float32)
    codes = quantize(x, n, Word(8, True))
    assert codes.tolist() == [[2, 2], [12, -20]]
    assert dequantize(codes, n).tolist() == [[2.0, 2.0], [1.5, -2.5]]


def test_dequantize():
    codes = np.array([-128, -1, 0, 127], np.int8)
    for n in (-112, -1, 0, 3, 140):
        real = dequantize(codes, n)
        assert real.dtype == np.float32
        assert [Fraction(float(v)) for v in real] == [scaled(int(c), n) for c in codes]
    assert dequantize(np.array(3, np.int8), 1).shape == ()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16])
def test_codes_as_real_numbers(dtype):
    codes = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1).astype(dtype)
    for n in (-100, -3, 0, 20, 101, 140, np.arange(codes.size) % 7 * 30 - 90):
        found = dequantize(codes, n)
        assert found.dtype == np.float32
        with np.errstate(over="ignore", under="ignore"):
            np.testing.assert_array_equal(found, np.ldexp(codes.astype(np.float64), np.negative(n)).astype(np.float32))
