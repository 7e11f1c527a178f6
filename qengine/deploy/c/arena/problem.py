"""Placing items on a line: the problem of the arena, free of networks.

An item is a run of bytes that needs an offset. Two items whose bytes are needed at the same time must not meet. Of two
offsets only the difference matters, so that a set of open intervals of `offset of a - offset of b` is forbidden. Two
plain buffers of sizes s and t forbid (-s, t). An output that may be written onto an input up to a difference d forbids
(d, t) only. Items that change their extent over time, such as a joined tensor whose parts are written one after
another, forbid the union of the intervals of their parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Interval = tuple[int, int]
"""The differences between two bounds, without the bounds."""


@dataclass(frozen=True)
class Problem:
    """Items and the differences of their offsets that are forbidden.

    Attributes
    ----------
    sizes : bytes of each item.
    alignments : number that the offset of each item is a multiple of.
    lives : first and last moment at which each item is in use.
    forbidden : intervals of `offset of a - offset of b` that are forbidden, by pairs (a, b) of items with a < b.
    """

    sizes: tuple[int, ...]
    alignments: tuple[int, ...]
    lives: tuple[tuple[int, int], ...]
    forbidden: Mapping[tuple[int, int], tuple[Interval, ...]]

    @cached_property
    def neighbours(self) -> tuple[tuple[tuple[int, tuple[Interval, ...]], ...], ...]:
        """The other items j of each item i, with the forbidden intervals of `offset of i - offset of j`."""
        found: list[list[tuple[int, tuple[Interval, ...]]]] = [[] for _ in self.sizes]
        for (a, b), intervals in sorted(self.forbidden.items()):
            found[a].append((b, intervals))
            found[b].append((a, tuple(sorted((-high, -low) for low, high in intervals))))
        return tuple(tuple(one) for one in found)

    def size(self, offsets: Sequence[int]) -> int:
        """Return the bytes up to the end of the last item."""
        return max((o + s for o, s in zip(offsets, self.sizes, strict=True)), default=0)

    def is_valid(self, offsets: Sequence[int]) -> bool:
        """Return whether offsets are aligned and no difference is forbidden."""
        if any(o < 0 or o % a for o, a in zip(offsets, self.alignments, strict=True)):
            return False
        return not any(
            low < offsets[a] - offsets[b] < high
            for (a, b), intervals in self.forbidden.items()
            for low, high in intervals
        )

    def first_fit(self, order: Iterable[int]) -> tuple[int, ...]:
        """Return the offsets where each item, in an order, gets the lowest one that those before it leave."""
        offsets = [-1] * len(self.sizes)
        for item in order:
            taken = [
                (offsets[other] + low, offsets[other] + high)
                for other, intervals in self.neighbours[item]
                if offsets[other] >= 0
                for low, high in intervals
            ]
            offsets[item] = lowest(sorted(taken), self.alignments[item])
        return tuple(offsets)


def lowest(taken: Sequence[Interval], alignment: int) -> int:
    """Return the lowest aligned offset of 0 or more that lies in none of some sorted open intervals."""
    offset = 0
    for low, high in taken:
        if low < offset < high:
            offset = -(-high // alignment) * alignment
        elif low >= offset:
            break  # the intervals that follow begin here or above
    return offset


def union(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return sorted open intervals that hold the same whole numbers, none of which meet."""
    found: list[Interval] = []
    for low, high in sorted(intervals):
        if high - low < 2:
            continue
        if found and low < found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return tuple(found)
