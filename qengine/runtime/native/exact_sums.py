"""Exact sums of products in 32-bit registers: taps are split and grouped such that partial sums do not overflow.

Fixed point defines a sum of products as exact: no overflow, no rounding before the end. The sum of a whole filter may
need 40 bits or more, but processors multiply and add fastest into 32 bits. Nothing is checked while a kernel runs.
Instead the weights, which are constant, and the bounds of the input's codes give a bound of every partial sum before:

- A *tap* is 4 bytes of the input: 4 codes of 8 bits or 2 of 16. Its products are added to the sum as one instruction.
  `tap_bounds` gives the most that a tap can add to each sum, and the most that it can subtract.
- A *chunk* is a run of taps whose bounds add up to `CHUNK_LIMIT` at most. After each chunk the kernel moves the high
  16 bits of its sums to second registers (it *widens* the sums), and 16 low bits stay: this is the 2^16 in the limit.
- A tap that alone could exceed the limit is *split* into several, each with some of the items and 0 for the others.
  On AVX2, pairs of byte products are first added in 16 bits with saturation: there the limit is that of 16 bits.

The order of taps does not change an exact sum, so `chunk_taps` packs taps into few chunks: each chunk costs time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.chunks import Bounds, first_fit
from qengine.kernels.epilogue import Epilogue
from qengine.kernels.isa import Isa
from qengine.runtime.native.tensor_buffer import TensorBuffer

CHUNK_LIMIT = (1 << 31) - (1 << 16) - 1
"""The largest bound of a chunk: 32 bits, less the 16 bits that the chunk before leaves in the sum."""

MAX_PACKED_TAPS = 1024
"""The most taps that are reordered into few chunks: for more, reordering takes longer than it saves."""


def tap_bounds(lanes: NDArray[Any], x: TensorBuffer) -> NDArray[np.int64]:
    """Return the most that each tap's products can add to each sum, and subtract from it: (taps, 2 x sums)."""
    low, high = factor_range(x)
    w = lanes.astype(np.int32)  # holds a product of two 16-bit factors
    most = np.maximum(w * high, w * low).sum(axis=2, dtype=np.int64).T
    least = -np.minimum(w * high, w * low).sum(axis=2, dtype=np.int64).T
    return np.asarray(np.maximum(np.concatenate([most, least], axis=1), 0), np.int64)


def factor_range(x: TensorBuffer) -> tuple[int, int]:
    """Return the least and the greatest stored code of an input: the halo's 0 need not be between the bounds."""
    return min(x.low, 0) + x.zero, max(x.high, 0) + x.zero


def split_taps(
    lanes: NDArray[Any], x: TensorBuffer, *, paired: bool = False
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return taps of which none alone can overflow: each one that can is split into several.

    Parameters
    ----------
    lanes
        (sums, taps, items) weights; see `chunk_taps`.
    x
        Input, whose codes are multiplied.
    paired
        Whether every two products are added in 16 bits first; the bound is then that of 16 bits.

    Returns
    -------
    tuple
        (new taps,) index of the tap that each new one is part of, and (new taps, items) whether it keeps an item.
    """
    _, taps, items = lanes.shape
    if paired:
        pairs = [tap_bounds(lanes[:, :, i : i + 2], x) > np.iinfo(np.int16).max for i in range(0, items, 2)]
        # One of two new taps keeps the even items, the other one the odd items.
        overflows, parts = np.any(pairs, axis=(0, 2)), np.arange(items) % 2 == np.arange(2)[:, None]
    else:
        overflows, parts = np.any(tap_bounds(lanes, x) > CHUNK_LIMIT, axis=1), np.eye(items, dtype=bool)
    source, kept = [], []
    for t in range(taps):
        for part in parts if overflows[t] else np.ones((1, items), bool):
            source.append(t)
            kept.append(part)
    return np.array(source, np.intp), np.array(kept, bool).reshape(-1, items)


def chunk_taps(
    lanes: NDArray[Any], x: TensorBuffer, isa: Isa | None = None
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return an order of taps, and the ends of chunks of it whose sums stay in 32 bits.

    The largest tap comes first; each goes into the first chunk that has room for it in every sum (first-fit
    decreasing bin packing). More than `MAX_PACKED_TAPS` taps keep their order.

    Parameters
    ----------
    lanes
        (sums, taps, items) weights: each sum's weights for taps that it reads one after the other, split by
        `split_taps` before.
    x
        Input, whose codes are multiplied.
    isa
        Instruction set of the kernel that packs; None for NumPy.

    Returns
    -------
    tuple
        (taps,) indices of taps in the new order, and (chunks,) the number of taps up to the end of each chunk.
    """
    bounds = tap_bounds(lanes, x)[None]
    order, (ends,) = chunk_bounds(Bounds(bounds, bounds.sum(axis=1), bounds.max(axis=2, initial=0)), isa)
    return order[0], ends


def chunk_bounds(bounds: Bounds, isa: Isa | None) -> tuple[NDArray[np.intp], list[NDArray[np.int64]]]:
    """Return an order of the taps of each set of sums, (sets, taps), and the ends of its chunks; see `chunk_taps`."""
    sets, taps = bounds.most.shape
    in_order = np.broadcast_to(np.arange(taps), (sets, taps))
    if (bounds.totals <= CHUNK_LIMIT).all():
        return in_order, [np.array([taps], np.int64)] * sets
    assert (bounds.most <= CHUNK_LIMIT).all()
    reorders = taps <= MAX_PACKED_TAPS
    candidates = np.argsort(-bounds.most, axis=1, kind="stable") if reorders else in_order
    if isa is None:
        each = zip(bounds.each, candidates, strict=True)
        chunk = np.stack([_first_fit(own, order, reorders=reorders) for own, order in each])
    else:
        chunk = first_fit(bounds.each, candidates, CHUNK_LIMIT, isa, reorders=reorders)
    return np.argsort(chunk, axis=1, kind="stable"), [np.cumsum(np.bincount(own)) for own in chunk]


def _first_fit(bounds: NDArray[np.int64], candidates: NDArray[np.int64], *, reorders: bool) -> NDArray[np.int64]:
    """Return the first chunk that has room for each tap in every sum, as `kernels.chunks.first_fit` does."""
    filled = np.zeros((0, bounds.shape[1]), np.int64)
    chunk = np.zeros(len(bounds), np.int64)
    for t in candidates:
        first = 0 if reorders else max(len(filled) - 1, 0)
        fits = (filled[first:] + bounds[t] <= CHUNK_LIMIT).all(axis=1)
        if fits.any():
            chunk[t] = first + int(fits.argmax())
        else:
            chunk[t] = len(filled)
            filled = np.concatenate([filled, np.zeros((1, bounds.shape[1]), np.int64)])
        filled[chunk[t]] += bounds[t]
    return chunk


def widening_note(epilogue: Epilogue | None, taps: int, chunks: int, fewest: int = 1) -> str:
    """Return a note that says how sums are kept exact.

    Parameters
    ----------
    epilogue
        Epilogue of the sums; None for float32.
    taps, chunks
        Numbers of taps and of chunks of all sets of sums.
    fewest
        Number of chunks if every set of sums has one.
    """
    if epilogue is None:
        return "float32 sums"
    if not epilogue.wide:
        return "32-bit sums"
    if chunks <= fewest:
        return "32-bit sums, widened once"
    return f"32-bit sums, widened every {taps / chunks:.1f} of {taps} taps"
