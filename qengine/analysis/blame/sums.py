"""Sums over runs of the signal and the noise of one tensor."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.blame.points import Point
from qengine.analysis.blame.result import TensorBlame
from qengine.analysis.blame.suggest import suggest
from qengine.analysis.report import unused_bits
from qengine.kernels.reference.requantize import LARGEST, SATURATED, TOTAL, UNDERFLOWED, Tally, quantize
from qengine.metrics.decibels import Energy, mean_ratio, ratio_in_decibels
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
    cumulative : signal and noise of the tensor in the run in fixed point.
    own : signal and noise of rounding the tensor's float32 values.
    at_outputs : signal and noise at each output with this tensor alone rounded.
    histogram : histogram of the tensor's float32 values.
    rows : finite values of weights as (channels, any number); None without an axis of output channels.
    """

    point: Point
    cumulative: Energy = field(default_factory=Energy)
    own: Energy = field(default_factory=Energy)
    at_outputs: dict[str, Energy] = field(default_factory=dict)
    histogram: Histogram = field(default_factory=Histogram)
    rows: NDArray[np.float64] | None = None

    def add_constant(self, plan: Plan, tally: Tally) -> None:
        """Add the values of a constant; an array that several steps read is added once."""
        seen: list[NDArray[np.generic]] = []
        for i, _, tensor in self.point.uses:
            assert tensor.value is not None
            if any(tensor.value is one for one in seen):
                continue
            seen.append(tensor.value)
            n = fraction_bits_of(self.point.format, tensor.ndim)
            codes = quantize(tensor.value, n, self.point.format.word(), tally=tally)
            self.own.add(tensor.value, np.ldexp(codes.astype(np.float64), -n))
            self.histogram.add(tensor.value)
            self.rows = self._channels(plan, i, tensor.value) if len(seen) == 1 else None
        self.cumulative = self.own

    def _channels(self, plan: Plan, i: int, value: NDArray[np.generic]) -> NDArray[np.float64] | None:
        """Return weights of step `i` as (channels, any number); None without an axis of output channels."""
        if isinstance(self.point.format, ChannelFormats):
            return None
        node = plan.steps[i].node
        axis = find(node).channel_axis(node, value.ndim) if value.size else None
        if axis is None:
            return None
        finite = np.where(np.isfinite(value), value, 0).astype(np.float64)
        return np.moveaxis(finite, axis, 0).reshape(value.shape[axis], -1)

    @property
    def sensitivity(self) -> float:
        """Noise over signal at the outputs, on average; 0 where the run does not round the tensor."""
        return mean_ratio(self.at_outputs.values())

    def result(self, tally: Tally, share: float, shares: tuple[str, ...]) -> TensorBlame:
        """Return the figures of the tensor.

        Parameters
        ----------
        tally
            Counts of the tensor's codes in the run in fixed point.
        share
            Sensitivity of the tensor over the sum of all sensitivities.
        shares
            Tensors that must have the same format.
        """
        point, sensitivity = self.point, self.sensitivity
        return TensorBlame(
            name=point.name,
            kind=point.kind,
            operator=point.operator,
            format=point.format,
            shares=shares,
            elements=int(tally[TOTAL]),
            sqnr_db=self.cumulative.sqnr_db,
            own_db=self.own.sqnr_db if point.rounds else None,
            output_db=ratio_in_decibels(sensitivity) if point.rounds else None,
            noise={name: energy.noise for name, energy in self.at_outputs.items()},
            sensitivity=sensitivity,
            share=share,
            saturated=int(tally[SATURATED]),
            underflowed=int(tally[UNDERFLOWED]),
            unused_bits=unused_bits(point.format, int(tally[LARGEST])),
            suggestion=suggest(self.histogram, point.format, share, self.rows) if point.rounds else None,
        )
