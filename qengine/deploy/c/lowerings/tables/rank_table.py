"""Tables of functions of one variable, stored without loss in fewer bytes.

A function of 16-bit codes has up to 65,536 entries, 128 KB: too many for a small device. But its entries change little
from one code to the next. A *rank-coded* table stores every 32nd entry, the base of a block. Within a block, each entry
is the one before it plus a slope plus a number of k bits, so that entry j of a block is

    base + j * slope + (sum of the numbers before entry j)

Bit 0 of the numbers of a block is one word of 32 bits, bit 1 another: the sum is the count of ones in the low j bits of
each word, times 1, 2, 4 and so on. The slope is one number for the table, or one for each block where the function
bends: sigmoid rises by 0 or 1, a line of slope 3.4 by 3 or 4, and both need one bit.

Some functions jump or are steep at one place, as 1/x at 0. The blocks around that place are stored entry by entry. At
both ends a function is often constant; codes there need no entries, as a code beyond the table has its last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = 32
"""Entries that have one base."""


@dataclass(frozen=True, eq=False)
class RankTable:
    """A rank-coded table.

    Attributes
    ----------
    length : number of entries.
    bases : first entry of each block that is coded.
    slopes : slope of each of them, int8 or int16; None where `slope` is that of all.
    slope : slope of all blocks; 0 where each has one.
    bits : words (blocks, k) of the numbers: bit j of each belongs to the step from entry j of the block to the next.
    plain : entries of the blocks that are not coded.
    plain_first : place of the first of them.
    """

    length: int
    bases: Array
    slopes: Array | None
    slope: int
    bits: NDArray[np.uint32]
    plain: Array
    plain_first: int

    @property
    def bytes(self) -> int:
        """The number of bytes."""
        slopes = 0 if self.slopes is None else self.slopes.nbytes
        return self.bases.nbytes + self.bits.nbytes + self.plain.nbytes + slopes

    def entries(self) -> Array:
        """Return all entries, as C computes them."""
        slopes = np.int64(self.slope) if self.slopes is None else self.slopes.astype(np.int64)[:, None]
        ones = (self.bits[:, :, None] >> np.arange(BLOCK, dtype=np.uint32)) & np.uint32(1)
        numbers = (ones.astype(np.int64) << np.arange(ones.shape[1])[:, None]).sum(axis=1)
        below = np.cumsum(numbers, axis=1) - numbers
        coded = (self.bases.astype(np.int64)[:, None] + np.arange(BLOCK) * slopes + below).reshape(-1)
        found = np.concatenate([coded[: self.plain_first], self.plain, coded[self.plain_first :]])
        return found[: self.length].astype(self.bases.dtype)


def trimmed(entries: Array) -> tuple[int, int]:
    """Return the first and the last place that a table needs, where places beyond them have the same entries."""
    changes = np.flatnonzero(entries[1:] != entries[:-1])
    if not changes.size:
        return 0, 0
    return int(changes[0]), int(changes[-1]) + 1


def rank_coded(entries: Array) -> RankTable:
    """Return the smallest rank-coded table of some entries."""
    rest = -len(entries) % BLOCK
    blocks = np.pad(entries.astype(np.int64), (0, rest), mode="edge").reshape(-1, BLOCK)
    steps = np.diff(blocks, axis=1)
    if rest:  # what comes after the last entry may be anything
        last = steps[-1, : BLOCK - 1 - rest]
        steps[-1, BLOCK - 1 - rest :] = last.min() if last.size else steps[0, 0] if len(steps) > 1 else 0
    spread = steps.max(axis=1) - steps.min(axis=1)
    found = []
    for most in np.unique([int(s).bit_length() for s in np.unique(spread)]):
        steep = np.flatnonzero(spread >= 1 << int(most))
        plain = (int(steep[0]), int(steep[-1]) + 1) if steep.size else (0, 0)
        found += [_coded(entries, blocks, steps, plain, has_slopes) for has_slopes in (False, True)]
    best = min(found, key=lambda one: one.bytes)
    assert np.array_equal(best.entries(), entries)
    return best


def _coded(entries: Array, blocks: Array, steps: Array, plain: tuple[int, int], has_slopes: bool) -> RankTable:
    """Return a table whose blocks from `plain[0]` on, before `plain[1]`, are not coded."""
    kept = np.r_[: plain[0], plain[1] : len(blocks)]
    steps = steps[kept]
    slopes = steps.min(axis=1) if has_slopes else np.full(len(kept), steps.min(initial=1 << 17))
    numbers = steps - slopes[:, None]
    k = int(numbers.max(initial=0)).bit_length()
    words = (((numbers[:, None, :] >> np.arange(k)[:, None]) & 1) << np.arange(BLOCK - 1)).sum(axis=2)
    is_one = bool((slopes == slopes[:1]).all())
    width = "i1" if slopes.min(initial=0) >= -128 and slopes.max(initial=0) <= 127 else "i4"
    if width == "i4" and slopes.min() >= -(1 << 15) and slopes.max() < 1 << 15:
        width = "i2"
    return RankTable(
        len(entries),
        blocks[kept, 0].astype(entries.dtype),
        None if is_one else slopes.astype(width),
        int(slopes[0]) if is_one and len(slopes) else 0,
        words.astype(np.uint32).reshape(len(kept), k),
        blocks[plain[0] : plain[1]].reshape(-1).astype(entries.dtype),
        plain[0] * BLOCK,
    )
