"""Arrangements by first fit, where each item in some order gets the lowest offset that is free, and better orders."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from qengine.deploy.c.arena.exact import Outcome, search
from qengine.deploy.c.arena.problem import Problem

_FIRST = 300_000
"""Steps of the exact search before the search for better orders, which proves most small arrangements."""
_CLIMB = 1_000_000
"""Intervals that the search for better orders looks at: about half a second."""
_EXACT = 3_000_000
"""Steps of the exact search after it: about half a second."""


def orders(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Yield orders: by size, by size times life, by conflicts, by first use, and each with ties turned round."""
    items = range(len(problem.sizes))
    degree = [len(n) for n in problem.neighbours]
    area = [size * (last - first + 1) for size, (first, last) in zip(problem.sizes, problem.lives, strict=True)]
    for turn in (1, -1):
        yield tuple(sorted(items, key=lambda i: (-problem.sizes[i], turn * i)))
        yield tuple(sorted(items, key=lambda i: (-area[i], turn * i)))
        yield tuple(sorted(items, key=lambda i: (-degree[i], -problem.sizes[i], turn * i)))
        yield tuple(sorted(items, key=lambda i: (turn * problem.lives[i][0], turn * i)))


def greedy(problem: Problem) -> tuple[int, ...]:
    """Return the smallest arrangement of these orders."""
    return min((problem.first_fit(order) for order in orders(problem)), key=problem.size)


def climbed(problem: Problem, bound: int, work: int = _CLIMB) -> tuple[int, ...]:
    """Return the arrangement of an order that random changes made better.

    A change moves an item to another place in the order, often one that ends at the top, and stays if the arrangement
    is not larger. The seed is fixed and the work is counted, so that the result is the same on every machine.

    Parameters
    ----------
    problem
        The items.
    bound
        Size at which the search ends.
    work
        Number of intervals that are looked at.
    """
    random = Random(0)
    ranked = sorted(orders(problem), key=lambda order: problem.size(problem.first_fit(order)))
    order = list(ranked[0])
    best = problem.first_fit(order)
    cost = len(order) + sum(map(len, problem.forbidden.values()))
    for _ in range(work // max(cost, 1)):
        size = problem.size(best)
        if size <= bound or len(order) < 2:
            break
        tops = [i for i, offset in enumerate(best) if offset + problem.sizes[i] == size]
        moved = random.choice(tops) if random.random() < 0.5 else random.choice(order)
        changed = [i for i in order if i != moved]
        changed.insert(random.randrange(len(order)), moved)
        found = problem.first_fit(changed)
        if problem.size(found) <= size:
            order, best = changed, found
    return best


def best_offsets(problem: Problem, bound: int) -> Outcome:
    """Return the smallest arrangement that is found, by the exact search and, where it gives up, by better orders."""
    first = search(problem, greedy(problem), bound, _FIRST)
    if first.is_least:
        return first
    offsets = min(first.offsets, climbed(problem, bound), key=problem.size)
    return search(problem, offsets, bound, _EXACT)
