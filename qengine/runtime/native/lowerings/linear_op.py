"""Base class of the ops of linear steps, and the filters that they have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.dot import FactorType
from qengine.kernels.layout import Halo
from qengine.model.steps import Tensor
from qengine.runtime.native.op import Op
from qengine.runtime.native.output_stage import OutputStage
from qengine.runtime.native.sampling import Sampling
from qengine.runtime.native.tensor_buffer import TensorBuffer


@dataclass(frozen=True, eq=False)
class Filters:
    """Constant filters of a linear step, as those of a convolution.

    Attributes
    ----------
    kind : type of the factors that are multiplied.
    w : (channels, inputs of a group, kernel rows, kernel columns) weights.
    group : number of groups of channels.
    samplings : positions of the taps, one for each phase of the output.
    as_pixels : whether the images of a batch, of one pixel each, are taken as pixels of a row.
    sums : (channels, 2) sum of the codes of each filter, and that of their magnitudes; None for float32.
    """

    kind: FactorType
    w: NDArray[Any]
    group: int
    samplings: list[Sampling]
    as_pixels: bool = False
    sums: NDArray[np.int64] | None = None

    @property
    def channels(self) -> int:
        """The number of output channels."""
        return int(self.w.shape[0])

    def totals(self, sampling: Sampling) -> NDArray[np.int64] | int:
        """Return the sum of the weights of each channel over the taps of a phase; 0 in float32."""
        if self.sums is None:
            return 0
        if len(self.samplings) == 1:
            return self.sums[:, 0]
        w = sampling.weights_of(self.w)
        return np.asarray(w.reshape(len(w), -1).sum(axis=1, dtype=np.int64))


@dataclass(eq=False)
class LinearOp(Op):
    """A linear step: sums of products over the taps of filters, then an output stage.

    Attributes
    ----------
    filters : constant filters.
    output_stage : computation that turns the sums into the output.
    """

    filters: Filters
    output_stage: OutputStage

    @classmethod
    @abstractmethod
    def accepts(cls, filters: Filters, x: TensorBuffer, out: Tensor) -> bool:
        """Whether the kernel computes these filters."""

    @classmethod
    @abstractmethod
    def output_block(cls, channels: int) -> int:
        """Return the number of channels in a pixel of the output."""

    @property
    def kind(self) -> FactorType:
        """The type of the factors that are multiplied."""
        return self.filters.kind

    @property
    def output_size(self) -> tuple[int, int]:
        """The rows and columns of the output as the kernel sees it."""
        batch, _, height, width = self.out.shape
        return (1, batch) if self.filters.as_pixels else (height, width)

    @property
    def macs(self) -> int:
        """The multiply-accumulates of the operator; the kernel may execute more or fewer."""
        batch = 1 if self.filters.as_pixels else self.out.shape[0]
        taps = sum(prod(s.size(*self.output_size)) * len(s.dy) * len(s.dx) for s in self.filters.samplings)
        return int(batch * taps * prod(self.filters.w.shape[:2]))

    def halo(self, buffer: TensorBuffer) -> Halo:
        """Return the halo that the taps reach around the input."""
        halo = Halo()
        for sampling in self.filters.samplings:
            halo = halo.covering(sampling.halo(*self.out.shape[2:], *buffer.shape[2:]))
        return halo

    def input_rows(self, buffer: TensorBuffer, first: int, end: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return the rows of the input that rows first..end of the output read, beyond its edges too; None for none."""
        spans = [span for s in self.filters.samplings if (span := s.input_rows(first, end)) is not None]
        return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None
