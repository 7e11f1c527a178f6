"""Bounds of what taps can add to sums, and their packing into chunks, on native kernels; see docs/kernels.md."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .epilogue import LANES
from .isa import Isa
from .program import Call, run_call


@dataclass(frozen=True)
class TapBounds:
    """Specification of the most that each tap can add to each sum, and subtract from it.

    Weights are those that `GatherTaps` writes; factors lie within `low` and `high`. `bounds` gets int64
    (taps, 2, vectors, 16).

    Attributes
    ----------
    itemsize : bytes of a weight.
    """

    itemsize: int

    emitter = "tap_bounds"
    arguments = ("w", "vectors", "taps", "low", "high", "bounds")


@dataclass(frozen=True)
class FirstFit:
    """Specification of the first chunk that has room for each tap in every sum.

    `bounds` are int64 (taps, sums). Taps are taken in the order of `candidates`. `filled`, int64 (taps, sums), gets
    what each chunk holds. Without `reorders` a tap never goes into a chunk before the last one. `chunks` gets the
    chunk of each tap, and after them the number of chunks.
    """

    emitter = "first_fit"
    arguments = ("bounds", "taps", "sums", "candidates", "filled", "limit", "reorders", "chunks")


def tap_bounds(packed: NDArray[Any], low: int, high: int, isa: Isa) -> NDArray[np.int64]:
    """Return the most that each tap's products can add to each sum, and subtract from it: (taps, 2 x sums).

    Parameters
    ----------
    packed
        (vectors, taps, 16, items) weights of 8 or 16 bits, contiguous.
    low, high
        Bounds of the factors.
    isa
        Instruction set of the kernel.
    """
    vectors, taps = packed.shape[:2]
    bounds = np.empty((taps, 2, vectors, LANES), np.int64)
    arguments = {
        **{"w": packed.ctypes.data, "vectors": vectors, "taps": taps, "low": low, "high": high},
        **{"bounds": bounds.ctypes.data},
    }
    run_call(Call(TapBounds(packed.itemsize), arguments), isa)
    return bounds.reshape(taps, 2 * vectors * LANES)


def first_fit(
    bounds: NDArray[np.int64], candidates: NDArray[np.int64], limit: int, isa: Isa, *, reorders: bool
) -> tuple[NDArray[np.int64], int]:
    """Return the chunk that each tap goes into, and the number of chunks.

    Parameters
    ----------
    bounds
        (taps, sums) most that each tap adds to each sum; none exceeds the limit.
    candidates
        Order in which taps are taken.
    limit
        Room of a chunk in every sum.
    isa
        Instruction set of the kernel.
    reorders
        Whether a tap may go into any chunk; if not, only into the last one or a new one.
    """
    taps = len(bounds)
    rest = -bounds.shape[1] % LANES
    padded = np.pad(bounds, ((0, 0), (0, rest))) if rest else np.ascontiguousarray(bounds)
    filled, chunks = np.empty_like(padded), np.zeros(taps + 1, np.int64)
    order = np.ascontiguousarray(candidates, np.int64)
    arguments = {
        **{"bounds": padded.ctypes.data, "taps": taps, "sums": padded.shape[1], "candidates": order.ctypes.data},
        **{"filled": filled.ctypes.data, "limit": limit, "reorders": int(reorders), "chunks": chunks.ctypes.data},
    }
    run_call(Call(FirstFit(), arguments), isa)
    return chunks[:taps], int(chunks[taps])
