"""Notes on tensors of which a part does not fit the format: it becomes all zeros, or its range is too different.

Three kinds of parts are looked at: tensors that share a format with others, because operators only move elements
between them; parts of a Concat or Where that joins them to one format; and channels of tensors and of weights. The
least severe losses are left out: at most a few lines are written, those of parts that become all zeros first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qengine.qformat import Format, QFormat
from qengine.quantization.calibration.activations import Groups
from qengine.quantization.calibration.channels import ChannelRanges, few_steps
from qengine.quantization.calibration.outputs import WIDE, largest, listed

MAX_NOTES = 3
"""Largest number of notes."""

_OF_OUTPUT = "--output-bits 16"
_OF_WEIGHTS = "--per-channel"
_OF_OTHERS = "--activation-bits 16, or formats of 16 bits for these tensors"


@dataclass(frozen=True)
class Loss:
    """A part of a tensor that loses its signal in the format of the whole.

    Attributes
    ----------
    whole : name of the tensor.
    steps : largest magnitude of the part in steps of the format.
    text : note for the user.
    """

    whole: str
    steps: float
    text: str


def range_notes(groups: Groups, formats: Mapping[str, QFormat], constants: Mapping[str, Format]) -> list[str]:
    """Return notes on parts that lose their signal in the formats of their tensors, the worst first."""
    found = [*_of_joins(groups, formats), *_of_groups(groups, formats), *_of_channels(groups, formats)]
    found += _of_weights(groups, constants)
    place = {loss.whole: groups.place.get(loss.whole, loss.whole) for loss in found}
    each: dict[object, Loss] = {}
    for loss in found:  # one for each group of tensors with one format
        known = each.setdefault(place[loss.whole], loss)
        if loss.steps < known.steps:
            each[place[loss.whole]] = loss
    return worst(each.values())


def worst(losses: Iterable[Loss]) -> list[str]:
    """Return the texts of the worst losses, and how many more there are."""
    ordered = sorted(losses, key=lambda loss: loss.steps)
    texts = [loss.text for loss in ordered[:MAX_NOTES]]
    if more := len(ordered[MAX_NOTES:]):
        texts[-1] += f"; so {'does 1 more tensor' if more == 1 else f'do {more} more tensors'}"
    return texts


def losses_of(part: str, range_: float, whole: str, whole_range: float, fmt: QFormat, remedy: str) -> list[Loss]:
    """Return the loss of a part, if its range is too different from that of the whole.

    Parameters
    ----------
    part
        Words for the part.
    range_
        Largest magnitude of the part.
    whole, whole_range
        Name of a tensor, and the largest magnitude of all values with its format.
    fmt
        Format of the tensor.
    remedy
        Advice on what to try. It is left out where the word has 16 bits and the advice is a longer one.
    """
    steps = range_ / fmt.step
    if not few_steps(np.array(range_), whole_range, fmt):
        return []
    # Half a step rounds to 0.
    effect = f"makes {part} (up to {range_:.3g}) all zeros" if steps <= 0.5 else f"leaves {steps:.2g} steps to {part}"
    extent = "" if steps <= 0.5 else f" (up to {range_:.3g})"
    advice = "" if fmt.bits >= WIDE and remedy != _OF_WEIGHTS else f": try {remedy}"
    return [Loss(whole, steps, f"{fmt} of '{whole}' (up to {whole_range:.4g}) {effect}{extent}{advice}")]


def _remedy(groups: Groups, place: int | None) -> str:
    """Return words for what to try for a group."""
    return _OF_OUTPUT if place in groups.of_outputs() else _OF_OTHERS


def _of_groups(groups: Groups, formats: Mapping[str, QFormat]) -> Iterator[Loss]:
    """Yield losses of tensors that share a format with a larger one."""
    for place, group in enumerate(groups.counted):
        fmt, whole = formats[group.names[0]], largest(group.merged)
        other = max(group.histograms, key=lambda name: largest(group.histograms[name]))
        for name, histogram in group.histograms.items():
            if name != other:
                range_ = largest(histogram)
                yield from losses_of(f"'{name}'", range_, other, whole, fmt, _remedy(groups, place))


def _of_joins(groups: Groups, formats: Mapping[str, QFormat]) -> Iterator[Loss]:
    """Yield losses of the parts that a join brings to one format."""
    for name, parts in groups.parts.items():
        whole, remedy = largest(groups.observation.histograms[name]), _remedy(groups, groups.place[name])
        for part, range_ in parts.items():
            yield from losses_of(f"part '{part}'", range_, name, whole, formats[name], remedy)


def _of_channels(groups: Groups, formats: Mapping[str, QFormat]) -> Iterator[Loss]:
    """Yield losses of the channels of activations."""
    for name in groups.observation.channels:
        ranges, source = groups.channels_of(name), groups.sources.named(name, formats)
        if source is None or ranges is None:
            continue
        fmt, whole = formats[source], float(ranges.most.max(initial=0))
        channels, range_ = ranges.lost_in(fmt)
        if len(channels):
            remedy = _remedy(groups, groups.place.get(source))
            yield from losses_of(listed(channels, len(ranges.most)), range_, name, whole, fmt, remedy)


def _of_weights(groups: Groups, formats: Mapping[str, Format]) -> Iterator[Loss]:
    """Yield losses of the output channels of weights with one format."""
    for name, fmt in formats.items():
        constant = groups.tensors.constants[name]
        if not isinstance(fmt, QFormat) or constant.channels == 1:
            continue
        ranges = ChannelRanges(np.max(np.abs(constant.rows()), axis=1, initial=0).astype(np.float64))
        channels, range_ = ranges.lost_in(fmt)
        if len(channels):
            words, whole = listed(channels, constant.channels), float(ranges.most.max())
            yield from losses_of(words, range_, name, whole, fmt, _OF_WEIGHTS)
