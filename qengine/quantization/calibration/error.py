"""What a format costs a tensor: the squared error of rounding and saturating its values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qengine.metrics.ratios import decibels
from qengine.qformat import QFormat
from qengine.quantization.calibration.histogram import Cells, Histogram


def squared_error(cells: Cells, form: QFormat) -> float:
    """Return the sum of (x - q(x))^2, q rounding to nearest and saturating in the format.

    Values are taken to be spread evenly over their cell. No code begins or ends inside of a cell that is at most half
    a step wide, and a wider cell holds whole steps; so this is the exact mean over such values, but for the cells that
    end with the extremes.
    """
    step, word = form.step, form.word()
    center = cells.low + cells.width / 2
    above = cells.sign > 0
    last = np.where(above, float(word.most), float(-word.least))  # the last code, in magnitude
    reach = np.where(above, word.most + 1.0, float(-word.least)) * step
    target = np.minimum(np.rint(center / step), last) * step
    spread = cells.width**2 / 12
    error = (center - target) ** 2 + spread
    rounds = (cells.width >= step) & (cells.low < reach)
    # From the last code on, half a step more is rounded down: the integral of t^2 from s/2 to s, instead of from 0.
    edge = np.where(above & (cells.low + cells.width == reach), step**3 / (4 * np.maximum(cells.width, step)), 0.0)
    error = np.where(rounds, step**2 / 12 + edge, error)
    return float(np.sum(cells.count * error))


def power(cells: Cells) -> float:
    """Return the sum of x^2, as `squared_error` takes the values to be."""
    return float(np.sum(cells.count * ((cells.low + cells.width / 2) ** 2 + cells.width**2 / 12)))


def exact_error(values: NDArray[np.float64], form: QFormat) -> float:
    """Return the sum of (x - q(x))^2 over the values themselves; see `squared_error`."""
    word = form.word()
    codes = np.clip(np.rint(np.ldexp(values, form.fraction_bits)), word.least, word.most)
    return float(np.sum((values - np.ldexp(codes, -form.fraction_bits)) ** 2))


def sqnr_in(histogram: Histogram, form: QFormat) -> float | None:
    """Return the SQNR in dB of a tensor that is brought into a format, from its histogram."""
    cells = histogram.cells()
    return decibels(power(cells), squared_error(cells, form))
