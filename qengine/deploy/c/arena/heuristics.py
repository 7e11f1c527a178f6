"""Arrangements by first fit: each item in some order gets the lowest offset that is free."""

from __future__ import annotations

from collections.abc import Iterator

from qengine.deploy.c.arena.problem import Problem


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


def best_offsets(problem: Problem) -> tuple[int, ...]:
    """Return the offsets of the smallest arrangement that is found."""
    return min((problem.first_fit(order) for order in orders(problem)), key=problem.size)
