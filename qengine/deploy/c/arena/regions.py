"""Regions: elements of 16, 32 and 64 bits lie apart, those of 8 bits in the region that makes the arena small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qengine.deploy.c.arena.blocks import Memory
from qengine.deploy.c.arena.bound import peak
from qengine.deploy.c.arena.conflicts import problem_of
from qengine.deploy.c.arena.exact import Outcome
from qengine.deploy.c.arena.problem import Problem

_BYTES = 1


@dataclass(frozen=True)
class Arrangement:
    """Offsets of blocks.

    Attributes
    ----------
    region : bytes of the elements of the region of each block.
    offsets : offset of each block in its region.
    sizes : (bytes of the elements, size) of each region, the widest first.
    is_least : whether no arrangement is smaller.
    """

    region: tuple[int, ...]
    offsets: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    is_least: bool

    @property
    def bytes(self) -> int:
        """The bytes of all regions."""
        return sum(size for _, size in self.sizes)


Solve = Callable[[Problem, int], Outcome]
"""A search for the offsets of a problem, which may end at a bound."""


def arranged(memory: Memory, alignment: int, solve: Solve) -> Arrangement:
    """Return the smallest arrangement of the blocks of a network that a search finds."""
    widths = [b.width for b in memory.blocks]
    wide = sorted({w for w in widths if w > _BYTES}, reverse=True) or ([2] if widths else [])
    choices = wide if _BYTES in widths else wide[:1]
    regions = [tuple(w if w > _BYTES else home for w in widths) for home in choices]
    found = [_in_regions(memory, region, alignment, solve) for region in regions]
    return min(found, key=lambda one: one.bytes, default=Arrangement((), (), (), True))


def _in_regions(memory: Memory, region: tuple[int, ...], alignment: int, solve: Solve) -> Arrangement:
    offsets = [0] * len(region)
    sizes = []
    is_least = len({w for w in region if w > _BYTES}) <= 1 or _BYTES not in {b.width for b in memory.blocks}
    for width in sorted(set(region), reverse=True):
        chosen = [i for i, w in enumerate(region) if w == width]
        problem = problem_of(memory, chosen, alignment)
        inside = {memory.blocks[i] for i in chosen}
        found = solve(problem, peak(memory, inside.__contains__)[0])
        for i, offset in zip(chosen, found.offsets, strict=True):
            offsets[i] = offset
        sizes.append((width, problem.size(found.offsets)))
        is_least &= found.is_least
    return Arrangement(region, tuple(offsets), tuple(sizes), is_least)
