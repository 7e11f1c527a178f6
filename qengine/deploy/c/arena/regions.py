"""Regions: the arena as a struct of arrays, each of one type of elements.

C lets objects of 16, 32 and 64 bits share no bytes, but elements of one byte may lie anywhere. So the arena is cut
where one width follows another; elements of one byte lie in any region, and across two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qengine.deploy.c.arena.blocks import Block

_LEAST = 2
"""Bytes of the elements of an arena that has elements of one byte only."""


@dataclass(frozen=True)
class Region:
    """A part of the arena whose elements may share bytes.

    Attributes
    ----------
    width : bytes of the elements of the array that holds it: 2, 4 or 8; elements of one byte may be in any.
    start : bytes of the arena before it, as in a struct of one array for each region.
    bytes : number of its bytes.
    """

    width: int
    start: int
    bytes: int

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """The type of the elements of the array that holds it."""
        return np.dtype(f"int{8 * self.width}")


def regions_of(blocks: Sequence[Block], offsets: Sequence[int], size: int) -> tuple[Region, ...]:
    """Return the regions of blocks at some offsets, by address.

    A region ends where its last element ends if narrower ones follow, and where the first element begins if wider ones
    do: then each begins at a multiple of its width, and as the member of a struct without a gap before it.
    """
    wide = sorted((offset, offset + b.size, b.width) for b, offset in zip(blocks, offsets, strict=True) if b.width > 1)
    starts: list[tuple[int, int]] = []
    end = 0
    for start, stop, width in wide:
        if not starts:
            starts.append((0, width))
        elif width != starts[-1][1]:
            starts.append((end if width < starts[-1][1] else start, width))
        end = max(end, stop)
    if not starts:
        return (Region(_LEAST, 0, size),) if size else ()
    ends = [*(start for start, _ in starts[1:]), size]
    return tuple(Region(width, start, stop - start) for (start, width), stop in zip(starts, ends, strict=True))
