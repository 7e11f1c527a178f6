"""Index maps: the element of the input for each element of the output of a move, found by running it on indices.

A move that only rearranges does the same with any numbers. So it runs on 0, 1, 2, ... in ONNX's order, and on -1 for
its fill, and gives the index map. It runs a second time on other numbers, and must give the same map. That holds for a
closed set of functions only: one that compares elements, or reads them as indices, would give a map that is wrong for
other inputs, and is never asked.

With the orders of both tensors in memory, the map says for each element in the output's memory the place in the
input's. It is then one of these, the first that fits:

- a part of the input as it lies in memory, which needs no code,
- nested loops with constant steps in both tensors; a fill may stay around the part that is copied,
- two tables, by row and by column, of blocks of elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.ir import CTensor
from qengine.deploy.c.lowerings.nests import COPY_AXES, Nest, progressions

Map = NDArray[np.int64]
FILL = -1


def probed(move: Callable[[Map, int], NDArray[np.int64]], shape: tuple[int, ...]) -> Map:
    """Return the index map of a move: for each output the element of the input in ONNX's order, or FILL.

    Parameters
    ----------
    move
        The function of an array and of the number that stands for a fill.
    shape
        Shape of the input.
    """
    codes = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64)
    found = np.array(move(codes.reshape(shape), FILL), np.int64)
    mirrored = np.array(move(codes[::-1].reshape(shape), FILL), np.int64)
    expected = np.where(found == FILL, FILL, codes.size - 1 - found)
    assert np.array_equal(mirrored, expected), "the function reads its elements"
    return found


def in_memory(found: Map, x: CTensor, y: CTensor) -> Map:
    """Return the map of memory, one axis: for each element of y as it lies the place in x, or FILL."""
    places = np.append(x.unplaced(np.arange(x.size)).reshape(-1), FILL)  # FILL is the last index
    return y.placed(places[found.reshape(y.shape)])


@dataclass(frozen=True)
class Copied:
    """A copy by nested loops.

    Attributes
    ----------
    nest : loops, with the steps in x and in y.
    x, y : first elements.
    fills : whether y is filled before, as the copy does not reach all of it.
    """

    nest: Nest
    x: int
    y: int
    fills: bool


@dataclass(frozen=True)
class Tables:
    """Blocks of x by two tables of places, which may hold FILL.

    Attributes
    ----------
    outer : number of times that the tables are gone through.
    step : elements of x from one time to the next.
    rows, columns : the tables.
    block : elements that stay together.
    """

    outer: int
    step: int
    rows: Map
    columns: Map
    block: int


def contiguous(flat: Map) -> int | None:
    """Return the first place of a map that is a part of x as it lies; None for another."""
    if not flat.size or flat[0] < 0:
        return None
    return int(flat[0]) if np.array_equal(flat, flat[0] + np.arange(flat.size)) else None


def copied(flat: Map, y: CTensor) -> Copied | None:
    """Return the loops of a map whose fills, if any, are around a box of the output."""
    is_moved = flat != FILL
    if is_moved.all():
        at = np.arange(flat.size)
    else:
        lengths = [y.shape[axis] for axis in y.order]
        inside = is_moved.reshape(lengths)
        box = []
        for axis in range(len(lengths)):
            met = np.flatnonzero(inside.any(axis=tuple(a for a in range(len(lengths)) if a != axis)))
            if not met.size:
                return None
            box.append(slice(int(met[0]), int(met[-1]) + 1))
        if not inside[tuple(box)].all():
            return None
        at = np.arange(flat.size).reshape(lengths)[tuple(box)].reshape(-1)
    pairs = np.stack((flat[at], at), axis=1)
    nest = progressions(pairs - pairs[0], COPY_AXES)
    return None if nest is None else Copied(nest, int(pairs[0, 0]), int(pairs[0, 1]), not is_moved.all())


def tables(flat: Map) -> Tables:
    """Return tables for any map."""
    block = next(n for n in _divisors(flat.size) if _is_blocks(flat, n))
    heads = flat[::block]
    outer, step = 1, 0
    for n in _divisors(heads.size):
        if n > 1 and (found := _outer_step(heads.reshape(n, -1))) is not None:
            outer, step = n, found
            break
    inner = heads[: heads.size // outer]
    pairs = (_sum_of_two(inner.reshape(n, -1)) for n in _divisors(inner.size))
    best = min((pair for pair in pairs if pair is not None), key=_entries)
    return Tables(outer, step, *best, block)


def _entries(pair: tuple[Map, Map]) -> int:
    return pair[0].size + pair[1].size


def _divisors(n: int) -> list[int]:
    """Return the divisors, the largest first."""
    small = [d for d in range(1, int(n**0.5) + 1) if n % d == 0]
    return sorted({*small, *(n // d for d in small)}, reverse=True)


def _is_blocks(flat: Map, n: int) -> bool:
    """Whether every n elements stay together, or are all fills."""
    parts = flat.reshape(-1, n)
    heads = parts[:, :1]
    return bool((parts == np.where(heads == FILL, FILL, heads + np.arange(n))).all())


def _outer_step(parts: Map) -> int | None:
    """Return the step by which each row is larger than the one before, with the fills in the same places."""
    is_moved = parts[0] != FILL
    if not is_moved.any():
        return 0 if (parts == FILL).all() else None
    first = int(is_moved.argmax())
    step = int(parts[1, first] - parts[0, first])
    expected = np.where(is_moved, parts[0] + np.arange(len(parts))[:, None] * step, FILL)
    return step if step >= 0 and np.array_equal(parts, expected) else None


def _sum_of_two(parts: Map) -> tuple[Map, Map] | None:
    """Return two tables whose sums are the places of a matrix; whole rows and columns may be fills."""
    is_moved = parts != FILL
    rows, columns = is_moved.any(axis=1), is_moved.any(axis=0)
    if not np.array_equal(is_moved, rows[:, None] & columns):
        return None
    if not rows.any():
        return np.full(len(parts), FILL), np.zeros(parts.shape[1], np.int64)
    row, column = int(rows.argmax()), int(columns.argmax())
    least = int(parts[row][columns].min())
    by_column = np.where(columns, parts[row] - least, FILL)
    by_row = np.where(rows, parts[:, column] - by_column[column], FILL)
    expected = np.where(is_moved, by_row[:, None] + by_column, FILL)
    if (by_row[rows] < 0).any() or not np.array_equal(expected, parts):
        return None
    return by_row, by_column


def overlap(reads: Map, unit: int) -> int:
    """Return the largest distance from the input to the output, in elements, at which no element is overwritten early.

    Units of the output are written one after the other, each after it and those before it were read: see
    `Operation.overlap`.

    Parameters
    ----------
    reads
        The first element of the input that each unit reads; FILL for none.
    unit
        Elements of the output that a unit writes.
    """
    far = np.iinfo(np.int64).max // 2
    later = np.minimum.accumulate(np.where(reads == FILL, far, reads)[::-1])[::-1]
    return int((later - np.arange(1, reads.size + 1) * unit).min(initial=0))
