"""Formats of activations, group by group, from the histograms of an observation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from numpy.typing import NDArray

from qengine.model.formats.constants import saturating_magnitude
from qengine.model.passes.hidden_tensors import cells_of_recurrent
from qengine.qformat import FRACTION_BITS, QFormat, largest_scale
from qengine.quantization.calibration.allowed import allowed_formats, nearest
from qengine.quantization.calibration.channels import ENOUGH, ChannelRanges
from qengine.quantization.calibration.choose import Counts, Method
from qengine.quantization.calibration.error import sqnr_in
from qengine.quantization.calibration.flat import Flat, FlatReaders
from qengine.quantization.calibration.histogram import Histogram
from qengine.quantization.calibration.joined import inner_results, joined_parts, magnitude, reached
from qengine.quantization.calibration.masks import scores_of
from qengine.quantization.calibration.observe import Observation
from qengine.quantization.calibration.options import CalibrationOptions
from qengine.quantization.calibration.outputs import STEPS, WIDE, Sources, has_lost, largest, listed, lost_channels
from qengine.quantization.calibration.result import TensorRange
from qengine.quantization.calibration.sums import Sums, missing_note
from qengine.quantization.calibration.tensors import quantized_tensors
from qengine.quantization.calibration.ties import Ties


@dataclass(frozen=True)
class CountedGroup:
    """Activations that share a format, and that runs computed.

    Attributes
    ----------
    names : names of all tensors of the group.
    histograms : histograms of those that runs computed, by name.
    merged : histogram of all their values together.
    flats : functions that alone read them, see `flat`; () for other readers.
    """

    names: Sequence[str]
    histograms: Mapping[str, Histogram]
    merged: Histogram
    flats: Sequence[Flat] = ()


class Groups:
    """The groups of activations of an observation, with their histograms: what no option changes but those of ties.

    Attributes
    ----------
    observation : the observation.
    tensors : tensors that a run quantizes.
    masks : names of tensors in which an infinity masks a score.
    inputs : names of the inputs.
    counted : groups that runs computed.
    notes : a note for each group that they did not, but may, by the number of counted groups before it.
    counts : histograms of the groups.
    outputs : number of the counted group of each output, or of each part of one that has a format for each part.
    parts : largest magnitude of each part of the joins that have one format, by the name of the join.
    """

    def __init__(self, observation: Observation, ties: Ties) -> None:
        self.observation = observation
        self.tensors = quantized_tensors(observation.model, observation.optimized, ties)
        self.masks = scores_of(observation.model).keys()
        self.inputs = {value.name for value in observation.model.inputs}
        after_passes = observation.optimized.tensors() | observation.optimized.inner_tensors()
        self.counted: list[CountedGroup] = []
        self.notes: dict[int, list[str]] = {}
        readers = FlatReaders(observation.optimized, observation.histograms)
        for group in self.tensors.groups:
            histograms = {name: counts for name in group if (counts := self.histogram(name)) is not None}
            if histograms:
                merged = reduce(Histogram.merged, histograms.values())
                self.counted.append(CountedGroup(group, histograms, merged, readers.of(group)))
            elif missed := [name for name in group if name in after_passes and name in self.tensors.real_activations]:
                note = f"'{missed[0]}' has no format: no run computed it; give it one, or more data"
                self.notes.setdefault(len(self.counted), []).append(note)
        names = [next(iter(one.histograms)) for one in self.counted]
        self.counts = Counts([one.merged for one in self.counted], names, [one.flats for one in self.counted])
        self.place = {name: i for i, group in enumerate(self.counted) for name in group.names}
        self.sources = Sources(observation.model)
        outputs = [value.name for value in observation.model.outputs]
        self._output_of = {part: name for name in outputs for part in self.tensors.joins.get(name, (name,))}
        sources = {part: self.sources.named(part, self.place) for part in self._output_of}
        self.outputs = {part: self.place[name] for part, name in sources.items() if name is not None}
        self.parts = {
            name: {part: self._magnitude(part, constants) for part in parts}
            for name, parts, constants in joined_parts(observation.optimized)
            if name in self.place and name in observation.histograms
        }
        self._inner: dict[int, set[int]] = {}
        for name, result in inner_results(observation.model):
            if name in self.place and result in self.place:
                self._inner.setdefault(self.place[name], set()).add(self.place[result])

    def _magnitude(self, name: str, constants: Mapping[str, NDArray[Any]]) -> float:
        """Return the largest magnitude of a tensor in the data; 0 where no run computed it."""
        own = self.observation.histograms.get(name)
        return largest(own) if own is not None else magnitude(constants[name]) if name in constants else 0.0

    def of_outputs(self, places: Iterable[int] | None = None) -> list[int]:
        """Return the groups of outputs, all or some, with those of inner graphs that they come from."""
        return reached(self.outputs.values() if places is None else places, self._inner)

    def lost_outputs(self, formats: Sequence[QFormat], notes: list[str]) -> list[int]:
        """Return the groups of outputs that would lose the signal of a part or a channel, and add a note on each."""
        found = []
        for part, place in self.outputs.items():
            fmt, group = formats[place], self.counted[place]
            if fmt.bits >= WIDE or place in found:
                continue
            one = group.histograms.get(self.sources.named(part, self.place) or part)
            what = self._lost_part(place, formats) or self.lost_channels(part, fmt)
            if one is not None and has_lost(largest(one), largest(group.merged), fmt):
                what = f"its values up to {largest(one):.3g}"
            if what:
                found.append(place)
                output = self._output_of[part]
                name = f"output '{output}'" if part == output else f"part '{part}' of output '{output}'"
                notes.append(f"{name} has {WIDE} bits: in {fmt} {what} would have fewer than {STEPS} steps")
        return self.of_outputs(found)

    def _lost_part(self, place: int, formats: Sequence[QFormat]) -> str | None:
        """Return a part of a join that loses its signal in the formats of an output, as text."""
        places = set(self.of_outputs([place]))
        for name, parts in self.parts.items():
            own = self.place[name]
            if own not in places or self.sources.is_bounded(name):
                continue
            whole = largest(self.observation.histograms[name])
            for part, range_ in parts.items():
                if has_lost(range_, whole, formats[own]):
                    return f"part '{part}' (up to {range_:.3g})"
        return None

    def lost_channels(self, name: str, fmt: QFormat) -> str | None:
        """Return the channels of an output, or of a part of one, that lose their signal in a format, as text."""
        ranges = self.channels_of(name)
        if ranges is None:
            return None
        channels = lost_channels(ranges.most, fmt)
        return listed(channels, len(ranges.most)) if len(channels) else None

    def channels_of(self, name: str) -> ChannelRanges | None:
        """Return the ranges of the channels of a tensor; None where they say nothing."""
        ranges, histogram = self.observation.channels.get(name), self.observation.histograms.get(name)
        if ranges is None or histogram is None or self.sources.is_bounded(name):
            return None
        count = histogram.finite + histogram.nan + histogram.infinite
        return ranges if count >= ENOUGH * len(ranges.most) else None

    def histogram(self, name: str) -> Histogram | None:
        """Return the histogram of a tensor that runs computed, or of a constant; None for any other."""
        histogram = self.observation.histograms.get(name)
        table = self.tensors.tables.get(name)
        if histogram is None and name in self.tensors.constants:
            table = self.tensors.constants[name].rows()
        if histogram is None and table is not None:
            histogram = Histogram()
            histogram.add(table)
        return histogram


class ActivationFormats:
    """The formats of groups of activations under some options.

    Parameters
    ----------
    groups
        The groups, with their histograms.
    options
        See `choose_formats`.

    Attributes
    ----------
    formats : format of every tensor of the groups that runs computed.
    notes : remarks for the user.

    Raises
    ------
    FormatError
        If no format holds the values of a tensor.
    """

    def __init__(self, groups: Groups, options: CalibrationOptions) -> None:
        self._groups, self._options = groups, options
        self._unlimited: dict[int, QFormat] = {}
        observation = groups.observation
        ranges = (observation.sums or {}) if options.results_wrap else {}
        self._sums = Sums(ranges, groups.place, options.headroom)
        self.notes: list[str] = [*groups.observation.notes, *options.notes_on_target()]
        self._signed: list[bool] = []
        for i, group in enumerate(groups.counted):
            self.notes += groups.notes.get(i, [])
            self._signed.append(not (options.may_be_unsigned and self._is_unsigned(group.histograms)))
            for name, one in group.histograms.items():
                if lost := one.nan + one.infinite * (name not in groups.masks):
                    self.notes.append(f"{lost:,} values of '{name}' are NaN or infinite in float32, and were left out")
        self.notes += groups.notes.get(len(groups.counted), [])
        if options.results_wrap:
            self.notes += missing_note(observation.model, observation.optimized, ranges, groups.place)
        every = range(len(groups.counted))
        self._chosen = self._held(every, groups.counts, options.activation_word_length)
        cells = cells_of_recurrent(observation.model)
        if options.allows_activation_bits(WIDE):
            self._set_words([i for i, one in enumerate(groups.counted) if cells.intersection(one.names)], WIDE)
        self._set_outputs()
        self._choose_among()
        self.notes += self._sums.notes()
        self.formats: dict[str, QFormat] = {}
        for group, fmt in zip(groups.counted, self._chosen, strict=True):
            self.formats |= dict.fromkeys(group.names, fmt)
        self._wider: dict[str, QFormat] = {}
        self._widen_for_infinities()

    def _set_outputs(self) -> None:
        """Give the groups of the outputs a word length of their own."""
        groups, wanted = self._groups, self._options.output_bits
        if isinstance(wanted, str) and not self._options.allows_activation_bits(WIDE):
            return
        wide = groups.lost_outputs(self._chosen, self.notes) if isinstance(wanted, str) else groups.of_outputs()
        self._set_words(wide, WIDE if isinstance(wanted, str) else wanted)

    def _set_words(self, groups: Iterable[int], bits: int) -> None:
        """Choose the formats of some groups again, in words of another length."""
        places = sorted({place for place in groups if self._chosen[place].bits != bits})
        if places:
            every = self._groups.counted
            counted = [every[i] for i in places]
            counts = Counts([one.merged for one in counted], [next(iter(one.histograms)) for one in counted])
            found = self._held(places, counts, bits)
            for place, fmt in zip(places, found, strict=True):
                self._chosen[place] = fmt

    def _choose_among(self) -> None:
        """Take the best of those formats that the target has for an operand or a result, where it has only some."""
        groups, constraints = self._groups, self._options.constraints
        self._allowed = allowed_formats(groups.observation.optimized, constraints, groups.place)
        for place, allowed in self._allowed.items():
            one, chosen = groups.counted[place], self._chosen[place]
            if not allowed:
                self.notes.append(f"no format of '{one.names[0]}' suits all operators of the target around it")
            elif chosen not in allowed:
                self._chosen[place] = nearest(chosen, allowed, one.merged, Method(self._options.method))

    def limit(self, name: str, fraction_bits: int) -> bool:
        """Give a tensor, and all that share its format, no more than some fraction bits; return whether that is done.

        It is not where the target has no such format.
        """
        place = self._groups.place.get(name)
        if place is None:
            return False
        wanted = self._chosen[place]
        allowed = self._allowed.get(place)
        if allowed is not None:
            coarse = [fmt for fmt in allowed if fmt.fraction_bits <= fraction_bits]
            limited = max(coarse, key=lambda fmt: fmt.fraction_bits, default=wanted)
        else:
            limited = wanted.with_fraction_bits(max(fraction_bits, FRACTION_BITS[0]))
        if limited.fraction_bits >= self.formats[name].fraction_bits:
            return False
        self._unlimited.setdefault(place, wanted)
        self._chosen[place] = limited
        self.formats |= dict.fromkeys(self._groups.counted[place].names, limited)
        return True

    @property
    def limited(self) -> dict[str, int]:
        """The number of fraction bits that limits took from groups, by the first tensor of each."""
        counted = self._groups.counted
        return {
            counted[place].names[0]: fmt.fraction_bits - self._chosen[place].fraction_bits
            for place, fmt in self._unlimited.items()
        }

    def _held(self, places: Sequence[int], counts: Counts, bits: int) -> list[QFormat]:
        """Return the formats of groups, in which also the sums before their activations fit."""
        found = self._formats(counts, [self._signed[i] for i in places], bits)
        return [self._sums.held_by(place, fmt) for place, fmt in zip(places, found, strict=True)]

    def _formats(self, counts: Counts, signed: Sequence[bool], bits: int) -> list[QFormat]:
        options = self._options
        return counts.formats(
            bits,
            signed,
            method=Method(options.method),
            percentile=options.percentile,
            headroom=options.headroom,
        )

    def _widen_for_infinities(self) -> None:
        """Make room, where a tensor was infinite, for codes that saturate the results of its readers."""
        groups = [g for g in self._groups.counted if any(one.infinite for one in g.histograms.values())]
        readers = self._groups.observation.optimized.readers() if groups else {}
        for group in reversed(groups):
            infinite = [name for name, one in group.histograms.items() if one.infinite]
            magnitude = max(saturating_magnitude({name}, readers.get(name, ()), self.formats) for name in infinite)
            if not magnitude:
                continue
            fmt = self.formats[group.names[0]]
            n = largest_scale(-magnitude, 0.0, fmt.bits) if fmt.signed else fmt.fraction_bits
            if n < fmt.fraction_bits:
                self._wider |= dict.fromkeys(group.names, fmt.with_fraction_bits(n))
                self.formats |= dict.fromkeys(group.names, fmt.with_fraction_bits(n))

    def _is_unsigned(self, histograms: Mapping[str, Histogram]) -> bool:
        """Whether a group may be unsigned: its operators, or the data where it is an input, never give negatives."""
        groups = self._groups
        certain = groups.tensors.never_negative
        if any(one.least < 0 or (one.infinite and name not in certain) for name, one in histograms.items()):
            return False  # an infinity may be a negative one
        if all(one.is_zero and name not in certain for name, one in histograms.items()):
            return False  # an initial state of zeros tells nothing
        if not all(name in certain or name in groups.inputs or name in groups.tensors.tables for name in histograms):
            return False
        for name in histograms:
            if name in groups.inputs and name not in certain:
                self.notes.append(f"input '{name}' is unsigned, as it was never negative: what is negative becomes 0")
        return True

    def ranges(self) -> dict[str, TensorRange]:
        """Return the range of every tensor that runs computed, with the format that it would have alone."""
        ranges: dict[str, TensorRange] = {}
        for place, (group, fmt) in enumerate(zip(self._groups.counted, self._chosen, strict=True)):
            several = group.histograms if len(group.histograms) > 1 else {}
            counts = Counts(list(several.values()), list(several), [group.flats] * len(several))
            found = self._formats(counts, [fmt.signed] * len(several), fmt.bits)
            alone = dict(zip(several, found, strict=True))
            for name, one in group.histograms.items():
                shares = tuple(other for other in group.histograms if other != name)
                best = alone.get(name, self._sums.wanted(place, self._unlimited.get(place, fmt)))
                ranges[name] = self._range(name, one, fmt, best, shares)
                if name in self._wider:
                    wider = self._wider[name]
                    ranges[name] = replace(ranges[name], format=str(wider), sqnr_db=sqnr_in(one, wider))
        return ranges

    def _range(
        self, name: str, histogram: Histogram, fmt: QFormat, alone: QFormat, shares: tuple[str, ...]
    ) -> TensorRange:
        groups = self._groups
        sqnr = sqnr_in(histogram, fmt)
        best = sqnr if alone == fmt else sqnr_in(histogram, alone)
        has_values = histogram.finite > 0
        return TensorRange(
            name,
            "input" if name in groups.inputs else "constant" if name in groups.tensors.tables else "activation",
            histogram.finite + histogram.nan + histogram.infinite,
            histogram.least if has_values else None,
            histogram.most if has_values else None,
            histogram.nan + histogram.infinite,
            str(fmt),
            sqnr,
            str(alone),
            cost_db(best, sqnr),
            shares,
        )


def cost_db(best: float | None, sqnr: float | None) -> float | None:
    """Return the difference of two SQNR in dB; None where one has no value."""
    if best == sqnr:
        return 0.0
    return None if best is None or sqnr is None else best - sqnr
