"""Error of a format: the sum of squares by which rounding and saturation change the values of a tensor.

For values that are all known the sum is exact. For a histogram it is the integral over its cells, in which
the values are taken to be spread evenly: inside the range of the format a cell as wide as a step s or wider adds
s^2 / 12 per value (uniform rounding error); a narrower one, or one beyond the range, becomes a single code t, and adds
(center - t)^2 + width^2 / 12. Cells and steps are powers of two, and so no cell straddles two codes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qengine.metrics.decibels import decibels
from qengine.qformat import QFormat
from qengine.quantization.calibration.histogram import Cells, Histogram


def squared_error(cells: Cells, fmt: QFormat) -> float:
    """Return the sum of (x - q(x))^2 over a histogram, where q rounds to nearest and saturates in the format.

    The sum is exact for values that are spread evenly over their cells, except in the cells of the extremes, which do
    not end at a power of two.
    """
    step, word = fmt.step, fmt.word()
    center = cells.low + cells.width / 2
    above = cells.sign > 0
    last = np.where(above, float(word.most), float(-word.least))  # magnitude of the last code
    reach = np.where(above, word.most + 1.0, float(-word.least)) * step
    target = np.minimum(np.rint(center / step), last) * step
    spread = cells.width**2 / 12
    error = (center - target) ** 2 + spread
    rounds = (cells.width >= step) & (cells.low < reach)
    # The half step beyond the greatest code is rounded down too: t^2 is integrated up to s, and not up to s/2.
    edge = np.where(above & (cells.low + cells.width == reach), step**3 / (4 * np.maximum(cells.width, step)), 0.0)
    error = np.where(rounds, step**2 / 12 + edge, error)
    return float(np.sum(cells.count * error))


def power(cells: Cells) -> float:
    """Return the sum of x^2 over a histogram, for values that are spread evenly over their cells."""
    return float(np.sum(cells.count * ((cells.low + cells.width / 2) ** 2 + cells.width**2 / 12)))


def exact_error(values: NDArray[np.float64], fmt: QFormat) -> float:
    """Return the sum of (x - q(x))^2 over all values, where q rounds to nearest and saturates in the format."""
    word = fmt.word()
    codes = np.clip(np.rint(np.ldexp(values, fmt.fraction_bits)), word.least, word.most)
    return float(np.sum((values - np.ldexp(codes, -fmt.fraction_bits)) ** 2))


def sqnr_in(histogram: Histogram, fmt: QFormat) -> float | None:
    """Return the SQNR in dB of a tensor in a format, from its histogram; see `decibels`."""
    cells = histogram.cells()
    return decibels(power(cells), squared_error(cells, fmt))
