"""Sums over runs of the signal and the noise of one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import Point
from qengine.analysis.blame.result import GroupBlame, TensorBlame
from qengine.analysis.blame.suggest import suggest
from qengine.analysis.report import unused_bits
from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, UNDERFLOWED, Tally, quantize
from qengine.metrics.decibels import Energy, mean_ratio, ratio_in_decibels
from qengine.model.graph import Node
from qengine.model.ops.operator import find
from qengine.qformat import ChannelFormats, fraction_bits_of
from qengine.quantization.calibration.histogram import Histogram
from qengine.runtime.plan.plan import Plan


@dataclass
class TensorSums:
    """Sums of one tensor over all runs.

    Attributes
    ----------
    point : the tensor.
    cumulative : signal and noise of the tensor in the run in fixed point; None where it was not compared.
    own : signal and noise of rounding the tensor's float32 values; None where it was not rounded by itself.
    at_outputs : signal and noise at each output with this tensor alone rounded.
    all_but : signal and noise at each output with all tensors but this one rounded.
    histogram : histogram of the tensor's float32 values.
    rows : finite values of weights as (channels, any number); None without an axis of output channels.
    """

    point: Point
    cumulative: Energy | None = None
    own: Energy | None = None
    at_outputs: dict[str, Energy] = field(default_factory=dict)
    all_but: dict[str, Energy] = field(default_factory=dict)
    histogram: Histogram = field(default_factory=Histogram)
    rows: NDArray[np.float64] | None = None

    def in_run(self) -> Energy:
        """Return the sums of the tensor in the run in fixed point, made on first use."""
        if self.cumulative is None:
            self.cumulative = Energy()
        return self.cumulative

    def add_own(self, exact: NDArray[np.generic], rounded: NDArray[np.generic]) -> None:
        """Add the noise of rounding values of the tensor."""
        if self.own is None:
            self.own = Energy()
        self.own.add(exact, rounded)

    def add_constant(self, plans: Iterable[Plan], tally: Tally) -> None:
        """Add the values of a constant; an array that several steps read is added once."""
        seen: list[NDArray[np.generic]] = []
        nodes = {step.output.name: step.node for plan in plans for step in plan.steps}
        for output, _, tensor in self.point.uses:
            assert tensor.value is not None
            if any(tensor.value is one for one in seen):
                continue
            seen.append(tensor.value)
            n = fraction_bits_of(self.point.format, tensor.ndim)
            codes = quantize(tensor.value, n, tensor.encoding.word(self.point.format), tally=tally)
            self.add_own(tensor.value, np.ldexp(codes.astype(np.float64), -n))
            self.histogram.add(tensor.value)
            self.rows = self._channels(nodes[output], tensor.value) if len(seen) == 1 else None
        self.cumulative = self.own

    def _channels(self, node: Node, value: NDArray[np.generic]) -> NDArray[np.float64] | None:
        """Return weights of a node as (channels, any number); None without an axis of output channels."""
        if isinstance(self.point.format, ChannelFormats):
            return None
        axis = find(node).channel_axis(node, value.ndim) if value.size else None
        if axis is None:
            return None
        finite = np.where(np.isfinite(value), value, 0).astype(np.float64)
        return np.moveaxis(finite, axis, 0).reshape(value.shape[axis], -1)

    @property
    def sensitivity(self) -> float:
        """Noise over signal at the outputs, on average; 0 where the run does not round the tensor."""
        return mean_ratio(self.at_outputs.values())

    def result(self, tally: Tally, share: float, shares: tuple[str, ...], rounded_db: float | None) -> TensorBlame:
        """Return the figures of the tensor.

        Parameters
        ----------
        tally
            Counts of the tensor's codes in the run in fixed point.
        share
            Sensitivity of the tensor over the sum of all sensitivities.
        shares
            Tensors that must have the same format.
        rounded_db
            SQNR with all tensors rounded.
        """
        point, sensitivity = self.point, self.sensitivity
        all_but = output_decibels(self.all_but) if point.rounds else None
        return TensorBlame(
            name=point.name,
            kind=point.kind,
            operator=point.operator,
            format=point.format,
            shares=shares,
            elements=int(tally[TOTAL]),
            sqnr_db=None if self.cumulative is None else self.cumulative.sqnr_db,
            own_db=self.own.sqnr_db if point.rounds and self.own is not None else None,
            output_db=output_decibels(self.at_outputs) if point.rounds else None,
            all_but_db=all_but,
            gain_db=gain(all_but, rounded_db),
            noise={name: energy.noise for name, energy in self.at_outputs.items()},
            sensitivity=sensitivity,
            share=share,
            saturated=int(tally[SATURATED]),
            underflowed=int(tally[UNDERFLOWED]),
            unused_bits=unused_bits(point.format, int(tally[LARGEST])) if tally[TOTAL] else 0,
            suggestion=suggest(self.histogram, point.format, share, self.rows) if point.rounds else None,
        )


@dataclass
class GroupSums:
    """Sums of several tensors as one over all runs.

    Attributes
    ----------
    tensors : names of the tensors.
    at_outputs, all_but : see `TensorSums`.
    """

    tensors: tuple[str, ...]
    at_outputs: dict[str, Energy] = field(default_factory=dict)
    all_but: dict[str, Energy] = field(default_factory=dict)

    def result(self, name: str, rounded_db: float | None) -> GroupBlame:
        """Return the figures of the group, given the SQNR with all tensors rounded."""
        all_but = output_decibels(self.all_but)
        return GroupBlame(
            name=name,
            tensors=self.tensors,
            output_db=output_decibels(self.at_outputs),
            all_but_db=all_but,
            gain_db=gain(all_but, rounded_db),
            noise={output: energy.noise for output, energy in self.at_outputs.items()},
            sensitivity=mean_ratio(self.at_outputs.values()),
        )


def output_decibels(energies: Mapping[str, Energy]) -> float | None:
    """Return the SQNR at the outputs, of several from the mean of their ratios; None without sums."""
    return ratio_in_decibels(mean_ratio(energies.values())) if energies else None


def gain(better: float | None, rounded_db: float | None) -> float | None:
    """Return the gain of one SQNR over another; None where one is not a number, or the second is exact."""
    if better is None or rounded_db is None or not isfinite(rounded_db):
        return None
    return better - rounded_db
