"""Which format would serve a tensor better, from what it holds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.result import Suggestion
from qengine.errors import FormatError
from qengine.metrics.ratios import decibels
from qengine.qformat import ChannelFormats, Format, QFormat
from qengine.quantization.calibration.choose import Method, for_histogram, for_values
from qengine.quantization.calibration.error import exact_error, sqnr_in
from qengine.quantization.calibration.histogram import Histogram

_CLEARLY_DB = 1.0  # less is not worth a word
_PER_CHANNEL_DB = 3.0  # nor is so little worth a format for each channel
_HARMFUL = 0.25  # of all harm: what has so much is worth more bits
_PERCENTILE = 100.0  # of another method than the one here


def suggest(histogram: Histogram, form: Format, share: float, rows: NDArray[np.float64] | None) -> Suggestion | None:
    """Return what would serve a tensor clearly better than its format, if anything would.

    Of weights one n for each channel comes first, where it gains 3 dB or more; then the best n for all. Of what does a
    quarter of the harm or more, an unsigned format, where nothing is negative, or a longer word come last. What gains
    less than 1 dB is left out.

    Parameters
    ----------
    histogram
        Of the tensor's values in float32.
    form
        The format that it has.
    share
        Its part of the harm that all tensors do.
    rows
        Of weights with an axis of output channels: the finite values, as (channels, any number). Otherwise None.
    """
    if histogram.is_zero or not isinstance(form, QFormat):
        return None
    candidates = _of_one(histogram, form, share) if rows is None else _of_channels(rows, form, share)
    return next((one for one in candidates if one.gain_db >= _CLEARLY_DB), None)


def _of_one(histogram: Histogram, form: QFormat, share: float) -> Iterator[Suggestion]:
    now = sqnr_in(histogram, form)
    is_negative = histogram.least < 0
    best = _best(histogram, form.bits, signed=form.signed or is_negative)
    if best is not None and best != form:
        yield _instead(_moved(form, best), best, sqnr_in(histogram, best), now)
    if share < _HARMFUL:
        return
    if form.signed and not is_negative and (unsigned := _best(histogram, form.bits, signed=False)) is not None:
        yield _instead("unsigned, as it is never negative", unsigned, sqnr_in(histogram, unsigned), now)
    if form.bits < 16 and (longer := _best(histogram, form.bits + 1, signed=form.signed)) is not None:
        yield _instead("one more bit", longer, sqnr_in(histogram, longer), now)


def _of_channels(rows: NDArray[np.float64], form: QFormat, share: float) -> Iterator[Suggestion]:
    now, best = _sqnr(rows, form), _for_values(rows, form.bits)
    of_best = None if best is None else _sqnr(rows, best)
    each = [one for row in rows if (one := _for_values(row, form.bits)) is not None]
    if 1 < len(rows) == len(each):
        channels = ChannelFormats(tuple(each), 0)
        of_channels = _sqnr(rows, channels)
        if _gain(of_channels, of_best) >= _PER_CHANNEL_DB:
            yield _instead("weights per channel", channels, of_channels, now)
    if best is not None and best != form:
        yield _instead(_moved(form, best), best, of_best, now)
    if share >= _HARMFUL and form.bits < 16 and (longer := _for_values(rows, form.bits + 1)) is not None:
        yield _instead("one more bit", longer, _sqnr(rows, longer), now)


def _best(histogram: Histogram, bits: int, *, signed: bool) -> QFormat | None:
    try:
        return for_histogram(histogram, bits, signed=signed, method=Method.MSE, percentile=_PERCENTILE)
    except FormatError:
        return None


def _for_values(values: NDArray[np.float64], bits: int) -> QFormat | None:
    try:
        return for_values(values, bits, method=Method.MSE, percentile=_PERCENTILE)
    except FormatError:
        return None


def _sqnr(rows: NDArray[np.float64], form: Format) -> float | None:
    forms = [form] * len(rows) if isinstance(form, QFormat) else form.formats
    noise = sum(exact_error(row, one) for row, one in zip(rows, forms, strict=True))
    return decibels(float(np.sum(rows**2)), noise)


def _moved(form: QFormat, best: QFormat) -> str:
    """Return what distinguishes a format of as many bits, in words."""
    if best.signed and not form.signed:
        return "signed, as some of it is negative"
    more = best.integer_bits - form.integer_bits
    bits = "one" if abs(more) == 1 else str(abs(more))
    return f"{bits} {'more' if more > 0 else 'fewer'} integer bit{'' if abs(more) == 1 else 's'}"


def _instead(text: str, form: Format, then: float | None, now: float | None) -> Suggestion:
    return Suggestion(text, form, _gain(then, now))


def _gain(then: float | None, now: float | None) -> float:
    if then is None or now is None or then == now:
        return 0.0
    return then - now
