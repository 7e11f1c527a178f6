"""Weights of a filter set in the order of its taps, cut into chunks whose sums are exact.

Which weight stands where depends on the shapes alone: `_places` finds it once for all filters of a geometry. The
kernels `GatherTaps`, `TapBounds` and `FirstFit` then move the weights of one set of codes. Where a kernel reads weights
in another form, or a tap has to be split, NumPy does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels import dot
from qengine.kernels.chunks import tap_bounds
from qengine.kernels.dot import ITEMSIZE, LANE_BYTES
from qengine.kernels.encode import gather_taps
from qengine.kernels.epilogue import LANES, Epilogue
from qengine.kernels.isa import Isa
from qengine.runtime.native.exact_sums import CHUNK_LIMIT, chunk_bounds, chunk_taps, factor_range, split_taps
from qengine.runtime.native.lowerings.dot_channels import ChannelRange
from qengine.runtime.native.lowerings.linear_op import Filters
from qengine.runtime.native.sampling import Sampling, Taps, taps_of
from qengine.runtime.native.tensor_buffer import TensorBuffer, aligned_copy, aligned_zeros

_NO_CHUNKS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class PackedTaps:
    """Weights of a filter set as the dot kernel reads them.

    Attributes
    ----------
    taps : table of taps, without weights.
    order : (taps,) index in the table of each tap; None for the order of the table.
    weights : vectors of 16 channels x taps x channels x 4 bytes, at a multiple of 64 bytes.
    chunks : ends of the chunks of taps; none where sums are not widened.
    """

    taps: Taps
    order: NDArray[np.intp] | None
    weights: NDArray[np.uint8]
    chunks: NDArray[np.int64]


def packed_taps(
    filters: Filters,
    sampling: Sampling,
    ranges: Sequence[ChannelRange],
    x: TensorBuffer,
    epilogue: Epilogue | None,
    isa: Isa,
) -> list[PackedTaps]:
    """Return the weights of ranges of channels in one phase of the output.

    Parameters
    ----------
    filters
        All filters.
    sampling, ranges
        The phase, and ranges of output channels, one after the other, which read the same inputs. All but the last one
        have the same number of vectors.
    x
        Input, whose codes are multiplied.
    epilogue
        Epilogue of the sums; None for float32.
    isa
        Instruction set of the kernels.
    """
    kind, inputs = filters.kind, filters.w.shape[1]
    has_own_form = dot.is_paired(kind, isa) or dot.is_split(kind, isa) or filters.w.itemsize != ITEMSIZE[kind]
    first, last = ranges[0], ranges[-1]
    if has_own_form or first.high - first.low != inputs:
        return [_packed_by_numpy(filters, sampling, channels, x, epilogue, isa) for channels in ranges]
    item = ITEMSIZE[kind]
    taps, offsets, is_dense = _places(filters.w.shape[1:], sampling, x.block, first.low, LANE_BYTES // item)
    w = filters.w.reshape(filters.channels, -1)[first.first : last.first + last.count]
    if w.size and w.strides[1] != w.itemsize:
        w = np.ascontiguousarray(w)
    packed = aligned_zeros((len(ranges), first.vectors, len(taps.dy), LANES * LANE_BYTES), np.uint8)
    if packed.size:
        gather_taps(w, offsets, isa, packed, is_dense=is_dense)
    if epilogue is None or not epilogue.wide:
        return [PackedTaps(taps, None, weights, _NO_CHUNKS) for weights in packed]
    bounds = tap_bounds(
        packed.view(w.dtype).reshape(*packed.shape[:3], LANES, LANE_BYTES // item), *factor_range(x), isa
    )
    if (bounds.most > CHUNK_LIMIT).any():
        return [_packed_by_numpy(filters, sampling, channels, x, epilogue, isa) for channels in ranges]
    order, chunks = chunk_bounds(bounds, isa)
    if (order[:, 1:] < order[:, :-1]).any():
        packed = _reordered(packed, order)
    return [PackedTaps(taps, *own) for own in zip(order, packed, chunks, strict=True)]


def _reordered(packed: NDArray[np.uint8], order: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return weights (sets, vectors, taps, 64) with the taps of each set in an order (sets, taps)."""
    result = aligned_zeros(packed.shape, np.uint8)
    sets, vectors, taps = packed.shape[:3]
    places = np.arange(sets * vectors).reshape(sets, vectors, 1) * taps + order[:, None]
    lines = packed.view(np.int64).reshape(-1, packed.shape[3] // 8)
    np.take(lines, places.ravel(), axis=0, out=result.view(np.int64).reshape(lines.shape), mode="clip")
    return result


@lru_cache(512)
def _places(
    shape: tuple[int, int, int], sampling: Sampling, block: int, low: int, per: int
) -> tuple[Taps, NDArray[np.int64], bool]:
    """Return the table of taps of filters, the place of each item in a filter, and whether items lie side by side.

    Places are int64 (taps, items), -1 for a weight of 0; where items lie side by side, those of the first ones.
    """
    places = np.arange(1, 1 + int(np.prod(shape)), dtype=np.int64).reshape(1, *shape)
    taps = taps_of(places, sampling, block, low, per)
    offsets = taps.lanes[0] - 1
    is_dense = bool((offsets >= 0).all() and (np.diff(offsets, axis=1) == 1).all())
    table = offsets[:, :1] if is_dense else offsets
    return _without_weights(taps), np.ascontiguousarray(table), is_dense


def _packed_by_numpy(
    filters: Filters, sampling: Sampling, channels: ChannelRange, x: TensorBuffer, epilogue: Epilogue | None, isa: Isa
) -> PackedTaps:
    kind = filters.kind
    taps = taps_of(_weights_of(filters, channels), sampling, x.block, channels.low, LANE_BYTES // ITEMSIZE[kind])
    chunks = _NO_CHUNKS
    paired = dot.is_paired(kind, isa)
    if epilogue is not None and (epilogue.wide or paired):
        taps = taps.take(*split_taps(taps.lanes, x, paired=paired))
    if epilogue is not None and epilogue.wide:
        order, chunks = chunk_taps(taps.lanes, x, isa)
        taps = taps.take(order)
    weights = aligned_copy(dot.packed_weights(taps.lanes, kind, isa))
    return PackedTaps(_without_weights(taps), None, weights, chunks)


def _weights_of(filters: Filters, channels: ChannelRange) -> NDArray[Any]:
    """Return the weights of a range of channels, of all inputs that any of them reads, in whole vectors."""
    w, inputs, per_group = filters.w, filters.w.shape[1], filters.channels // filters.group
    padded = np.zeros((channels.vectors * LANES, channels.high - channels.low, *w.shape[2:]), w.dtype)
    for i, c in enumerate(range(channels.first, channels.first + channels.count)):
        start = c // per_group * inputs - channels.low
        padded[i, start : start + inputs] = w[c]
    return padded


def _without_weights(taps: Taps) -> Taps:
    return Taps(taps.block, taps.dy, taps.dx, taps.byte, taps.lanes[:0].copy())  # a view would keep the weights
