"""Suggestion of a better format for one tensor, from its values in float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.result import Suggestion
from qengine.errors import FormatError
from qengine.metrics.decibels import decibels
from qengine.qformat import ChannelFormats, Format, QFormat
from qengine.quantization.calibration.choose import ConstantRows, Method, for_histogram, for_values
from qengine.quantization.calibration.error import row_errors, sqnr_in
from qengine.quantization.calibration.histogram import Histogram

PER_CHANNEL = "weights per channel"

_MIN_GAIN_DB = 1.0
_MIN_CHANNEL_GAIN_DB = 3.0  # a format per channel costs hardware, and must gain more
_LARGE_SHARE = 0.25  # share of all sensitivity from which a longer word is worth its bits
_PERCENTILE = 100.0  # an argument that the method used here does not read


def suggest(histogram: Histogram, fmt: Format, share: float, rows: NDArray[np.float64] | None) -> Suggestion | None:
    """Return a clearly better format for a tensor, or None.

    The candidates are, in this order: for weights, one number of fraction bits per channel, if it gains 3 dB or more;
    the best number of fraction bits for the whole tensor; and, for a tensor with a quarter of all sensitivity or more,
    an unsigned format if no value is negative, and a word that is one bit longer. The first that gains 1 dB or more is
    returned.

    Parameters
    ----------
    histogram
        Histogram of the tensor's values in float32.
    fmt
        Present format of the tensor.
    share
        Sensitivity of the tensor over the sum of all.
    rows
        Finite values of weights with an axis of output channels, as (channels, any number); None for other tensors.
    """
    if histogram.is_zero or not isinstance(fmt, QFormat):
        return None
    candidates = _for_tensor(histogram, fmt, share) if rows is None else _for_channels(rows, fmt, share)
    return next((one for one in candidates if one.gain_db >= _MIN_GAIN_DB), None)


def _for_tensor(histogram: Histogram, fmt: QFormat, share: float) -> Iterator[Suggestion]:
    now = sqnr_in(histogram, fmt)
    is_negative = histogram.least < 0
    best = _best(histogram, fmt.bits, signed=fmt.signed or is_negative)
    if best is not None and best != fmt:
        yield _suggestion(_change(fmt, best), best, sqnr_in(histogram, best), now)
    if share < _LARGE_SHARE:
        return
    if fmt.signed and not is_negative and (unsigned := _best(histogram, fmt.bits, signed=False)) is not None:
        yield _suggestion("unsigned, as it is never negative", unsigned, sqnr_in(histogram, unsigned), now)
    if fmt.bits < 16 and (longer := _best(histogram, fmt.bits + 1, signed=fmt.signed)) is not None:
        yield _suggestion("one more bit", longer, sqnr_in(histogram, longer), now)


def _for_channels(rows: NDArray[np.float64], fmt: QFormat, share: float) -> Iterator[Suggestion]:
    now, best = _sqnr(rows, fmt), _best_for_values(rows, fmt.bits)
    best_db = None if best is None else _sqnr(rows, best)
    each = _best_for_rows(rows, fmt.bits)
    if len(each) > 1:
        channels = ChannelFormats(each, 0)
        channels_db = _sqnr(rows, channels)
        if _gain(channels_db, best_db) >= _MIN_CHANNEL_GAIN_DB:
            yield _suggestion(PER_CHANNEL, channels, channels_db, now)
    if best is not None and best != fmt:
        yield _suggestion(_change(fmt, best), best, best_db, now)
    if share >= _LARGE_SHARE and fmt.bits < 16 and (longer := _best_for_values(rows, fmt.bits + 1)) is not None:
        yield _suggestion("one more bit", longer, _sqnr(rows, longer), now)


def _best(histogram: Histogram, bits: int, *, signed: bool) -> QFormat | None:
    try:
        return for_histogram(histogram, bits, signed=signed, method=Method.MSE, percentile=_PERCENTILE)
    except FormatError:
        return None


def _best_for_values(values: NDArray[np.float64], bits: int) -> QFormat | None:
    try:
        return for_values(values, bits, method=Method.MSE, percentile=_PERCENTILE)
    except FormatError:
        return None


def _best_for_rows(rows: NDArray[np.float64], bits: int) -> tuple[QFormat, ...]:
    """Return the best format of each row; none where the values of one are too large for any."""
    try:
        found = ConstantRows([rows]).fraction_bits(bits, method=Method.MSE, percentile=_PERCENTILE)
    except FormatError:
        return ()
    return tuple(QFormat(0, bits - 1).with_fraction_bits(int(n)) for n in found)


def _sqnr(rows: NDArray[np.float64], fmt: Format) -> float | None:
    """Return the SQNR in dB of rows in a format, or in one format per row."""
    forms = [fmt] * len(rows) if isinstance(fmt, QFormat) else fmt.formats
    return decibels(float(np.sum(rows**2)), float(sum(row_errors(rows, forms))))


def _change(fmt: QFormat, best: QFormat) -> str:
    """Return the difference between two formats of the same word length, in words."""
    if best.signed and not fmt.signed:
        return "signed, as some values are negative"
    more = best.integer_bits - fmt.integer_bits
    bits = "one" if abs(more) == 1 else str(abs(more))
    return f"{bits} {'more' if more > 0 else 'fewer'} integer bit{'' if abs(more) == 1 else 's'}"


def _suggestion(text: str, fmt: Format, then: float | None, now: float | None) -> Suggestion:
    return Suggestion(text, fmt, _gain(then, now))


def _gain(then: float | None, now: float | None) -> float:
    """Return the difference of two SQNRs in dB; 0 where one of them is unknown."""
    if then is None or now is None or then == now:
        return 0.0
    return then - now
