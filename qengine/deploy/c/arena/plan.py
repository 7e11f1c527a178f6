"""The arena: where each tensor and the scratch of each operation lie in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qengine.deploy.c.arena.blocks import Memory, Within, memory_of, root_of
from qengine.deploy.c.arena.bound import lower_bound
from qengine.deploy.c.arena.regions import arranged
from qengine.deploy.c.ir import CNetwork, CTensor, Operation, Scratch


@dataclass(frozen=True)
class ArenaOptions:
    """Wishes for an arena.

    Attributes
    ----------
    alignment : number that offsets of tensors of as many bytes or more are a multiple of.
    """

    alignment: int = 4


@dataclass(frozen=True)
class Region:
    """A part of the arena whose elements may share bytes.

    Attributes
    ----------
    width : bytes of the elements of the array that holds it: 2, 4 or 8; elements of one byte may be in any.
    start : bytes of the arena before it, a multiple of the width.
    bytes : number of its bytes.
    """

    width: int
    start: int
    bytes: int

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """The type of the elements of the array that holds it."""
        return np.dtype(f"int{8 * self.width}")


@dataclass(frozen=True, eq=False)
class Arena:
    """The places of the tensors of a network.

    Attributes
    ----------
    network : the network to write; some of its copies may be left out, as tensors are written in place.
    regions : parts of the arena, the widest elements first.
    offsets : bytes of the arena before every tensor that lies in it, also those within others.
    within : holders of the memory of tensors that are a part of another one, with the bytes before them there.
    scratch : bytes of the arena before each part of the scratch of an operation.
    shares : operations whose output lies on bytes of an input.
    bytes : size of the arena.
    bound : bytes below which no arena of this network can be.
    """

    network: CNetwork
    regions: tuple[Region, ...]
    offsets: Mapping[CTensor, int]
    within: Within
    scratch: Mapping[tuple[Operation, Scratch], int]
    shares: frozenset[Operation]
    bytes: int
    bound: int

    def holder(self, tensor: CTensor) -> tuple[CTensor, int]:
        """Return the tensor that holds the memory of another (itself if no other), and the bytes before it there."""
        return root_of(self.within, tensor)


def plan_arena(network: CNetwork, options: ArenaOptions | None = None) -> Arena:
    """Return the arena of a network.

    Parameters
    ----------
    network
        The network.
    options
        Wishes for it; by default an alignment of 4 bytes.
    """
    options = options or ArenaOptions()
    within = {
        one.output: (one.view.tensor, one.view.offset * one.view.tensor.dtype.itemsize)
        for one in network.operations
        if one.view is not None
    }
    memory = memory_of(network, within)
    found = arranged(memory, options.alignment)
    regions, start = [], 0
    for width, size in found.sizes:
        regions.append(Region(width, start, size))
        start += -(-size // width) * width
    starts = {r.width: r.start for r in regions}
    at = [starts[found.region[i]] + offset for i, offset in enumerate(found.offsets)]
    offsets = _offsets(network, within, memory, at)
    scratch = {(one, a): at[i] + more for i, b in enumerate(memory.blocks) for one, a, more in b.scratch}
    shares = frozenset(one for one in network.operations if _shares(one, offsets))
    size = max((r.start + r.bytes for r in regions), default=0)
    return Arena(network, tuple(regions), offsets, within, scratch, shares, size, lower_bound(memory))


def _offsets(network: CNetwork, within: Within, memory: Memory, at: list[int]) -> dict[CTensor, int]:
    roots = {b.tensor: at[i] for i, b in enumerate(memory.blocks) if b.tensor is not None}
    found = {}
    for one in network.operations:
        for tensor in one.outputs:
            root, more = root_of(within, tensor)
            if root.place == "arena":
                found[tensor] = roots.get(root, 0) + more
    return found


def _shares(one: Operation, offsets: Mapping[CTensor, int]) -> bool:
    return one.view is None and any(
        offsets[y] < offsets[x] + x.bytes and offsets[x] < offsets[y] + y.bytes
        for y in one.outputs
        for x in one.reads
        if x in offsets and y in offsets
    )
