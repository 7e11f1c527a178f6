"""Notes on parts of tensors that lose their signal in a run: they become all zeros, or keep a few steps of the format.

With data the values decide: of the parts of a Concat, of the channels of outputs, and of tensors with the code 0 only.
Without data, the formats alone tell of a Concat whose format leaves nothing of any value that a part may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph
from qengine.model.steps import Join
from qengine.model.steps.forms import Concatenated
from qengine.qformat import QFormat
from qengine.quantization.calibration.channels import ENOUGH, ChannelRanges
from qengine.quantization.calibration.outputs import Sources, listed
from qengine.quantization.calibration.range_notes import Loss, losses_of, worst
from qengine.runtime.plan.plan import BoundStep

_REMEDY = "16 bits for it in the formats, or a calibration with --output-bits 16"


@dataclass
class OutputRanges:
    """Ranges of the channels of an output over runs.

    Attributes
    ----------
    format : format of the output.
    channels : largest magnitude of each channel in float32.
    elements : number of elements of all runs.
    """

    format: QFormat
    channels: ChannelRanges = field(default_factory=ChannelRanges)
    elements: int = 0

    def add(self, exact: NDArray[np.floating]) -> None:
        """Add the values of a run in float32."""
        self.channels.add(exact)
        self.elements += exact.size


def lost_by_format(bound_steps: Iterable[BoundStep]) -> list[str]:
    """Return notes on parts of Concats that the formats alone make zeros, or leave a few steps."""
    found = []
    for name, part, own, fmt in _joins(bound_steps):
        reach = [max(-one.min if one.signed else 0.0, one.max) for one in (own, fmt)]
        found += losses_of(f"part '{part}'", reach[0], name, reach[1], fmt, _REMEDY)
    return worst(_of_each(found))


def lost_in_run(
    graph: Graph,
    bound_steps: Iterable[BoundStep],
    ranges: Mapping[str, float],
    zeros: Iterable[str],
    outputs: Mapping[str, OutputRanges],
) -> list[str]:
    """Return notes on what lost its signal in a run, the worst first.

    Parameters
    ----------
    graph
        The model.
    bound_steps
        Steps of the run.
    ranges
        Largest magnitude of each tensor in float32.
    zeros
        Tensors with no code but 0, and values that are not 0.
    outputs
        Ranges of each output that has a format.
    """
    sources = Sources(graph)
    found = []
    for name in zeros:
        extent = f"'{name}' (up to {ranges.get(name, 0.0):.3g})"
        found.append(Loss(name, 0.0, f"{extent} is all zeros in its format: give it one with more fraction bits"))
    for name, part, _, fmt in _joins(bound_steps):
        if part in ranges and name in ranges:
            found += losses_of(f"part '{part}'", ranges[part], name, ranges[name], fmt, _REMEDY)
    for name, output in outputs.items():
        channels = output.channels
        lost, range_ = channels.lost_in(output.format)
        is_certain = output.elements >= ENOUGH * len(channels.most) and not sources.is_bounded(name)
        if len(lost) and is_certain:
            words, whole = listed(lost, len(channels.most)), float(channels.most.max())
            found += losses_of(words, range_, name, whole, output.format, _REMEDY)
    return worst(_of_each(found))


def _joins(bound_steps: Iterable[BoundStep]) -> Iterator[tuple[str, str, QFormat, QFormat]]:
    """Yield the name and the format of each part that a Concat brings to one format, with those of the output."""
    for bound_step in bound_steps:
        step, out = bound_step.step, bound_step.output
        if isinstance(step, Join) and isinstance(step.function, Concatenated) and isinstance(out.format, QFormat):
            for part in step.joined:
                if isinstance(part.format, QFormat):
                    yield out.name, part.name, part.format, out.format


def _of_each(losses: Iterable[Loss]) -> list[Loss]:
    """Return the worst loss of each tensor."""
    found: dict[str, Loss] = {}
    for loss in losses:
        if loss.whole not in found or loss.steps < found[loss.whole].steps:
            found[loss.whole] = loss
    return list(found.values())
