"""Where tensors and scratch lie in the arena."""

from __future__ import annotations

from dataclasses import dataclass

from qengine.deploy.c.ir import CNetwork, CTensor, Operation


@dataclass(frozen=True, eq=False)
class Placement:
    """Offsets in bytes.

    Attributes
    ----------
    offsets : offset of every tensor of the arena that is no view.
    scratch : offset of the scratch of every operation that needs some.
    bytes : size of the arena.
    shares : operations whose output shares memory with an input.
    """

    offsets: dict[CTensor, int]
    scratch: dict[Operation, int]
    bytes: int
    shares: frozenset[Operation] = frozenset()


def stacked(network: CNetwork) -> Placement:
    """Return the placement of every tensor after the other."""
    offsets: dict[CTensor, int] = {}
    scratch: dict[Operation, int] = {}
    end = 0

    def take(size: int) -> int:
        nonlocal end
        start, end = end, end + -(-size // 16) * 16
        return start

    for one in network.operations:
        for t in one.outputs:
            if t.place == "arena" and one.view is None:
                offsets[t] = take(t.bytes)
        if one.scratch:
            scratch[one] = take(one.scratch)
    return Placement(offsets, scratch, end)
