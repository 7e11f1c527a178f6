"""Resizes of steps: bits of taps by word length, formats, fills, and what is counted."""

from fractions import Fraction

import numpy as np
import pytest

from qengine.kernels.reference.coordinates import Axis
from qengine.kernels.reference.requantize import LARGEST, TOTAL, new_tally
from qengine.model.steps.resize import Resize

from .tensors import fixed_kernel, tensor


def resize(mode, form, out=6, size=3, coordinates="half_pixel", **options):
    axis = Axis(0, size, out, Fraction(out, size))
    return Resize(tensor("x", form, (size,)), (axis,), (out,), mode, coordinates, **options)


@pytest.mark.parametrize(("form", "bits"), [("Q3.4", 11), ("UQ3.5", 11), ("Q4.4", 14), ("Q7.8", 14), ("Q1.2", 11)])
def test_taps_have_more_bits_for_wider_words(form, bits):
    step = resize("linear", form, out=5, coordinates="align_corners", size=3)
    assert step.tap_bits == bits


@pytest.mark.parametrize(("form", "out"), [("Q3.4", "Q3.4"), ("Q3.4", "Q5.2"), ("Q7.8", "Q3.12")])
def test_linear_taps_are_rounded_to_their_bits(form, out):
    """Three cells to seven: the taps are 2/3 and 1/3 at most places, which no word holds."""
    step = resize("linear", form, out=7, coordinates="align_corners")
    x = np.array([-100, 31, 127], np.int8 if form == "Q3.4" else np.int16)
    unit = 1 << step.tap_bits
    shift = int(form.split(".")[1]) - int(out.split(".")[1])
    wanted = []
    for i in range(7):
        first, rest = divmod(i, 3)
        right = round(Fraction(rest, 3) * unit)
        exact = x[first].item() * (unit - right) + (x[first + 1].item() * right if rest else 0)
        wanted.append(round(Fraction(exact, unit) / Fraction(2) ** shift))
    assert fixed_kernel(step, out)(x).tolist() == wanted


@pytest.mark.parametrize("form", ["Q3.4", None])
def test_nearest_picks_elements_and_counts_them(form):
    step = resize("nearest", form, coordinates="asymmetric", nearest_mode="floor")
    x = np.int8([-100, 31, 12])
    if form is None:
        assert step.float32()(x.astype(np.float32)).tolist() == [-100, -100, 31, 31, 12, 12]
        return
    tally = new_tally()
    kernel = fixed_kernel(step, form)
    assert kernel(x).tolist() == kernel(x, tally=tally).tolist() == [-100, -100, 31, 31, 12, 12]
    assert (tally[TOTAL], tally[LARGEST]) == (6, 100)


def test_real_numbers_are_interpolated():
    step = resize("linear", None, out=5, coordinates="align_corners")
    assert step.float32()(np.float32([0, 1, 3])).tolist() == [0, 0.5, 1, 2, 3]
    halved = resize("linear", None, size=4, out=2)  # without antialias: two taps, however far apart the coordinates
    assert halved.float32()(np.float32([0, 8, 0, 0])).tolist() == [4, 0]


def test_cubic_taps_by_default():
    """Half way between cells they are a / 8 and (4 - a) / 8 with a = -3/4, also over the edge."""
    step = resize("cubic", None, size=4, out=8, coordinates="asymmetric")
    y = step.float32()(np.float32([0, 0, 32, 0]))
    assert y.tolist() == [0, -3, 0, 19, 32, 19, 0, -3]
