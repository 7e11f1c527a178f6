"""Ranges of channels: the largest magnitude in each channel of a tensor.

A histogram of a tensor does not tell that four of its channels hold boxes in pixels and the others scores. So the
largest magnitude of each channel is kept too. Which axis counts *channels* the model does not say. Of three axes it is
the shorter of the last two: the second of (1, 84, 8400), the last of (1, 2100, 6). Of more it is the second, or the
last where it is much shorter than both before it, as in (1, 320, 320, 3). The first axis counts samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qengine.qformat import QFormat

FACTOR = 32
"""Ratio from which on two ranges are too different for one format of 8 bits."""

ENOUGH = 8
"""Number of values of a channel from which on they are not all small by accident, as the logits of some classes are."""

_FEW_STEPS = 8  # that a 32nd of the range of an unsigned word of 8 bits has
_MUCH = 4  # a last axis of channels is shorter than the axes of an image by this factor


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis of a tensor that counts channels; None where there are not several."""
    if len(shape) < 2:
        return None
    is_last = (len(shape) == 3 and shape[2] < shape[1]) or (
        len(shape) == 4 and min(shape[1], shape[2]) > _MUCH * shape[3] > 0
    )
    axis = len(shape) - 1 if is_last else 1
    return axis if shape[axis] > 1 else None


def counts_channels(shape: tuple[int, ...]) -> bool:
    """Whether axis 1 of a tensor counts channels in any network: that of images, and of rows of numbers."""
    return len(shape) in (2, 4) and channel_axis(shape) == 1


def few_steps(range_: NDArray[np.float64], whole: float, fmt: QFormat) -> NDArray[np.bool_]:
    """Return whether values up to each range keep few steps of a format that was chosen for values up to `whole`."""
    return (range_ > 0) & (range_ < _FEW_STEPS * fmt.step) & (range_ * FACTOR <= whole)


class ChannelRanges:
    """Largest finite magnitude of each channel of a tensor, over several runs.

    Parameters
    ----------
    most
        (channels,) magnitudes of the runs before; None before the first run.

    Attributes
    ----------
    most : (channels,) magnitudes; empty where there are no channels, or other ones in each run.
    """

    def __init__(self, most: NDArray[np.float64] | None = None) -> None:
        self.most = np.zeros(0) if most is None else most
        self._is_new = most is None

    def add(self, array: NDArray[np.floating]) -> None:
        """Take the magnitudes of a tensor in a run."""
        axis, found = channel_axis(array.shape), np.zeros(0)
        if axis is not None and array.size:
            magnitude = np.abs(array)
            if not np.isfinite(magnitude.max()):
                magnitude = np.where(np.isfinite(magnitude), magnitude, 0.0)
            found = magnitude.max(axis=tuple(i for i in range(array.ndim) if i != axis)).astype(np.float64)
        self.join(found)

    def join(self, found: NDArray[np.float64]) -> None:
        """Take the magnitudes of each channel in other runs."""
        if self._is_new:
            self.most, self._is_new = found, False
        else:
            self.most = np.maximum(self.most, found) if len(self.most) == len(found) else np.zeros(0)

    def lost_in(self, fmt: QFormat) -> tuple[NDArray[np.int64], float]:
        """Return the channels that keep few steps of a format, and the largest magnitude of these."""
        lost = few_steps(self.most, float(self.most.max(initial=0)), fmt)
        return np.flatnonzero(lost), float(self.most[lost].max(initial=0))
