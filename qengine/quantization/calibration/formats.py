"""Choice of all formats of a model from an observation: one for each group of activations and for each constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.keywords import check_keywords, options_with
from qengine.metrics.decibels import decibels
from qengine.model.constant_roles import constant_roles
from qengine.model.formats.constants import NO_LIMIT
from qengine.model.formats.files import format_to_json
from qengine.model.formats.parts import joins_in_parts
from qengine.model.static_values import known_tensors
from qengine.qformat import ChannelFormats, Format, QFormat, joined_format
from qengine.quantization.calibration.activations import ActivationFormats, Groups, cost_db
from qengine.quantization.calibration.choose import ConstantRows, Method
from qengine.quantization.calibration.error import power, squared_error
from qengine.quantization.calibration.logarithms import logarithm_notes
from qengine.quantization.calibration.observe import Observation
from qengine.quantization.calibration.options import CalibrationKeywords, CalibrationOptions
from qengine.quantization.calibration.range_notes import range_notes
from qengine.quantization.calibration.result import Calibration, TensorRange
from qengine.quantization.calibration.shifts import Product, limit_results, products_of, weight_limits
from qengine.quantization.calibration.ties import Ties
from qengine.quantization.calibration.weight_rules import is_per_channel, keeps_symmetric, word_lengths
from qengine.targets import Target


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
    return FormatChooser.of(observation).calibration(options_with(CalibrationOptions, options, keywords))


class FormatChooser:
    """Choice of the formats of a model, again and again: what no option changes is computed once.

    Parameters
    ----------
    observation
        Result of `observe`.
    """

    def __init__(self, observation: Observation) -> None:
        self._observation = observation
        self._groups: dict[Ties, Groups] = {}
        self._rows: dict[tuple[Ties, bool | str], ConstantRows] = {}

    @classmethod
    def of(cls, observation: Observation) -> FormatChooser:
        """Return the chooser of an observation, always the same."""
        if FormatChooser not in observation.shared:
            observation.shared[FormatChooser] = cls(observation)
        chooser: FormatChooser = observation.shared[FormatChooser]
        return chooser

    def formats(self, options: CalibrationOptions) -> dict[str, str | list[str]]:
        """Return the formats that `calibration` returns, without the ranges and the notes.

        Raises
        ------
        FormatError
            If no format holds the values of a tensor.
        """
        groups = self._groups_of(options)
        activations, constants = self._chosen(groups, options)
        found: dict[str, Format] = {**activations.formats, **{name: fmt for name, (fmt, _) in constants.items()}}
        return {name: format_to_json(found[name]) for name in groups.tensors.order if name in found}

    def calibration(self, options: CalibrationOptions) -> Calibration:
        """Return a format for every tensor that a run in fixed point quantizes, with its range and its cost.

        Raises
        ------
        FormatError
            If no format holds the values of a tensor.
        """
        groups = self._groups_of(options)
        activations, chosen = self._chosen(groups, options)
        formats: dict[str, Format] = dict(activations.formats)
        ranges, notes = activations.ranges(), [*activations.notes, *_shift_notes(activations.limited, options)]
        rows = self._rows_of(groups, options)
        noise = [_noise(rows, [pair[k] for pair in chosen.values()]) for k in range(2)]
        for (name, (fmt, alone)), array, *noises in zip(chosen.items(), rows.arrays, *noise, strict=True):
            formats[name] = fmt
            power = float(np.sum(array.astype(np.float64) ** 2))
            ranges[name] = _constant_range(name, array, (fmt, alone), [decibels(power, one) for one in noises])
            if ranges[name].best != ranges[name].format:
                is_mask = groups.tensors.constants[name].holds_infinity
                reason = "its infinities must saturate what reads them" if is_mask else "the bias needs the room"
                if options.target is not None and not is_mask:
                    reason = "a bias, or a constraint of the target, needs the room"
                notes.append(f"constant '{name}' has fewer fraction bits than it could: {reason}")
        for name, parts in groups.tensors.joins.items():
            if name in self._observation.histograms and (found := _joined_range(name, parts, groups, formats)):
                ranges[name] = found
        notes += logarithm_notes(groups, activations.formats)
        notes += range_notes(groups, activations.formats, {name: fmt for name, (fmt, _) in chosen.items()})
        order = [name for name in groups.tensors.order if name in formats or name in ranges]
        written = {name: format_to_json(formats[name]) for name in order if name in formats}
        if options.ties.whole_concats:  # one format for each part: one for the whole would ask to compute it whole
            model = groups.observation.model
            for name, join in joins_in_parts(model, known_tensors(model)).items():
                if name in written:
                    fmt = str(written.pop(name))
                    if written.keys() | model.constants.keys() >= set(join.inputs):  # no part is a join taken apart
                        written[name] = [fmt] * len(join.inputs)
        roles = constant_roles(groups.observation.model)
        return Calibration(
            written,
            tuple(replace(ranges[name], role=roles.get(name)) for name in order if name in ranges),
            options,
            self._observation.runs,
            tuple(notes),
        )

    def output_groups(self, options: CalibrationOptions) -> set[tuple[str, ...]]:
        """Return the groups of activations that the outputs are of."""
        groups = self._groups_of(options)
        return {tuple(groups.counted[place].names) for place in groups.of_outputs()}

    def _groups_of(self, options: CalibrationOptions) -> Groups:
        if options.ties not in self._groups:
            self._groups[options.ties] = Groups(self._observation, options.ties)
        return self._groups[options.ties]

    def _chosen(
        self, groups: Groups, options: CalibrationOptions
    ) -> tuple[ActivationFormats, dict[str, tuple[Format, Format]]]:
        """Return the formats of activations, and those of constants, within the shifts of the target."""
        activations, shifts = ActivationFormats(groups, options), options.constraints.shifts

        def constants() -> dict[str, Format]:
            return {name: fmt for name, (fmt, _) in self._constants(groups, activations.formats, options).items()}

        if shifts is not None:
            limit_results(self._products, activations, constants, shifts[0])
        return activations, self._constants(groups, activations.formats, options)

    @cached_property
    def _products(self) -> tuple[Product, ...]:
        return products_of(self._observation.optimized)

    def _rows_of(self, groups: Groups, options: CalibrationOptions) -> ConstantRows:
        """Return the values of all constants: a row for each format that they have."""
        key = options.ties, options.per_channel and options.constraints.per_channel
        if key not in self._rows:
            constants = groups.tensors.constants
            arrays = [
                one.rows() if is_per_channel(one, options) else one.rows().reshape(1, -1) for one in constants.values()
            ]
            self._rows[key] = ConstantRows(arrays, [f"constant '{name}'" for name in constants])
        return self._rows[key]

    def _constants(
        self, groups: Groups, activations: Mapping[str, QFormat], options: CalibrationOptions
    ) -> dict[str, tuple[Format, Format]]:
        """Return the format of each constant, which leaves room for the bias of its operator, and the one without."""
        constants, rows = groups.tensors.constants, self._rows_of(groups, options)
        bits = word_lengths(constants, activations, options)
        shifts = options.constraints.shifts
        most = {} if shifts is None else weight_limits(self._products, activations, shifts[1])
        limits = []
        for (name, constant), array in zip(constants.items(), rows.arrays, strict=True):
            room = constant.max_fraction_bits(activations, bits[name])
            room = room if len(array) == len(room) else room.min(keepdims=True, initial=NO_LIMIT)
            limits.append(np.minimum(room, most.get(name, NO_LIMIT)))
        lengths = np.repeat([bits[name] for name in constants], [len(array) for array in rows.arrays])
        symmetric = rows.symmetric_limits(lengths) if keeps_symmetric(options) else NO_LIMIT
        given, alone = (
            self._fraction_bits(rows, lengths, limit, options)
            for limit in (np.minimum(np.concatenate(limits or [np.zeros(0, np.int64)]), symmetric), NO_LIMIT)
        )
        found, first = {}, 0
        for (name, constant), array in zip(constants.items(), rows.arrays, strict=True):
            axis, end = constant.axis if is_per_channel(constant, options) else None, first + len(array)
            plain = QFormat(0, bits[name] - 1)

            def as_format(fraction_bits: list[int], axis: int | None = axis, plain: QFormat = plain) -> Format:
                forms = tuple(map(plain.with_fraction_bits, fraction_bits))
                return forms[0] if axis is None else ChannelFormats(forms, axis)

            own, best = given[first:end].tolist(), alone[first:end].tolist()
            fmt = as_format(own)
            found[name] = fmt, fmt if own == best else as_format(best)
            first = end
        return found

    @staticmethod
    def _fraction_bits(
        rows: ConstantRows, lengths: NDArray[np.int64], limits: NDArray[np.int64] | int, options: CalibrationOptions
    ) -> NDArray[np.int64]:
        """Return the fraction bits of each row in a word of its length."""
        method, found = Method(options.method), np.zeros(len(lengths), np.int64)
        for bits in np.unique(lengths).tolist():
            own = rows.fraction_bits(bits, method=method, percentile=options.percentile, limits=limits)
            found = np.where(lengths == bits, own, found)
        return found


def _shift_notes(limited: Mapping[str, int], options: CalibrationOptions) -> list[str]:
    """Return a note on the results that have fewer fraction bits, as the target has no shift for more."""
    shifts, target = options.constraints.shifts, options.target
    if not limited or shifts is None:
        return []
    assert isinstance(target, Target)
    listed = ", ".join(f"'{name}' by {count}" for name, count in list(limited.items())[:3])
    more = f" and {len(limited) - 3} more" if limited.keys() - set(list(limited)[:3]) else ""
    return [
        f"fewer fraction bits: {listed}{more}; sums of target {target.name} are shifted right by {shifts[0]} or more"
    ]


def _joined_range(name: str, parts: Sequence[str], groups: Groups, formats: Mapping[str, Format]) -> TensorRange | None:
    """Return the range of a joined tensor whose parts have formats of their own; None where one has none."""
    found, noise = [], 0.0
    for part in parts:
        source = groups.sources.named(part, formats)
        fmt = None if source is None else formats[source]
        histogram = groups.histogram(part)
        if not isinstance(fmt, QFormat) or histogram is None:
            return None
        found.append(fmt)
        noise += squared_error(histogram.cells(), fmt)
    whole = groups.observation.histograms[name]
    text = format_to_json(joined_format(tuple(found), 0))
    count, lost = whole.finite + whole.nan + whole.infinite, whole.nan + whole.infinite
    least, most = (whole.least, whole.most) if whole.finite else (None, None)
    sqnr = decibels(power(whole.cells()), noise)
    return TensorRange(name, "activation", count, least, most, lost, text, sqnr, text, 0.0, ())


def _noise(rows: ConstantRows, formats: Sequence[Format]) -> list[float]:
    """Return the sum of squared errors of each constant in its format."""
    each = [(fmt,) if isinstance(fmt, QFormat) else fmt.formats for fmt in formats]
    lengths = np.array([fmt.bits for forms in each for fmt in forms], np.int64)
    n, errors = np.array([fmt.fraction_bits for forms in each for fmt in forms], np.int64), np.zeros(len(lengths))
    for bits in np.unique(lengths).tolist():
        errors = np.where(lengths == bits, rows.noise(bits, n), errors)
    found = errors.tolist()
    ends = np.cumsum([len(forms) for forms in each]).tolist()
    return [sum(found[end - len(forms) : end]) for forms, end in zip(each, ends, strict=True)]


def _constant_range(
    name: str, rows: NDArray[np.floating], formats: tuple[Format, Format], sqnr: Sequence[float | None]
) -> TensorRange:
    """Return the range of a constant, with its format and the one that it would have without a bias."""
    given, wanted = map(format_to_json, formats)
    least, most = (float(rows.min()), float(rows.max())) if rows.size else (None, None)
    cost = cost_db(sqnr[1], sqnr[0])
    return TensorRange(name, "constant", rows.size, least, most, 0, given, sqnr[0], wanted, cost, ())
