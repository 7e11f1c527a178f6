"""Choice of a format: the number of fraction bits that suits a tensor best, from a histogram or from all values.

A word of b bits has one free number, n, the number of fraction bits. The step is 2^-n, and the codes of a signed word
reach from -2^(b-1) to 2^(b-1) - 1 steps. One more fraction bit halves the step and halves the range: rounding loses
less, saturation loses more. `Method` names three answers to where the best n lies. The least squared error,

    sum over x of (x - q(x))^2,    q(x) = clip(round(x 2^n), least code, greatest code) 2^-n,

is found by trying n upward from the largest n at which nothing saturates. Smaller n need not be tried: their codes are
codes of that format too. A search of n (or of a clipping threshold) by squared error is common practice, for example
Banner, Nahshan and Soudry, "Post Training 4-bit Quantization of Convolutional Networks for Rapid-Deployment", NeurIPS
2019, which solves it in closed form for Laplace and normal distributions; here it is a sum over the histogram, see
`error`. Activations are given as histograms, because there are too many values to keep; a constant as all its values.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.qformat import QFormat, finest_format
from qengine.quantization.calibration.error import exact_error, squared_error
from qengine.quantization.calibration.histogram import Histogram

_MAX_MORE_BITS = 24  # fraction bits tried beyond the format without saturation, whose loss only grows from there on
_MIN_FRACTION_BITS = -112


class Method(StrEnum):
    """Rule by which the number n of fraction bits is chosen."""

    MSE = "mse"
    """The least mean squared error of rounding and saturation together."""
    MAX = "max"
    """The largest n at which nothing saturates."""
    PERCENTILE = "percentile"
    """The largest n at which a given share of the values that are not 0 does not saturate."""


def for_histogram(
    histogram: Histogram, bits: int, *, signed: bool, method: Method, percentile: float, headroom: float = 1.0
) -> QFormat:
    """Return the format of `bits` bits that a method chooses for the values of a histogram.

    The format of values that are all 0 has no integer bits.

    Parameters
    ----------
    histogram
        Counts of the values.
    bits
        Word length.
    signed
        Whether the format is signed.
    method, percentile
        See `CalibrationOptions`.
    headroom
        Factor by which later values may exceed those of the histogram without saturating; not kept where the least
        squared error is that of a format in which values of the histogram saturate.

    Raises
    ------
    FormatError
        If the values are too large for any format of that many bits.
    """
    if histogram.is_zero:
        return QFormat(0, bits - signed, signed)
    least, most = histogram.least, histogram.most
    if method is Method.PERCENTILE and percentile < 100.0:
        threshold = _quantile(histogram, percentile / 100.0)
        least, most = max(least, -threshold), min(most, threshold)
    with_headroom = _finest(headroom * least, headroom * most, bits, signed)
    if method is Method.MSE:
        unsaturated, cells = _finest(least, most, bits, signed), histogram.cells()
        best = min(_candidates(unsaturated), key=lambda fmt: squared_error(cells, fmt))
        return with_headroom if best == unsaturated else best
    return with_headroom


def for_values(
    values: NDArray[np.float64], bits: int, *, method: Method, percentile: float, most: int | None = None
) -> QFormat:
    """Return the signed format of `bits` bits that a method chooses for finite values.

    Parameters
    ----------
    values
        All values, in any shape.
    bits
        Word length.
    method, percentile
        See `CalibrationOptions`.
    most
        The largest number of fraction bits that is allowed; None for no limit.

    Raises
    ------
    FormatError
        If the values are too large for any format of that many bits.
    """
    magnitudes = np.abs(values[values != 0])
    threshold = np.percentile(magnitudes, percentile) if method is Method.PERCENTILE and magnitudes.size else np.inf
    unsaturated = finest_format(np.clip(values, -threshold, threshold), bits)
    if most is not None and unsaturated.fraction_bits >= most:
        return unsaturated.with_fraction_bits(max(most, _MIN_FRACTION_BITS))
    if method is not Method.MSE or not magnitudes.size:
        return unsaturated
    limit = None if most is None else most - unsaturated.fraction_bits
    best, least = unsaturated, exact_error(values, unsaturated)
    for fmt in _candidates(unsaturated, limit):
        # The error of saturation alone grows with n: once it reaches the best error, no larger n is better.
        saturation = float(np.sum(np.maximum(magnitudes + fmt.min, 0.0) ** 2))
        if saturation >= least:
            break
        if (error := exact_error(values, fmt)) < least:
            best, least = fmt, error
    return best


def _finest(least: float, most: float, bits: int, signed: bool) -> QFormat:
    return finest_format(np.array([least, most]), bits, signed)


def _candidates(fmt: QFormat, limit: int | None = None) -> Iterator[QFormat]:
    """Yield a format, and those of the same word length with more fraction bits, at most `limit` more."""
    for more in range(1 + (_MAX_MORE_BITS if limit is None else min(limit, _MAX_MORE_BITS))):
        try:
            yield fmt.with_fraction_bits(fmt.fraction_bits + more)
        except FormatError:  # beyond float32
            return


def _quantile(histogram: Histogram, share: float) -> float:
    """Return the magnitude that a share of the values other than 0 does not exceed, interpolated in its cell."""
    cells = histogram.cells()
    order = np.argsort(cells.low, kind="stable")
    cumulative = np.cumsum(cells.count[order])
    rank = share * cumulative[-1]
    at = int(np.searchsorted(cumulative, rank))
    cell, count = order[at], cells.count[order[at]]
    inside = (rank - (cumulative[at] - count)) / count
    return float(cells.low[cell] + inside * cells.width[cell])
