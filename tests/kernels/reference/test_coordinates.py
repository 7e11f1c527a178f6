"""Coordinates by hand, and beside ONNX's formulas computed one index at a time in rational numbers."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest

from qengine.kernels.reference.coordinates import FAR, Axis, coordinates

HALF = Fraction(1, 2)
PICKS = {
    "round_prefer_floor": lambda x: ceil(x - HALF),
    "round_prefer_ceil": lambda x: floor(x + HALF),
    "floor": floor,
    "ceil": ceil,
}
FORMULAS = {
    "half_pixel": lambda i, a, _: (i + HALF) / a.scale - HALF,
    "half_pixel_symmetric": lambda i, a, m: Fraction(a.size, 2) * (1 - a.out / m) + (i + HALF) / a.scale - HALF,
    "pytorch_half_pixel": lambda i, a, _: (i + HALF) / a.scale - HALF if a.out > 1 else Fraction(0),
    "align_corners": lambda i, a, m: i * (a.size - 1) / (m - 1) if a.out > 1 else Fraction(0),
    "asymmetric": lambda i, a, _: i / a.scale,
    "tf_half_pixel_for_nn": lambda i, a, _: (i + HALF) / a.scale,
    "tf_crop_and_resize": lambda i, a, m: (
        crop(a)[0] * (a.size - 1) + i * (crop(a)[1] - crop(a)[0]) * (a.size - 1) / (m - 1)
        if a.out > 1
        else HALF * sum(crop(a)) * (a.size - 1)
    ),
}
LENGTHS = [(n, m) for n in (1, 2, 5, 7, 9, 14, 22) for m in (1, 2, 3, 8, 17, 29, 38)]
SCALES = [float(np.float32(s)) for s in (0.3, 0.6, 0.7, 1 / 3, 1.2, 1.4, 10 / 7, 2.0, 1.5)]


def crop(a):
    return [Fraction(r) for r in a.roi]


def axis(size, out, scale, roi=(0.0, 1.0)):
    return Axis(0, size, out, Fraction(scale), roi)


def axes():
    """Return axes to sizes, and by scales of float32 with the length that their product has in float32."""
    regions = [(0.0, 1.0), (0.25, 0.75), (float(np.float32(-0.1)), float(np.float32(1.3))), (0.9, 0.1)]
    by_size = [axis(n, m, Fraction(m, n), r) for n, m in LENGTHS for r in regions]
    lengths = [(n, int(np.float32(n) * np.float32(s)), s) for n in (5, 7, 10, 23) for s in SCALES]
    return by_size + [axis(n, m, s, r) for n, m, s in lengths if m for r in regions]


@pytest.mark.parametrize("mode", FORMULAS)
def test_every_coordinate_and_pick_is_exact(mode):
    for a in axes():
        resized = max(a.scale * a.size, Fraction(a.out))
        length = a.scale * a.size if mode == "half_pixel_symmetric" else resized
        wanted = [FORMULAS[mode](i, a, length) for i in range(a.out)]
        got = coordinates(a, mode)
        exact = [w + Fraction(int(r), got.denominator) for w, r in zip(got.whole.tolist(), got.rest, strict=True)]
        assert exact == wanted, a
        assert got.fraction.tolist() == [float(w - floor(w)) for w in wanted], a
        assert got.outside(a.size).tolist() == [not 0 <= w <= a.size - 1 for w in wanted], a
        for name, pick in PICKS.items():
            for shrinks in (False, True):
                assert got.nearest(name, shrinks=shrinks).tolist() == [pick(w) for w in wanted], (a, name)


@pytest.mark.parametrize(
    ("mode", "a", "expected"),
    [
        ("half_pixel", axis(4, 2, 0.5), [0.5, 2.5]),
        ("half_pixel", axis(2, 4, 2), [-0.25, 0.25, 0.75, 1.25]),
        ("half_pixel_symmetric", axis(5, 2, 0.5), [1.0, 3.0]),
        ("pytorch_half_pixel", axis(2, 4, 2), [-0.25, 0.25, 0.75, 1.25]),
        ("pytorch_half_pixel", axis(4, 1, 0.25), [0.0]),
        ("align_corners", axis(3, 5, Fraction(5, 3)), [0.0, 0.5, 1.0, 1.5, 2.0]),
        ("align_corners", axis(4, 1, 0.25), [0.0]),
        ("align_corners", axis(5, 2, 0.5), [0.0, Fraction(8, 3)]),
        ("asymmetric", axis(4, 2, 0.5), [0.0, 2.0]),
        ("tf_half_pixel_for_nn", axis(4, 2, 0.5), [1.0, 3.0]),
        ("tf_crop_and_resize", axis(5, 3, Fraction(3, 5), (0.25, 0.75)), [1.0, 2.0, 3.0]),
        ("tf_crop_and_resize", axis(5, 1, Fraction(1, 5), (0.25, 1.0)), [2.5]),
        ("tf_crop_and_resize", axis(5, 1, 0.3, (0.25, 1.0)), [2.5]),
        ("half_pixel_symmetric", axis(0, 0, 2), []),
        ("align_corners", axis(3, 0, 0.2), []),
    ],
)
def test_by_hand(mode, a, expected):
    got = coordinates(a, mode)
    exact = [w + Fraction(int(r), got.denominator) for w, r in zip(got.whole.tolist(), got.rest, strict=True)]
    assert exact == expected


NEXT_BELOW_HALF = float(np.nextafter(0.5, 0.0))


@pytest.mark.parametrize(
    ("mode", "a", "picked"),
    [
        # Per coordinate: what round_prefer_floor, round_prefer_ceil, floor and ceil pick.
        ("asymmetric", axis(3, 6, 2), ["0000", "0101", "1111", "1212", "2222", "2323"]),
        ("asymmetric", axis(8, 4, 0.5), ["0000", "2222", "4444", "6666"]),
        ("tf_crop_and_resize", axis(2, 1, 0.5, (0.5, 0.5)), ["0101"]),
        ("tf_crop_and_resize", axis(2, 1, 0.5, (NEXT_BELOW_HALF,) * 2), ["0001"]),
    ],
)
def test_nearest_by_hand(mode, a, picked):
    got = coordinates(a, mode)
    for k, name in enumerate(PICKS):
        assert got.nearest(name, shrinks=False).tolist() == [int(p[k]) for p in picked]


@pytest.mark.parametrize(
    ("mode", "a", "index", "picked"),
    [("align_corners", axis(7, 29, Fraction(29, 7)), 14, 3), ("half_pixel", axis(7, 17, Fraction(17, 7)), 8, 3)],
)
def test_a_whole_coordinate_is_picked_where_float64_ends_a_bit_beside(mode, a, index, picked):
    got = coordinates(a, mode)
    assert [got.nearest(name, shrinks=False)[index] for name in PICKS] == [picked] * 4


def test_simple_rounds_up_where_the_axis_shrinks():
    got = coordinates(axis(7, 5, Fraction(5, 7)), "asymmetric")
    assert got.nearest("simple", shrinks=True).tolist() == [0, 2, 3, 5, 6]
    assert got.nearest("simple", shrinks=False).tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("edge", [1e-30, 1e30, 3.4e38, -3.4e38])
def test_numbers_that_int64_does_not_hold(edge):
    a = axis(9, 4, Fraction(4, 9), (edge, 1.0))
    got = coordinates(a, "tf_crop_and_resize")
    wanted = [FORMULAS["tf_crop_and_resize"](i, a, Fraction(4)) for i in range(4)]
    assert got.whole.tolist() == [min(max(floor(w), -FAR), FAR) for w in wanted]
    assert got.fraction.tolist() == [float(w - floor(w)) for w in wanted]
    assert got.outside(9).tolist() == [not 0 <= w <= 8 for w in wanted]


def test_the_last_pixel_is_inside_where_float32_rounds_the_length_up():
    """The float32 before 0.7, times 10, is less than 7; the output has 7 elements, as the float32 product says."""
    scale = float(np.float32(0.7))
    assert Fraction(scale) * 10 < 7 == int(np.float32(10) * np.float32(0.7))
    for mode in ("align_corners", "tf_crop_and_resize"):
        got = coordinates(axis(10, 7, scale), mode)
        assert (got.whole[-1], got.rest[-1]) == (9, 0)
        assert not got.outside(10).any()


def test_unknown_names():
    with pytest.raises(ValueError, match="no coordinate_transformation_mode is named 'middle'"):
        coordinates(axis(2, 2, 1), "middle")
    with pytest.raises(ValueError, match="no nearest_mode is named 'round'"):
        coordinates(axis(2, 2, 1), "asymmetric").nearest("round", shrinks=False)
