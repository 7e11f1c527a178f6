"""Regions: elements of 16, 32 and 64 bits lie apart, those of 8 bits in the region that makes the arena small."""

from __future__ import annotations

from dataclasses import dataclass

from qengine.deploy.c.arena.blocks import Memory
from qengine.deploy.c.arena.conflicts import problem_of
from qengine.deploy.c.arena.heuristics import best_offsets

_BYTES = 1


@dataclass(frozen=True)
class Arrangement:
    """Offsets of blocks.

    Attributes
    ----------
    region : bytes of the elements of the region of each block.
    offsets : offset of each block in its region.
    sizes : (bytes of the elements, size) of each region, the widest first.
    """

    region: tuple[int, ...]
    offsets: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]

    @property
    def bytes(self) -> int:
        """The bytes of all regions."""
        return sum(size for _, size in self.sizes)


def arranged(memory: Memory, alignment: int) -> Arrangement:
    """Return the smallest arrangement that is found of the blocks of a network."""
    widths = [b.width for b in memory.blocks]
    wide = sorted({w for w in widths if w > _BYTES}, reverse=True) or ([2] if widths else [])
    choices = wide if _BYTES in widths else wide[:1]
    found = [_in_regions(memory, tuple(w if w > _BYTES else home for w in widths), alignment) for home in choices]
    return min(found, key=lambda one: one.bytes, default=Arrangement((), (), ()))


def _in_regions(memory: Memory, region: tuple[int, ...], alignment: int) -> Arrangement:
    offsets = [0] * len(region)
    sizes = []
    for width in sorted(set(region), reverse=True):
        chosen = [i for i, w in enumerate(region) if w == width]
        problem = problem_of(memory, chosen, alignment)
        found = best_offsets(problem)
        for i, offset in zip(chosen, found, strict=True):
            offsets[i] = offset
        sizes.append((width, problem.size(found)))
    return Arrangement(region, tuple(offsets), tuple(sizes))
