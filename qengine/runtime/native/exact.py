"""How sums of products stay exact in 32 bits, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.epilogue import LANES, Epilogue, EpilogueData
from qengine.runtime.native.place import Place

Codes = NDArray[Any]

_PACKED = 1024  # of more taps than these, chunks are runs: packing them would take longer than it saves


@dataclass(frozen=True)
class Finishing:
    """How sums become the output: an epilogue, or a bias and bounds for float32.

    Attributes
    ----------
    requantize : None for float32.
    zero : the stored code of 0 of the input, which every weight multiplies.
    bias : float32, of each channel.
    bounds : of float32.
    """

    requantize: EpilogueData | None
    zero: int
    bias: NDArray[np.float32]
    bounds: NDArray[np.float32]

    @property
    def form(self) -> Epilogue | None:
        """What kernels are compiled for."""
        return None if self.requantize is None else self.requantize.form

    def numbers(self, order: NDArray[np.intp], w: Codes) -> NDArray[np.uint8]:
        """Return the numbers of vectors of channels (vectors, 16), -1 for none, whose weights are w (channels, ...)."""
        if self.requantize is not None:
            return self.requantize.packed(order, self.zero * w.reshape(len(w), -1).sum(axis=1, dtype=np.int64))
        return np.where(order < 0, np.float32(0), self.bias[order]).astype(np.float32).view(np.uint8).ravel()

    @property
    def vector_bytes(self) -> int:
        """Bytes of the numbers of 16 channels."""
        channels = len(self.bias)
        return len(self.numbers(np.zeros((1, LANES), np.intp), np.zeros((channels, 1), np.int64)))

    @property
    def scalars(self) -> NDArray[Any]:
        """Return the numbers of all channels."""
        return self.bounds if self.requantize is None else self.requantize.scalars


_ROOM = (1 << 31) - (1 << 16) - 1  # what a chunk's sums may reach beside the 16 bits left of the one before


def _reach(lanes: NDArray[Any], x: Place) -> NDArray[np.int64]:
    """Return the most that each tap's products can add to each sum, and take from it: (taps, 2 x sums)."""
    # The halo holds the code 0, which need not be between the bounds.
    low, high = min(x.low, 0) + x.zero, max(x.high, 0) + x.zero
    w = lanes.astype(np.int32 if lanes.dtype == np.int8 else np.int64)
    most = np.maximum(w * high, w * low).sum(axis=2, dtype=np.int64).T
    least = -np.minimum(w * high, w * low).sum(axis=2, dtype=np.int64).T
    return np.asarray(np.maximum(np.concatenate([most, least], axis=1), 0), np.int64)


def lightened(lanes: NDArray[Any], x: Place, *, paired: bool = False) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return taps none of which alone can leave the bits it is summed in: where one can, it becomes several.

    Parameters
    ----------
    lanes
        (sums, taps, items), as of `chunked`.
    paired
        The bits are 16, of every two items; else they are 32, of all.

    Returns
    -------
    tuple
        Which tap each of the new ones is of, and which items (taps, items) it keeps.
    """
    _, taps, items = lanes.shape
    if paired:
        pairs = [_reach(lanes[:, :, i : i + 2], x) > np.iinfo(np.int16).max for i in range(0, items, 2)]
        heavy, alone = np.any(pairs, axis=(0, 2)), np.arange(items) % 2 == np.arange(2)[:, None]
    else:
        heavy, alone = np.any(_reach(lanes, x) > _ROOM, axis=1), np.eye(items, dtype=bool)
    source, kept = [], []
    for t in range(taps):
        for own in alone if heavy[t] else np.ones((1, items), bool):
            source.append(t)
            kept.append(own)
    return np.array(source, np.intp), np.array(kept, bool).reshape(-1, items)


def chunked(lanes: NDArray[Any], x: Place) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return an order of taps, and the ends of chunks of it whose sums stay in 32 bits.

    A chunk begins with the 16 bits that are left of the one before. The taps are packed into as few chunks as a simple
    rule finds: the heaviest first, each into the first chunk that has room for it in every sum.

    Parameters
    ----------
    lanes
        (sums, taps, items): each sum's weights, of taps that it reads one after the other; `lightened` before.
    """
    sums, taps, _ = lanes.shape
    adds = _reach(lanes, x)
    if taps == 0 or (adds.sum(axis=0) <= _ROOM).all():
        return np.arange(taps), np.array([taps], np.int64)
    assert (adds <= _ROOM).all()
    packs = taps <= _PACKED
    heaviest = np.argsort(-adds.max(axis=1), kind="stable") if packs else np.arange(taps)
    filled = np.zeros((0, 2 * sums), np.int64)
    chunk = np.zeros(taps, np.int64)
    for t in heaviest:
        first = 0 if packs else max(len(filled) - 1, 0)
        fits = (filled[first:] + adds[t] <= _ROOM).all(axis=1)
        if fits.any():
            chunk[t] = first + int(fits.argmax())
        else:
            chunk[t] = len(filled)
            filled = np.concatenate([filled, np.zeros((1, 2 * sums), np.int64)])
        filled[chunk[t]] += adds[t]
    order = np.argsort(chunk, kind="stable")
    return order, np.cumsum(np.bincount(chunk)).astype(np.int64)


def widening_note(form: Epilogue | None, taps: int, chunks: int, least: int = 1) -> str:
    """Return how sums are kept exact."""
    if form is None:
        return "float32 sums"
    if not form.wide:
        return "32-bit sums"
    if chunks <= least:
        return "32-bit sums, widened once"
    return f"32-bit sums, widened every {taps / chunks:.1f} of {taps} taps"
