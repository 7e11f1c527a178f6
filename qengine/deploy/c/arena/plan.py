"""The arena: where each tensor and the scratch of each operation lie in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qengine.deploy.c.arena.aliases import Aliased
from qengine.deploy.c.arena.blocks import Memory, Within, memory_of, root_of
from qengine.deploy.c.arena.bound import lower_bound, peak
from qengine.deploy.c.arena.choices import choose
from qengine.deploy.c.arena.conflicts import problem_of
from qengine.deploy.c.arena.heuristics import best_offsets
from qengine.deploy.c.arena.limit import check_limit
from qengine.deploy.c.arena.regions import Region, regions_of
from qengine.deploy.c.ir import CNetwork, CTensor, Operation, Scratch


@dataclass(frozen=True)
class ArenaOptions:
    """Wishes for an arena.

    Attributes
    ----------
    alignment : number that offsets of tensors of as many bytes or more are a multiple of.
    ram : bytes that the arena may have; None for no limit.
    """

    alignment: int = 4
    ram: int | None = None


@dataclass(frozen=True)
class Life:
    """A run of bytes of the arena while a tensor or scratch uses it.

    Attributes
    ----------
    name : name of the tensor that holds the memory, or of the scratch.
    offset : bytes of the arena before it.
    bytes : number of its bytes.
    first, last : operations between which it is in use, both included.
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Arena:
    """The places of the tensors of a network.

    Attributes
    ----------
    network : the network to write; some of its copies may be left out, as tensors are written in place.
    regions : parts of the arena by address, each with elements of one width.
    offsets : bytes of the arena before every tensor that lies in it, also those within others.
    within : holders of the memory of tensors that are a part of another one, with the bytes before them there.
    scratch : bytes of the arena before each part of the scratch of an operation.
    shares : operations whose output lies on bytes of an input.
    bytes : size of the arena.
    bound : bytes below which no arena of these operations in this order can be.
    is_least : whether no arena of these operations in this order is smaller.
    peak : operation at which most bytes are in use.
    lives : bytes of the arena that each tensor and scratch uses, by place and time.
    """

    network: CNetwork
    regions: tuple[Region, ...]
    offsets: Mapping[CTensor, int]
    within: Within
    scratch: Mapping[tuple[Operation, Scratch], int]
    shares: frozenset[Operation]
    bytes: int
    bound: int
    is_least: bool
    peak: Operation | None
    lives: tuple[Life, ...]

    @property
    def summary(self) -> str:
        """The size of the arena and its lower bound, as a line."""
        least = "no arrangement is smaller" if self.is_least else f"nothing can be below {self.bound:,} B"
        return f"arena {self.bytes:,} B; {least}"

    @property
    def at_peak(self) -> dict[str, int]:
        """The bytes in use at the operation at the peak, by the name of the tensor."""
        found: dict[str, int] = {}
        if self.peak is not None:
            time = self.network.operations.index(self.peak)
            for one in self.lives:
                if one.first <= time <= one.last:
                    found[one.name] = found.get(one.name, 0) + one.bytes
        return found

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
        Wishes for it; by default an alignment of 4 bytes and no limit.

    Raises
    ------
    MemoryLimitError
        If the arena is larger than the limit.
    """
    options = options or ArenaOptions()
    chosen = choose(network, options.alignment)
    memory = memory_of(chosen.network, chosen.within)
    arena = _arena(chosen, memory, options.alignment)
    if options.ram is not None:
        moment = "" if arena.peak is None else f"{arena.peak.node.operator} '{arena.peak.output.name}'"
        check_limit(arena.bytes, options.ram, arena.bound, moment, arena.at_peak)
    return arena


def _arena(chosen: Aliased, memory: Memory, alignment: int) -> Arena:
    network, within = chosen.network, chosen.within
    problem, bound = problem_of(memory, alignment), lower_bound(memory)
    found = best_offsets(problem, bound)
    at, size = found.offsets, problem.size(found.offsets)
    most, time = peak(memory)
    offsets = _offsets(network, within, memory, at)
    return Arena(
        network,
        regions_of(memory.blocks, at, size),
        offsets,
        within,
        {(one, a): at[i] + more for i, b in enumerate(memory.blocks) for one, a, more in b.scratch},
        frozenset(one for one in network.operations if _shares(one, offsets)),
        size,
        bound,
        found.is_least or size == bound,
        network.operations[time] if most else None,
        tuple(
            Life(b.name, at[i] + p.start, p.end - p.start, p.first, p.last)
            for i, b in enumerate(memory.blocks)
            for p in b.pieces
        ),
    )


def _offsets(network: CNetwork, within: Within, memory: Memory, at: Sequence[int]) -> dict[CTensor, int]:
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
