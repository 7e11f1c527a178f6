"""Which format: the number of fraction bits that a method finds, for a histogram or for values themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.qformat import QFormat, finest_format
from qengine.quantization.calibration.error import exact_error, squared_error
from qengine.quantization.calibration.histogram import Histogram

_SPAN = 24  # fraction bits more than the format that holds all: what is lost by saturation only grows
_LEAST_N = -112


class Method(StrEnum):
    """How n is chosen."""

    MSE = "mse"
    """The least mean squared error of rounding and saturation together."""
    MAX = "max"
    """The largest n at which nothing saturates."""
    PERCENTILE = "percentile"
    """The largest n at which a given share of the values that are not 0 does not saturate."""


def for_histogram(
    histogram: Histogram, bits: int, *, signed: bool, method: Method, percentile: float, headroom: float = 1.0
) -> QFormat:
    """Return the format of `bits` bits for values of which the histogram is known.

    Where all are 0 it is the one without integer bits.

    Parameters
    ----------
    headroom
        Values so many times as large are to be held too, unless the least error asks for values that saturate.

    Raises
    ------
    FormatError
        If the values are too large for any format of that many bits.
    """
    if histogram.is_zero:
        return QFormat(0, bits - signed, signed)
    least, most = histogram.least, histogram.most
    if method is Method.PERCENTILE and percentile < 100.0:
        within = _quantile(histogram, percentile / 100.0)
        least, most = max(least, -within), min(most, within)
    roomy = _holding(headroom * least, headroom * most, bits, signed)
    if method is Method.MSE:
        form, cells = _holding(least, most, bits, signed), histogram.cells()
        best = _least(_candidates(form), lambda one: squared_error(cells, one))
        return roomy if best == form else best
    return roomy


def for_values(
    values: NDArray[np.float64], bits: int, *, method: Method, percentile: float, most: int | None = None
) -> QFormat:
    """Return the signed format of `bits` bits for finite values that are all known.

    Parameters
    ----------
    values
        Of any shape.
    most
        The largest n that is allowed; None for no limit.

    Raises
    ------
    FormatError
        If the values are too large for any format of that many bits.
    """
    magnitudes = np.abs(values[values != 0])
    within = np.percentile(magnitudes, percentile) if method is Method.PERCENTILE and magnitudes.size else np.inf
    form = finest_format(np.clip(values, -within, within), bits)
    if most is not None and form.fraction_bits >= most:
        return form.with_fraction_bits(max(most, _LEAST_N))
    if method is not Method.MSE or not magnitudes.size:
        return form
    limit = None if most is None else most - form.fraction_bits
    # What saturation alone costs grows with n: beyond the best error there is nothing better.
    best, least = form, exact_error(values, form)
    for one in _candidates(form, limit):
        over = float(np.sum(np.maximum(magnitudes + one.min, 0.0) ** 2))
        if over >= least and one is not form:
            break
        if (error := exact_error(values, one)) < least:
            best, least = one, error
    return best


def _holding(least: float, most: float, bits: int, signed: bool) -> QFormat:
    return finest_format(np.array([least, most]), bits, signed)


def _candidates(form: QFormat, limit: int | None = None) -> Iterator[QFormat]:
    """Yield a format that holds all values, and those of as many bits with more fraction bits."""
    span = _SPAN if limit is None else min(limit, _SPAN)
    for more in range(span + 1):
        try:
            yield form.with_fraction_bits(form.fraction_bits + more)
        except FormatError:  # beyond float32
            return


def _least(candidates: Iterable[QFormat], cost: Callable[[QFormat], float]) -> QFormat:
    """Return the format of the least cost, of equal ones the first."""
    return min(candidates, key=cost)


def _quantile(histogram: Histogram, share: float) -> float:
    """Return the magnitude that such a share of the values other than 0 does not exceed, interpolated in its cell."""
    cells = histogram.cells()
    order = np.argsort(cells.low, kind="stable")
    reached = np.cumsum(cells.count[order])
    wanted = share * reached[-1]
    at = int(np.searchsorted(reached, wanted))
    cell, count = order[at], cells.count[order[at]]
    inside = (wanted - (reached[at] - count)) / count
    return float(cells.low[cell] + inside * cells.width[cell])
