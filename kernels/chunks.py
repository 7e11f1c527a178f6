"""Bounds of what taps can add to sums, and their packing into chunks; see docs/development/kernels.md."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .address import address
from .epilogue import LANES
from .isa import Isa
from .program import Call, run_call


@dataclass(frozen=True)
class TapBounds:
    """Specification of the most that each tap can add to each sum, and subtract from it, for sets of sums.

    Weights are those that `GatherTaps` writes; factors lie within `low` and `high`. A set has `vectors` vectors.
    `bounds` gets int64 (sets, taps, 2, vectors, 16). Their sums over the taps are added to `totals`, and `most` gets
    the largest bound of each tap of a set, int64 (sets, taps).

    Attributes
    ----------
    itemsize : bytes of a weight.
    """

    itemsize: int

    emitter = "tap_bounds"
    arguments = ("w", "sets", "vectors", "taps", "low", "high", "bounds", "totals", "most")


@dataclass(frozen=True)
class FirstFit:
    """Specification of the first chunk that has room for each tap in every sum, for sets of sums.

    `bounds` are int64 (sets, taps, sums). Taps are taken in the order of `candidates`, (sets, taps). `filled`, int64
    (taps, sums), gets what each chunk of a set holds. Without `reorders` a tap never goes into a chunk before the last
    one. `chunks` gets the chunk of each tap, (sets, taps).
    """

    emitter = "first_fit"
    arguments = ("bounds", "sets", "taps", "sums", "candidates", "filled", "limit", "reorders", "chunks")


@dataclass(frozen=True)
class Bounds:
    """Bounds of what taps can add to each sum of a set, and subtract from it.

    Attributes
    ----------
    each : int64 (sets, taps, 2 x sums).
    totals : int64 (sets, 2 x sums), sums over the taps.
    most : int64 (sets, taps), the largest bound of a tap.
    """

    each: NDArray[np.int64]
    totals: NDArray[np.int64]
    most: NDArray[np.int64]


def tap_bounds(packed: NDArray[Any], low: int, high: int, isa: Isa) -> Bounds:
    """Return the most that each tap's products can add to each sum, and subtract from it.

    Parameters
    ----------
    packed
        (sets, vectors, taps, 16, items) weights of 8 or 16 bits, contiguous.
    low, high
        Bounds of the factors.
    isa
        Instruction set of the kernel.
    """
    sets, vectors, taps = packed.shape[:3]
    sums = 2 * vectors * LANES
    bounds = np.empty((sets, taps, sums), np.int64)
    totals, most = np.zeros((sets, sums), np.int64), np.empty((sets, taps), np.int64)
    arguments = {
        **{"w": address(packed), "sets": sets, "vectors": vectors, "taps": taps, "low": low, "high": high},
        **{"bounds": address(bounds), "totals": address(totals), "most": address(most)},
    }
    run_call(Call(TapBounds(packed.itemsize), arguments), isa)
    return Bounds(bounds, totals, most)


def first_fit(
    bounds: NDArray[np.int64], candidates: NDArray[np.int64], limit: int, isa: Isa, *, reorders: bool
) -> NDArray[np.int64]:
    """Return the chunk that each tap of each set goes into, (sets, taps).

    Parameters
    ----------
    bounds
        (sets, taps, sums) most that each tap adds to each sum; none exceeds the limit.
    candidates
        Order in which the taps of each set are taken, (sets, taps).
    limit
        Room of a chunk in every sum.
    isa
        Instruction set of the kernel.
    reorders
        Whether a tap may go into any chunk; if not, only into the last one or a new one.
    """
    sets, taps = candidates.shape
    rest = -bounds.shape[2] % LANES
    padded = np.pad(bounds, ((0, 0), (0, 0), (0, rest))) if rest else np.ascontiguousarray(bounds)
    filled, chunks = np.empty(padded.shape[1:], np.int64), np.empty((sets, taps), np.int64)
    order = np.ascontiguousarray(candidates, np.int64)
    arguments = {
        **{"bounds": address(padded), "sets": sets, "taps": taps, "sums": padded.shape[2]},
        **{"candidates": address(order), "filled": address(filled), "limit": limit},
        **{"reorders": int(reorders), "chunks": address(chunks)},
    }
    run_call(Call(FirstFit(), arguments), isa)
    return chunks
