"""The order of operations: branches of a network may run in any order, and some need less memory at the peak.

Orders grow from the start, one operation at a time. Of those that have run the same operations only the one with the
lowest peak can be the start of the best, and of all as long the most promising few are kept. The bytes in use are
counted as in the lower bound: a tensor from its first use to its last, less what an output can share with inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qengine.deploy.c.arena.blocks import Within, root_of
from qengine.deploy.c.ir import CNetwork, CTensor, Operation

_BEAM = 64
"""Orders of equal length that are kept."""
_WORK = 100_000
"""Starts that are tried, about two seconds; where many operations are ready at a time, fewer orders are kept."""
_READY = 32
"""Operations that an order is tried to go on with, the first ones of those that are ready."""
_MOST = 2_000
"""Operations of a network beyond which its order stays."""


def reordered(network: CNetwork, within: Within) -> CNetwork:
    """Return a network with its operations in the order whose peak of bytes in use is the lowest that is found.

    Parameters
    ----------
    network
        The network, with its reads of tensors that are written in place.
    within
        The holders of tensors that are parts of others.
    """
    count = len(network.operations)
    if count > _MOST:
        return network
    order = _Orders(network.operations, within).best()
    if order == tuple(range(count)):
        return network
    return replace(network, operations=tuple(network.operations[i] for i in order))


@dataclass(frozen=True)
class _State:
    """The start of an order."""

    peak: int
    live: int
    order: tuple[int, ...]
    done: int  # a bit for each operation
    ready: frozenset[int]


class _Orders:
    """The orders of some operations."""

    def __init__(self, operations: Sequence[Operation], within: Within) -> None:
        self.operations = operations
        self.within = within
        writer: dict[CTensor, int] = {t: i for i, one in enumerate(operations) for t in one.outputs}
        self.needs = [0] * len(operations)
        self.users: dict[CTensor, int] = {}
        self.followers: list[list[int]] = [[] for _ in operations]
        self.roots: list[tuple[CTensor, ...]] = []
        for i, one in enumerate(operations):
            for source in sorted({writer[t] for t in self._read(one) if t in writer}):
                self.needs[i] |= 1 << source
                self.followers[source].append(i)
            roots = [root_of(within, t)[0] for t in (*one.outputs, *self._read(one))]
            self.roots.append(tuple(r for r in dict.fromkeys(roots) if r.place == "arena"))
            for root in self.roots[-1]:
                self.users[root] = self.users.get(root, 0) | 1 << i

    @staticmethod
    def _read(one: Operation) -> tuple[CTensor, ...]:
        more = (one.view.tensor,) if one.view is not None else ()
        return (*one.reads, *more)

    def best(self) -> tuple[int, ...]:
        """Return the order with the lowest peak that is found; of equal ones, the one most like the given order."""
        start = frozenset(i for i, needs in enumerate(self.needs) if not needs)
        states = [_State(0, 0, (), 0, start)]
        for _ in self.operations:
            found: dict[int, _State] = {}
            left = _WORK // len(self.operations)
            for state in states:
                tried = sorted(state.ready)[:_READY]
                left -= len(tried)
                for i in tried:
                    new = self._after(state, i)
                    old = found.get(new.done)
                    if old is None or (new.peak, new.order) < (old.peak, old.order):
                        found[new.done] = new
                if left <= 0:
                    break
            states = sorted(found.values(), key=lambda s: (s.peak, s.live, s.order))[:_BEAM]
        return states[0].order

    def _after(self, state: _State, i: int) -> _State:
        done = state.done | 1 << i
        live = state.live + sum(r.bytes for r in self.roots[i] if not self.users[r] & state.done)
        dead = {r for r in self.roots[i] if not self.users[r] & ~done}
        one = self.operations[i]
        peak = max(state.peak, live + one.scratch - self._shared(one, dead))
        ready = (state.ready - {i}) | {n for n in self.followers[i] if not self.needs[n] & ~done}
        return _State(peak, live - sum(r.bytes for r in dead), (*state.order, i), done, ready)

    def _shared(self, one: Operation, dead: set[CTensor]) -> int:
        """Return the bytes of an output that can be those of inputs that nothing reads later."""
        if one.view is not None or len(one.outputs) != 1 or one.output.place != "arena":
            return 0
        shared = sum(
            max(0, min(one.output.bytes + min(most, 0), t.bytes))
            for t, most in zip(one.reads, one.overlap, strict=False)
            if most is not None and root_of(self.within, t)[0] in dead
        )
        return min(shared, one.output.bytes)
