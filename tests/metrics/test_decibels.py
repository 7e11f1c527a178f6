"""Decibels: the one rule for infinities, silence, NaN and several outputs."""

import math

import numpy as np
import pytest

from qengine.errors import UnsupportedError
from qengine.metrics.decibels import Energy, OutputNoise, decibels, mean_ratio, ratio_in_decibels
from qengine.metrics.declaration import EvaluatedBatch
from qengine.metrics.sqnr import Sqnr, sqnr, sqnr_of_outputs


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [
        (100.0, 1.0, 20.0),
        (1.0, 100.0, -20.0),
        (5.0, 0.0, math.inf),
        (0.0, 0.0, math.inf),
        (0.0, 1.0, None),
        (math.inf, 1.0, None),
        (1.0, math.inf, None),
        (math.nan, 1.0, None),
        (1.0, math.nan, None),
    ],
)
def test_decibels(signal, noise, expected):
    assert decibels(signal, noise) == expected


def test_a_ratio_of_noise_to_signal():
    assert ratio_in_decibels(0.01) == pytest.approx(20.0)
    assert ratio_in_decibels(0.0) == math.inf


def energy(signal, other):
    found = Energy()
    found.add(np.float64(signal), np.float64(other))
    return found


def test_energies_are_sums_over_runs():
    found = energy([3, 4], [3, 3])
    found.add(np.float32([[5]]), np.float32([[3]]))
    assert (found.signal, found.noise, found.ratio) == (50.0, 5.0, 0.1)
    assert found.sqnr_db == pytest.approx(10.0)


def test_an_element_that_is_not_finite_leaves_a_ratio_and_no_decibels():
    for bad in (math.inf, -math.inf, math.nan):
        for pair in (([3, bad, 4], [3, 0, 3]), ([3, 0, 4], [3, bad, 3])):
            found = energy(*pair)
            assert (found.signal, found.noise, found.nonfinite) == (25.0, 1.0, 1)
            assert (found.sqnr_db, found.ratio) == (None, 0.04)


def test_the_ratio_of_silence_is_the_noise():
    assert energy([0, 0], [0, 3]).ratio == 9.0
    assert energy([0, 0], [0, 3]).sqnr_db is None
    assert (energy([0], [0]).ratio, energy([0], [0]).sqnr_db) == (0.0, math.inf)


def test_several_outputs_are_the_mean_of_their_ratios():
    assert mean_ratio([energy([1], [0]), energy([2], [1])]) == pytest.approx((1 + 0.25) / 2)
    assert mean_ratio([]) == 0.0
    signal = {"a": np.float32([1]), "exact": np.float32([1]), "silent": np.float32([0]), "nan": np.float32([np.nan])}
    other = {"a": np.float32([0]), "exact": np.float32([1]), "silent": np.float32([1]), "nan": np.float32([1])}
    # One that is exact counts, and does not make all of them exact; those without a number are left out.
    assert sqnr_of_outputs(signal, other) == pytest.approx(10 * math.log10(2))


def test_an_output_of_another_shape_has_no_sqnr():
    accumulator = Sqnr()
    accumulator.add(EvaluatedBatch(np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)))
    assert accumulator.value() == pytest.approx(0.0)
    accumulator.add(EvaluatedBatch(np.zeros((1, 3), np.float32), np.ones((1, 4), np.float32)))
    assert accumulator.value() is None


def test_whole_numbers_have_no_sqnr():
    accumulator = Sqnr()
    accumulator.add(EvaluatedBatch(np.arange(3), np.arange(3)))
    assert accumulator.value() is None
    assert sqnr(np.float32([1]), np.float32([1])) == math.inf


def test_outputs_without_a_number_are_left_out_of_the_mean():
    exact = {"a": np.float32([3, 4]), "b": np.float32([0, 2]), "silent": np.float32([0, 0]), "i": np.int64([1, 2])}
    fixed = {"a": np.float32([3, 3]), "b": np.float32([1, 2]), "silent": np.float32([0, 1]), "i": np.int64([1, 3])}
    assert sqnr_of_outputs(exact, fixed) == pytest.approx(10 * math.log10(1 / ((1 / 25 + 1 / 4) / 2)), rel=1e-12)
    assert sqnr_of_outputs({"i": exact["i"]}, fixed) is sqnr_of_outputs({"silent": exact["silent"]}, fixed) is None


def test_noise_of_many_approximations_is_that_of_each():
    rng = np.random.default_rng(4)
    exact = {"a": rng.normal(size=(3, 70_000)).astype(np.float32), "b": np.float32([1, np.inf, 2])}
    noise, found, expected = OutputNoise(exact), {}, {name: Energy() for name in exact}
    for _ in range(3):
        other = {"a": (exact["a"] + rng.normal(size=(3, 70_000))).astype(np.float32), "b": np.float32([1.5, 0, np.nan])}
        noise.add(found, other)
        for name, energy in expected.items():
            energy.add(exact[name], other[name])
    assert found == expected
    assert expected["b"].nonfinite == 6
    with pytest.raises(UnsupportedError, match=r"'b' is \[3\] in float32 and \[2\] with tensors rounded"):
        noise.add(found, {"b": np.float32([1, 2])})
