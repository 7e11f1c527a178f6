"""What later runs are expected to add to a histogram: room where few samples say little, and no more."""

import numpy as np
import pytest

from qengine import QFormat
from qengine.quantization.calibration.beyond import Beyond
from qengine.quantization.calibration.choose import Method, for_histogram
from qengine.quantization.calibration.histogram import Histogram


def of(*runs):
    histogram = Histogram()
    for run in runs:
        values = np.asarray(run, np.float32)
        histogram.add(values)
        histogram.end_run(float(values.min()), float(values.max()))
    return histogram


def chosen(histogram, bits, **options):
    options = {"signed": True, "method": Method.MSE, "percentile": 99.99} | options
    return for_histogram(histogram, bits, **options)


def noise(count, size, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


@pytest.mark.parametrize(
    ("runs", "mean"),
    [
        ([[4.0]], 0.5),  # an eighth of the only value
        ([[4.0], [4.0]], 4 / 16 / (1 / 2 + 1 / 2)),
        ([[2.0], [4.0]], (1 + 4 / 16) / (1 / 2 + 1 / 2)),
        ([[1.0], [2.0], [6.0]], (3 + 6 / 24) / (1 / 2 + 1 / 3 + 1 / 3)),
    ],
)
def test_the_error_of_one_more_value(runs, mean):
    histogram = of(*runs)
    extreme = max(max(run) for run in runs)
    for n in (6, 5, 3, 0):  # up to 127 / 2^n
        reach = 127 / 2.0**n
        # The mean of the squared error over a value beyond the extreme, drawn from the exponential distribution.
        beyond = extreme - mean * np.log1p(-(np.arange(100_000) + 0.5) / 100_000)
        expected = np.mean(np.maximum(beyond - reach, 0) ** 2)
        (found,) = Beyond([histogram]).errors(np.array([[n]]), [QFormat.parse("Q0.7")])
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-4)


def test_fewer_samples_are_clipped_less():
    one = noise(1, 48)[0]
    often = of(*[one] * 48)  # the same values: nothing but the number of samples differs
    assert chosen(of(one), 5).max > chosen(often, 5).max
    assert chosen(of(one), 5, method=Method.MAX) == chosen(often, 5, method=Method.MAX)
    # In 16 bits there is always room above the largest value.
    many = noise(16, 64)
    for count in (1, 4, 16):
        assert chosen(of(*many[:count]), 16).max > 1.1 * np.abs(many[:count]).max()


def test_what_runs_reach_alike_needs_no_room():
    pixels = np.tile(np.arange(256) / 256, (64, 4))
    assert chosen(of(*pixels), 8, signed=False) == QFormat.parse("UQ0.8")


def test_room_is_bounded_and_only_for_mse():
    one = of([1.0, 0.5])
    assert chosen(one, 16).max <= 8
    assert chosen(one, 16, method=Method.MAX) == QFormat.parse("Q1.14")
    assert chosen(of([0.0, 0.0]), 8) == QFormat.parse("Q0.7")


def test_values_of_no_run_are_all_there_are():
    constant = Histogram()
    constant.add(np.float32([0.99, 0.5]))
    assert chosen(constant, 16) == QFormat.parse("Q0.15")


def test_a_group_expects_what_each_of_its_tensors_does():
    small, large = of([0.5], [0.25]), of([1.0], [3.0])
    both = small.merged(large)
    assert (both.runs, both.mean_extremes) == (2, (0.375, 2.0))
    constant = Histogram()
    constant.add(np.float32([7.0]))
    assert constant.merged(large).runs == 0  # a table that rows are looked up in holds them all
