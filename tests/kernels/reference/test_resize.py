from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from qengine.kernels.reference.coordinates import Axis
from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, UNDERFLOWED, new_tally
from qengine.kernels.reference.resize import (
    ResizeTaps,
    integer_taps,
    interpolate_fixed,
    interpolate_float,
    interpolation_taps,
    nearest_taps,
    pick,
)
from qengine.kernels.reference.word import Word

LINEAR = [{"mode": "linear", "antialias": a, "exclude_outside": e} for a, e in [(0, 0), (0, 1), (1, 0), (1, 1)]]
CUBIC = [{**o, "mode": "cubic", "cubic_coeff_a": c} for o in LINEAR for c in (-0.75, -0.5)]


def axis(number, size, out, scale, roi=(0.0, 1.0)):
    return Axis(number, size, out, Fraction(scale), roi)


def cubic_taps(a, **options):
    options = {"cubic_coeff_a": -0.75, "exclude_outside": False, "antialias": False, **options}
    return interpolation_taps(a, "cubic", "half_pixel", **options)


@pytest.mark.parametrize("bits", [11, 14])
@pytest.mark.parametrize("scale", [2.0, 3.0, 1.7, 0.3, 0.01, 0.001])
@pytest.mark.parametrize("options", LINEAR + CUBIC[::2])
def test_integer_taps_sum_to_one(bits, scale, options):
    size = 7 if scale > 0.1 else 5000
    taps = interpolation_taps(
        axis(0, size, int(size * scale), scale),
        options["mode"],
        "half_pixel",
        cubic_coeff_a=-0.75,
        exclude_outside=bool(options["exclude_outside"]),
        antialias=bool(options["antialias"]),
    )
    whole = integer_taps(taps, bits)
    assert whole.weight.dtype == np.int64
    assert set(whole.weight.sum(axis=1).tolist()) == {1 << bits}
    changed = whole.weight != np.rint(np.ldexp(taps.weight, bits))
    assert changed.sum(axis=1).max() <= 1


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.5, 0.5], [4, 4]),
        ([1 / 3, 1 / 3, 1 / 3], [2, 3, 3]),  # 3 3 3: the first of the largest gives one back
        ([0.1875, 0.8125], [2, 6]),  # 1.5 and 6.5 are ties, to even
        ([0.3125, 0.6875], [2, 6]),  # 2.5 and 5.5: 2 6
        ([0.0625, 0.9375], [0, 8]),  # 0.5 and 7.5
        ([0.1, 0.2, 0.7], [1, 2, 5]),  # 0.8 1.6 5.6 -> 1 2 6, the last gives one back
        ([-0.1, 0.6, 0.6, -0.1], [-1, 5, 5, -1]),
        ([-0.07, 0.57, 0.57, -0.07], [-1, 5, 5, -1]),  # -0.56 4.56
        ([0.02] * 50, [8] + [0] * 49),  # each rounds to nothing
        ([0.0, 0.0], [0, 0]),  # all excluded
    ],
)
def test_integer_taps_by_hand(weights, expected):
    index = np.zeros((1, len(weights)), np.intp)
    assert integer_taps(ResizeTaps(index, np.array([weights]), None), 3).weight.tolist() == [expected]


def exact_sum(x, axes, taps, at):
    """Return the exact weighted sum at one output, tap by tap."""
    total = 0
    for chosen in product(*(range(t.weight.shape[1]) for t in taps)):
        weight, place = 1, list(at)
        for a, t, k in zip(axes, taps, chosen, strict=True):
            weight *= int(t.weight[at[a.axis], k])
            place[a.axis] = int(t.index[at[a.axis], k])
        total += weight * int(x[tuple(place)])
    return total


def test_fixed_against_loops(word, code_of):
    x = np.random.default_rng(3).integers(-128, 128, (2, 4, 5)).astype(np.int8)
    axes = [axis(1, 4, 7, 1.75), axis(2, 5, 3, 0.6)]
    taps = [integer_taps(cubic_taps(a, antialias=True), 11) for a in axes]
    for shift in (0, 3, -4, -30):
        tally = new_tally()
        got = interpolate_fixed(x, axes, taps, 11, shift, word, 0, tally=tally)
        assert (got.shape, got.dtype) == ((2, 7, 3), word.dtype)
        saturated = 0
        for at in np.ndindex(got.shape):
            exact = Fraction(exact_sum(x, axes, taps, at), 1 << 22) * Fraction(2) ** -shift
            assert got[at] == code_of(exact, word, 22 + shift)
            whole = code_of(exact, word._replace(bits=200, signed=True), 22 + shift)
            saturated += not word.lowest <= whole <= word.most
        assert (tally[SATURATED], tally[TOTAL]) == (saturated, got.size)


def test_fixed_over_more_axes_than_int64_holds():
    """Four axes of 14 bits and cubic's overshoot leave 60 bits: sums become Python integers."""
    x = np.full((2, 2, 2, 2), 32767, np.int16)
    x[0, 0, 0, 0] = -32768
    axes = [axis(i, 2, 3, 1.5) for i in range(4)]
    taps = [integer_taps(cubic_taps(a), 14) for a in axes]
    word = Word(16, True, "floor")
    got = interpolate_fixed(x, axes, taps, 14, 0, word, 0)
    for at in [(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (0, 2, 1, 0), (2, 0, 0, 1)]:
        assert got[at] == np.clip(exact_sum(x, axes, taps, at) >> 56, -32768, 32767)


def test_a_constant_stays_constant_in_fixed_point():
    for code in (-128, -1, 77, 127):
        axes = [axis(0, 5, 12, 2.4), axis(1, 6, 2, Fraction(1, 3))]
        taps = [integer_taps(cubic_taps(a, antialias=True, exclude_outside=True), 11) for a in axes]
        got = interpolate_fixed(np.full((5, 6), code, np.int8), axes, taps, 11, 0, Word(8, True), 0)
        assert set(got.ravel().tolist()) == {code}


def test_cubic_overshoot_saturates_and_is_counted():
    x = np.array([-128, -128, 127, 127], np.int8)
    axes, tally = [axis(0, 4, 8, 2.0)], new_tally()
    got = interpolate_fixed(x, axes, [integer_taps(cubic_taps(axes[0]), 11)], 11, 0, Word(8, True), 0, tally=tally)
    assert got.tolist() == [-128, -128, -128, -70, 69, 127, 127, 127]
    assert (tally[SATURATED], tally[UNDERFLOWED], tally[LARGEST], tally[TOTAL]) == (4, 0, 128, 8)


CROP = [axis(0, 3, 3, 1.0, (-0.5, 0.5)), axis(1, 3, 3, 1.0, (0.5, 1.5))]  # rows -1 0 1, columns 1 2 3


@pytest.mark.parametrize("kind", ["nearest", "linear", "cubic"])
def test_outside_is_filled_and_never_counted(kind):
    x = np.arange(100, 109).reshape(3, 3)
    expected = [[-9, -9, -9], [101, 102, -9], [104, 105, -9]]
    mode = "tf_crop_and_resize"
    if kind == "nearest":
        taps = [nearest_taps(a, mode, "floor") for a in CROP]
        assert pick(x.astype(np.int8), CROP, taps, -9).tolist() == expected
        return
    options = {"cubic_coeff_a": -0.75, "exclude_outside": False, "antialias": False}
    taps = [interpolation_taps(a, kind, mode, **options) for a in CROP]
    assert interpolate_float(x.astype(np.float32), CROP, taps, -9.0).tolist() == expected
    whole, tally = [integer_taps(t, 11) for t in taps], new_tally()
    got = interpolate_fixed(x.astype(np.int8), CROP, whole, 11, 0, Word(8, True), -9, tally=tally)
    assert got.tolist() == expected
    assert tally.tolist() == [0, 0, 105, 9, 0]
    assert interpolate_float(x.astype(np.float32), CROP, taps, np.inf)[0].tolist() == [np.inf] * 3


def test_a_fill_counts_only_where_something_is_outside():
    x, axes, weight = np.int8([3, -4]), [axis(0, 2, 2, 1.0)], np.int64([[2], [2]])
    for outside, codes in ((None, [3, -4]), ([False, False], [3, -4]), ([True, False], [100, -4])):
        taps = [ResizeTaps(np.array([[0], [1]]), weight, outside and np.array(outside))]
        tally = new_tally()
        got = interpolate_fixed(x, axes, taps, 1, 0, Word(8, True), 100, tally=tally)
        assert got.tolist() == interpolate_fixed(x, axes, taps, 1, 0, Word(8, True), 100).tolist() == codes
        assert tally[LARGEST] == max(map(abs, codes))


def test_what_the_edge_would_have_given_outside_is_not_counted():
    taps = ResizeTaps(np.array([[0], [1]]), np.array([[2], [2]]), np.array([False, True]))
    for code, shift in [(100, 0), (1, 3)]:  # would saturate, would be flushed
        tally = new_tally()
        x = np.array([0, code], np.int8)
        got = interpolate_fixed(x, [axis(0, 2, 2, 1.0)], [taps], 1, shift, Word(3, True), -2, tally=tally)
        assert got.tolist() == [0, -2]
        assert tally.tolist() == [0, 0, 2, 2, 0]


def test_input_is_left_alone_and_dtypes_are_kept():
    axes = [axis(1, 3, 6, 2.0), axis(2, 3, 3, 1.0, (0.5, 1.5))]
    for dtype in (np.int8, np.uint16, np.float32, np.float64, np.int64, np.bool_):
        x = np.arange(18).reshape(2, 3, 3).astype(dtype)
        before = x.copy()
        got = pick(x, axes, [nearest_taps(a, "tf_crop_and_resize", "floor") for a in axes], 1)
        assert (got.shape, got.dtype) == ((2, 6, 3), dtype)
        assert np.array_equal(x, before)
    taps = [cubic_taps(a) for a in axes[:1]]
    assert interpolate_float(x.astype(np.float64), axes[:1], taps, 0.0).dtype == np.float64


def test_nothing_to_resize():
    x = np.array([1, -3], np.int8)
    assert pick(x, [], [], 0).tolist() == [1, -3]
    assert interpolate_fixed(x, [], [], 11, 1, Word(8, True, "floor"), 0).tolist() == [0, -2]
    empty = axis(0, 3, 0, 0.2)
    assert interpolate_float(np.ones((3, 2)), [empty], [cubic_taps(empty)], 0.0).shape == (0, 2)
    whole = integer_taps(cubic_taps(empty), 11)
    assert interpolate_fixed(np.ones((3, 2), np.int8), [empty], [whole], 11, 0, Word(8, True), 0).shape == (0, 2)


@pytest.mark.parametrize("kind", ["linear", "cubic"])
def test_an_axis_that_vanishes_has_no_taps_however_wide_the_kernel(kind):
    for scale in (1e-7, 1e-30):
        a = axis(0, 4, 0, scale)
        taps = interpolation_taps(a, kind, "half_pixel", cubic_coeff_a=-0.75, exclude_outside=True, antialias=True)
        assert taps.index.shape == taps.weight.shape == (0, 1)
        assert integer_taps(taps, 14).weight.shape == (0, 1)
