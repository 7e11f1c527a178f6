"""Choice of all formats of a model from an observation: one for each group of activations and for each constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.keywords import check_keywords, options_with
from qengine.metrics.decibels import decibels
from qengine.model.formats.constants import saturating_magnitude
from qengine.model.formats.files import format_to_json
from qengine.qformat import ChannelFormats, Format, QFormat, largest_scale
from qengine.quantization.calibration.choose import Method, for_histogram, for_values
from qengine.quantization.calibration.error import exact_error, sqnr_in
from qengine.quantization.calibration.histogram import Histogram
from qengine.quantization.calibration.observe import Observation
from qengine.quantization.calibration.options import CalibrationKeywords, CalibrationOptions
from qengine.quantization.calibration.result import Calibration, TensorRange
from qengine.quantization.calibration.tensors import Constant, QuantizedTensors, quantized_tensors


def choose_formats(
    observation: Observation, options: CalibrationOptions | None = None, **keywords: Unpack[CalibrationKeywords]
) -> Calibration:
    """Return a format for every tensor that a run in fixed point quantizes.

    Parameters
    ----------
    observation
        Result of `observe`; it serves any options.
    options, keywords
        See `CalibrationOptions`.

    Raises
    ------
    OptionError
        If the value of an option is not allowed.
    FormatError
        If no format holds the values of a tensor.
    """
    check_keywords("choose_formats", keywords, CalibrationKeywords)
    options = options_with(CalibrationOptions, options, keywords)
    tensors = quantized_tensors(observation.model, observation.optimized, tie_joins=options.tie_joins)
    activations = _ActivationFormats(observation, tensors, options)
    for group in tensors.groups:
        activations.add(group)
    activations.widen_for_infinities()
    formats: dict[str, Format] = dict(activations.formats)
    ranges = dict(activations.ranges)
    notes = list(activations.notes)
    for name, constant in tensors.constants.items():
        formats[name], ranges[name] = _constant(name, constant, activations.formats, options)
        if ranges[name].best != ranges[name].format:
            notes.append(f"the weights '{name}' have fewer fraction bits than they could: the bias needs the room")
    order = [name for name in tensors.order if name in formats]
    return Calibration(
        {name: format_to_json(formats[name]) for name in order},
        tuple(ranges[name] for name in order if name in ranges),
        options,
        observation.runs,
        tuple(notes),
    )


class _ActivationFormats:
    """The formats of groups of activations, chosen one group after the other.

    Parameters
    ----------
    observation, options
        See `choose_formats`.
    tensors
        The tensors that a run quantizes.
    """

    def __init__(self, observation: Observation, tensors: QuantizedTensors, options: CalibrationOptions) -> None:
        self._observation, self._tensors, self._options = observation, tensors, options
        self._inputs = {value.name for value in observation.model.inputs}
        self._after_passes = observation.optimized.tensors() | observation.optimized.inner_tensors()
        self.formats: dict[str, QFormat] = {}
        self.ranges: dict[str, TensorRange] = {}
        self.notes: list[str] = []

    def add(self, group: Sequence[str]) -> None:
        """Choose the format of a group; a group that no run computed gets none."""
        histograms = {name: counts for name in group if (counts := self._histogram(name)) is not None}
        if not histograms:
            if missed := [
                name for name in group if name in self._after_passes and name in self._tensors.real_activations
            ]:
                self.notes.append(f"'{missed[0]}' has no format: no run computed it; give it one, or more data")
            return
        merged = reduce(Histogram.merged, histograms.values())
        signed = not (self._options.unsigned and self._is_unsigned(histograms))
        fmt = self._format(next(iter(histograms)), merged, signed)
        self.formats |= dict.fromkeys(group, fmt)
        for name, histogram in histograms.items():
            alone = self._format(name, histogram, signed) if len(histograms) > 1 else fmt
            shares = tuple(other for other in histograms if other != name)
            self.ranges[name] = self._range(name, histogram, fmt, alone, shares)
            if histogram.nan or histogram.infinite:
                lost = f"{histogram.nan + histogram.infinite:,} values of '{name}' are NaN or infinite in float32"
                self.notes.append(f"{lost}, and were left out")

    def widen_for_infinities(self) -> None:
        """Make room, where a tensor was infinite, for codes that saturate the results of its readers."""
        readers = self._observation.optimized.readers()
        for group in reversed(self._tensors.groups):
            counts = {name: histogram for name in group if (histogram := self._histogram(name)) is not None}
            infinite = [name for name, histogram in counts.items() if histogram.infinite]
            magnitude = max(
                (saturating_magnitude({name}, readers.get(name, ()), self.formats) for name in infinite), default=0.0
            )
            if not magnitude:
                continue
            fmt = self.formats[group[0]]
            n = largest_scale(-magnitude, 0.0, fmt.bits) if fmt.signed else fmt.fraction_bits
            if n < fmt.fraction_bits:
                wider = fmt.with_fraction_bits(n)
                self.formats |= dict.fromkeys(group, wider)
                for name, histogram in counts.items():
                    sqnr = sqnr_in(histogram, wider)
                    self.ranges[name] = replace(self.ranges[name], format=str(wider), sqnr_db=sqnr)

    def _histogram(self, name: str) -> Histogram | None:
        """Return the histogram of a tensor that runs computed, or of a constant; None for any other."""
        histogram = self._observation.histograms.get(name)
        table = self._tensors.tables.get(name)
        if histogram is None and table is not None:
            histogram = Histogram()
            histogram.add(table)
        return histogram

    def _is_unsigned(self, histograms: Mapping[str, Histogram]) -> bool:
        """Whether a group may be unsigned: its operators, or the data where it is an input, never give negatives."""
        if any(histogram.least < 0 for histogram in histograms.values()):
            return False
        certain = self._tensors.never_negative
        if not all(name in certain or name in self._inputs or name in self._tensors.tables for name in histograms):
            return False
        for name in histograms:
            if name in self._inputs and name not in certain:
                self.notes.append(f"input '{name}' is unsigned, as it was never negative: what is negative becomes 0")
        return True

    def _format(self, name: str, histogram: Histogram, signed: bool) -> QFormat:
        try:
            return for_histogram(
                histogram,
                self._options.activation_word_length,
                signed=signed,
                method=Method(self._options.method),
                percentile=self._options.percentile,
                headroom=self._options.headroom,
            )
        except FormatError as error:
            raise FormatError(f"tensor '{name}': {error}") from None

    def _range(
        self, name: str, histogram: Histogram, fmt: QFormat, alone: QFormat, shares: tuple[str, ...]
    ) -> TensorRange:
        sqnr, best = sqnr_in(histogram, fmt), sqnr_in(histogram, alone)
        has_values = histogram.finite > 0
        return TensorRange(
            name,
            "input" if name in self._inputs else "constant" if name in self._tensors.tables else "activation",
            histogram.finite + histogram.nan + histogram.infinite,
            histogram.least if has_values else None,
            histogram.most if has_values else None,
            histogram.nan + histogram.infinite,
            str(fmt),
            sqnr,
            str(alone),
            _cost(best, sqnr),
            shares,
        )


def _cost(best: float | None, sqnr: float | None) -> float | None:
    """Return the difference of two SQNR in dB; None where one has no value."""
    if best == sqnr:
        return 0.0
    return None if best is None or sqnr is None else best - sqnr


def _constant(
    name: str, constant: Constant, activations: Mapping[str, QFormat], options: CalibrationOptions
) -> tuple[Format, TensorRange]:
    """Return the format of a constant, which leaves room for the bias of its operator, and the range."""
    rows = constant.rows()
    room = constant.readers.max_fraction_bits(
        activations, constant.graph_constants, len(rows), options.weight_word_length
    )
    if constant.axis is None or not options.per_channel:
        known = [most for most in room if most is not None]
        rows, room = rows.reshape(1, -1), [min(known) if known else None]
    method = Method(options.method)

    def choose(most: Sequence[int | None]) -> Format:
        forms = tuple(
            for_values(row, options.weight_word_length, method=method, percentile=options.percentile, most=n)
            for row, n in zip(rows, most, strict=True)
        )
        if constant.axis is None or not options.per_channel:
            return forms[0]
        return ChannelFormats(forms, constant.axis)

    try:
        fmt, alone = choose(room), choose([None] * len(rows))
    except FormatError as error:
        raise FormatError(f"constant '{name}': {error}") from None
    sqnr, best = _sqnr(rows, fmt), _sqnr(rows, alone)
    least, most = (float(rows.min()), float(rows.max())) if rows.size else (None, None)
    given, wanted = format_to_json(fmt), format_to_json(alone)
    return fmt, TensorRange(name, "constant", rows.size, least, most, 0, given, sqnr, wanted, _cost(best, sqnr), ())


def _sqnr(rows: NDArray[np.float64], fmt: Format) -> float | None:
    """Return the SQNR in dB of the values of a constant in a format; a row for each format of channels."""
    forms = (fmt,) if isinstance(fmt, QFormat) else fmt.formats
    noise = sum(exact_error(row, one) for row, one in zip(rows, forms, strict=True))
    return decibels(float(np.sum(rows**2)), noise)
