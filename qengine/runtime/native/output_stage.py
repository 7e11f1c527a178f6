"""The output stage of linear kernels: the computation that turns an exact sum into an element of the output."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES, Epilogue, EpilogueData


@dataclass(frozen=True)
class OutputStage:
    """Requantization of fixed-point sums, or a bias and bounds for float32 sums.

    Attributes
    ----------
    requantize : requantization of the sums; None for float32.
    zero : stored code of 0 of the input, which every weight multiplies.
    bias : float32 (channels,), added to float32 sums.
    bounds : float32 (2,), lower and upper bound of float32 results.
    """

    requantize: EpilogueData | None
    zero: int
    bias: NDArray[np.float32]
    bounds: NDArray[np.float32]

    @property
    def epilogue(self) -> Epilogue | None:
        """The epilogue that kernels are compiled for; None for float32."""
        return None if self.requantize is None else self.requantize.epilogue

    def channel_numbers(self, order: NDArray[np.intp], totals: NDArray[np.int64] | int) -> NDArray[np.uint8]:
        """Return the numbers of the channels as kernels read them.

        Parameters
        ----------
        order
            (vectors, 16) channels in the lanes of vectors; -1 for a lane without one.
        totals
            Sum of the weights of each channel: times the stored code of 0 it is taken off the channel's sum.
        """
        if self.requantize is not None:
            return self.requantize.packed(order, np.broadcast_to(self.zero * np.asarray(totals), len(self.bias)))
        return np.where(order < 0, np.float32(0), self.bias[order]).astype(np.float32).view(np.uint8).ravel()

    @cached_property
    def vector_bytes(self) -> int:
        """The bytes of the numbers of 16 channels."""
        return 4 * LANES if self.requantize is None else self.requantize.epilogue.number_bytes

    @property
    def scalars(self) -> NDArray[Any]:
        """The numbers that all channels share."""
        return self.bounds if self.requantize is None else self.requantize.scalars
