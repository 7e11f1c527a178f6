"""The choices before tensors are placed: which copies are left out, and in which order operations run.

Both are compared by the arrangement that first fit finds. Copies are left out and the order stays, unless another
choice needs less memory.
"""

from __future__ import annotations

from qengine.deploy.c.arena.aliases import Aliased, aliased
from qengine.deploy.c.arena.blocks import memory_of
from qengine.deploy.c.arena.conflicts import problem_of
from qengine.deploy.c.arena.heuristics import greedy
from qengine.deploy.c.arena.order import reordered
from qengine.deploy.c.ir import CNetwork, Part

_TRIED = 24
"""Sets of parts that are tried as copies."""


def choose(network: CNetwork, alignment: int) -> Aliased:
    """Return a network and where its tensors are written in place, so that its arena is small."""
    best = aliased(network)
    size = _size(best, alignment)
    moved = reordered(network, best.within)
    if moved is not network:
        tried = aliased(moved)
        if (less := _size(tried, alignment)) < size:
            network, best, size = moved, tried, less
    apart: frozenset[Part] = frozenset()
    for parts in _candidates(network, best):
        tried = aliased(network, apart | parts)
        if (less := _size(tried, alignment)) < size:
            best, size, apart = tried, less, apart | parts
    return best


def _candidates(network: CNetwork, best: Aliased) -> list[frozenset[Part]]:
    """Return sets of parts that are tried as copies: each alone, then all of an operation, the largest ones."""
    placed = set(best.joined)
    joins = [[p for p in one.parts if p in placed] for one in network.operations]
    joins.sort(key=lambda parts: -sum(p.tensor.bytes for p in parts))
    found = [frozenset(some) for parts in joins for some in (*([p] for p in parts), parts) if some]
    return list(dict.fromkeys(found))[:_TRIED]


def _size(one: Aliased, alignment: int) -> int:
    problem = problem_of(memory_of(one.network, one.within), alignment)
    return problem.size(greedy(problem))
