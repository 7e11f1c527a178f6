"""An exact search for the smallest arrangement.

Every forbidden interval of a pair (a, b) leaves two choices: a lies far enough below b, or far enough above. With some
choices made, each is an inequality `offset >= other offset + constant`, and the least offsets that obey them all follow
by propagation: no arrangement with these choices is smaller. If they break no other interval they are an arrangement;
else a broken interval is taken and both of its choices are searched. A branch ends where its least offsets already
reach the size of the best arrangement. Without a limit the search finds the smallest arrangement; the work that it
does is counted rather than timed, so that a result is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qengine.deploy.c.arena.problem import Problem

_Edge = tuple[int, int, int]
"""(a, b, w): the offset of b is at least w above that of a."""


@dataclass(frozen=True)
class Outcome:
    """The result of a search.

    Attributes
    ----------
    offsets : offsets of the smallest arrangement that is known.
    is_least : whether no arrangement is smaller.
    """

    offsets: tuple[int, ...]
    is_least: bool


def search(problem: Problem, known: tuple[int, ...], bound: int, work: int) -> Outcome:
    """Return an arrangement that is as small as a known one or smaller.

    Parameters
    ----------
    problem
        The items.
    known
        Offsets of an arrangement.
    bound
        Size at which the search ends, as none is smaller.
    work
        Number of inequalities and intervals that are looked at before the search gives up.
    """
    found = _Search(problem, known, problem.size(known), bound, work)
    found.run()
    return Outcome(found.best, found.work >= 0 or found.size <= bound)


@dataclass
class _Search:
    problem: Problem
    best: tuple[int, ...]
    size: int
    bound: int
    work: int
    edges: list[list[tuple[int, int]]] = field(default_factory=list)
    """The inequalities from each item on: (b, w)."""

    def __post_init__(self) -> None:
        self.edges = [[] for _ in self.problem.sizes]
        self.intervals = [(a, b, low, high) for (a, b), found in self.problem.forbidden.items() for low, high in found]

    def run(self) -> None:
        """Search depth first; a stack holds the branches that are left, with the number of inequalities before them."""
        stack: list[tuple[list[int], tuple[_Edge, ...]]] = [([0] * len(self.problem.sizes), ())]
        while stack and self.work >= 0 and self.size > self.bound:
            offsets, chosen = stack.pop()
            if self.problem.size(offsets) >= self.size:
                continue
            self._set(chosen)
            branches = self._branches(offsets)
            if branches is None:
                self.best, self.size = tuple(offsets), self.problem.size(offsets)
            else:
                stack += [(moved, (*chosen, edge)) for moved, edge in branches]
        if stack and self.size > self.bound:
            self.work = -1

    def _set(self, chosen: tuple[_Edge, ...]) -> None:
        for edges in self.edges:
            edges.clear()
        for a, b, w in chosen:
            self.edges[a].append((b, w))
        self.work -= len(chosen)

    def _branches(self, offsets: list[int]) -> list[tuple[list[int], _Edge]] | None:
        """Return the choices for a broken interval, the better one last; None if none is broken.

        The interval is the one whose better choice costs most; one with less than two choices ends the search for it.
        """
        self.work -= len(self.intervals)
        sizes = self.problem.sizes
        hardest: tuple[int, int, tuple[_Edge, _Edge]] | None = None
        for a, b, low, high in self.intervals:
            if low < offsets[a] - offsets[b] < high:
                up, down = offsets[b] + high + sizes[a], offsets[a] - low + sizes[b]
                cost = min(up, down), max(up, down)
                if hardest is None or cost > hardest[:2]:
                    hardest = (*cost, ((b, a, high), (a, b, -low)))
        if hardest is None:
            return None
        found = []
        for edge in hardest[2]:
            moved = self._moved(offsets, edge)
            if moved is not None:
                found.append((self.problem.size(moved), sum(moved), moved, edge))
        return [(moved, edge) for *_, moved, edge in sorted(found, key=lambda one: one[:2], reverse=True)]

    def _moved(self, offsets: list[int], edge: _Edge) -> list[int] | None:
        """Return the least offsets with one more inequality; None where they reach the best size."""
        a, b, w = edge
        moved = list(offsets)
        self.edges[a].append((b, w))
        waiting = [a]
        sizes, alignments = self.problem.sizes, self.problem.alignments
        while waiting:
            item = waiting.pop()
            for other, more in self.edges[item]:
                self.work -= 1
                least = moved[item] + more
                if moved[other] < least:
                    moved[other] = -(-least // alignments[other]) * alignments[other]
                    if moved[other] + sizes[other] >= self.size:
                        self.edges[a].pop()
                        return None
                    waiting.append(other)
        self.edges[a].pop()
        return moved
