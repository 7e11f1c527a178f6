"""Notes on tensors of which a part does not fit the format: it becomes all zeros, or its range is too different.

Three kinds of parts are looked at: tensors that share a format with others, because operators only move elements
between them; parts of a Concat that joins them to one format; and channels of outputs. The least severe losses are
left out: at most a few lines are written, those of parts that become all zeros first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from qengine.qformat import QFormat
from qengine.quantization.calibration.activations import Groups
from qengine.quantization.calibration.outputs import FACTOR, largest, listed

MAX_NOTES = 3
"""Largest number of notes."""

_FEW_STEPS = 8
"""Number of steps that a 32nd of the range of an unsigned word of 8 bits has."""


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


def range_notes(groups: Groups, formats: Mapping[str, QFormat]) -> list[str]:
    """Return notes on parts that lose their signal in the formats of their tensors, the worst first."""
    found = [*_of_joins(groups, formats), *_of_groups(groups, formats), *_of_channels(groups, formats)]
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


def losses_of(part: str, range_: float, whole: str, whole_range: float, fmt: QFormat, *, is_output: bool) -> list[Loss]:
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
    is_output
        Whether the tensor is an output of the model.
    """
    steps = range_ / fmt.step
    if range_ == 0.0 or range_ * FACTOR > whole_range or steps >= _FEW_STEPS:
        return []
    # Half a step rounds to 0.
    effect = f"makes {part} (up to {range_:.3g}) all zeros" if steps <= 0.5 else f"leaves {steps:.2g} steps to {part}"
    extent = "" if steps <= 0.5 else f" (up to {range_:.3g})"
    remedy = "--output-bits 16" if is_output else "--activation-bits 16, or formats of 16 bits for these tensors"
    return [Loss(whole, steps, f"{fmt} of '{whole}' (up to {whole_range:.4g}) {effect}{extent}: try {remedy}")]


def _of_groups(groups: Groups, formats: Mapping[str, QFormat]) -> Iterator[Loss]:
    """Yield losses of tensors that share a format with a larger one."""
    outputs = set(groups.outputs.values())
    for place, group in enumerate(groups.counted):
        fmt, whole = formats[group.names[0]], largest(group.merged)
        other = max(group.histograms, key=lambda name: largest(group.histograms[name]))
        for name, histogram in group.histograms.items():
            if name != other:
                range_ = largest(histogram)
                yield from losses_of(f"'{name}'", range_, other, whole, fmt, is_output=place in outputs)


def _of_joins(groups: Groups, formats: Mapping[str, QFormat]) -> Iterator[Loss]:
    """Yield losses of the parts that a Concat brings to one format."""
    observation, outputs = groups.observation, set(groups.outputs.values())
    for node in observation.optimized.nodes:
        if node.operator != "Concat" or node.domain or node.outputs[0] not in formats:
            continue
        (name,) = node.outputs
        histogram = observation.histograms.get(name)
        if histogram is None:
            continue
        is_output = groups.place.get(name) in outputs
        for part in node.inputs:
            own, array = observation.histograms.get(part), observation.optimized.constants.get(part, np.zeros(0))
            range_ = float(np.max(np.abs(array), initial=0)) if own is None else largest(own)
            whole = largest(histogram)
            yield from losses_of(f"part '{part}'", range_, name, whole, formats[name], is_output=is_output)


def _of_channels(groups: Groups, formats: Mapping[str, QFormat]) -> Iterator[Loss]:
    """Yield losses of the channels of outputs."""
    for name in groups.outputs:
        ranges = groups.observation.channels.get(name)
        source = groups.sources.named(name, formats)
        if ranges is None or source is None or groups.sources.is_bounded(name):
            continue
        fmt, whole = formats[source], float(ranges.most.max(initial=0))
        lost = (ranges.most > 0) & (ranges.most < _FEW_STEPS * fmt.step) & (ranges.most * FACTOR <= whole)
        if lost.any():
            channels = listed(np.flatnonzero(lost), len(ranges.most))
            yield from losses_of(channels, float(ranges.most[lost].max()), name, whole, fmt, is_output=True)
