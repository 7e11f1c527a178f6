"""Ranges of output channels that read the same input channels, as the dot kernel takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES
from qengine.runtime.native.lowerings.linear_op import Filters

_MAX_CHUNKED_VECTORS = 2  # vectors that share chunks: with more of them, chunks of one are too short for another


@dataclass(frozen=True)
class ChannelRange:
    """Output channels that read input channels low..high.

    Attributes
    ----------
    first, count : first output channel, and number of channels.
    low, high : first input channel, and the one after the last.
    isolated : whether the range begins or ends within a vector of the output, and must not write to other channels of
        the vector.
    """

    first: int
    count: int
    low: int
    high: int
    isolated: bool = False

    @property
    def vectors(self) -> int:
        """The number of vectors of 16 channels."""
        return -(-self.count // LANES)


def channel_ranges(filters: Filters, *, wide: bool) -> list[ChannelRange]:
    """Return output channels by what they read: as many vectors as read the same, so that a tile may hold several.

    A vector of integers may hold channels of several groups: the weights of the other groups' inputs are 0. In
    float32 that would spread NaN, and each group has vectors of its own.

    Parameters
    ----------
    wide
        Whether sums are widened: few vectors then share chunks.
    """
    channels, inputs = filters.w.shape[:2]
    is_isolated = filters.kind == "f32" and filters.group > 1 and channels // filters.group % LANES != 0
    return list(_ranges(channels, inputs, filters.group, is_isolated, wide))


@lru_cache(512)
def _ranges(channels: int, inputs: int, group: int, is_isolated: bool, wide: bool) -> tuple[ChannelRange, ...]:
    per_group = channels // group
    if is_isolated:
        return tuple(_isolated_groups(channels, per_group, inputs))
    most = _MAX_CHUNKED_VECTORS if wide else ceil(channels / LANES)
    ranges: list[ChannelRange] = []
    for first in range(0, channels, LANES):
        last = min(first + LANES, channels) - 1
        low, high = first // per_group * inputs, (last // per_group + 1) * inputs
        before = ranges[-1] if ranges else None
        if before and (before.low, before.high) == (low, high) and before.count < most * LANES:
            ranges[-1] = replace(before, count=last + 1 - before.first)
        else:
            ranges.append(ChannelRange(first, last + 1 - first, low, high))
    return tuple(ranges)


@lru_cache(512)
def lane_channels(first: int, count: int) -> NDArray[np.intp]:
    """Return the channels in the lanes of the vectors of some channels, (vectors, 16); -1 for a lane without one."""
    lanes = np.arange(-(-count // LANES) * LANES).reshape(-1, LANES)
    return np.where(lanes < count, first + lanes, -1)


def _isolated_groups(channels: int, per_group: int, inputs: int) -> list[ChannelRange]:
    """Return ranges of channels, none of which crosses a group or a vector of the output."""
    ranges = []
    for first in range(0, channels, per_group):
        low = first // per_group * inputs
        edges = [first, *range((first // LANES + 1) * LANES, first + per_group, LANES), first + per_group]
        ranges += [ChannelRange(a, b - a, low, low + inputs, isolated=True) for a, b in pairwise(edges)]
    return ranges
