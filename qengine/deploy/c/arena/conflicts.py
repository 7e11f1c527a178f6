"""The step from blocks to the problem of their offsets: the differences of two offsets that are forbidden."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from qengine.deploy.c.arena.blocks import Block, Memory, Piece, Sharing, are_apart, class_of
from qengine.deploy.c.arena.problem import Interval, Problem, union

_Pair = tuple[int, int]


def problem_of(memory: Memory, alignment: int) -> Problem:
    """Return the problem of the blocks of a memory.

    Parameters
    ----------
    memory
        The blocks.
    alignment
        Number that offsets of blocks of as many bytes or more are a multiple of.
    """
    by_pair: dict[_Pair, list[Sharing]] = {}
    for one in memory.sharings:
        by_pair.setdefault((one.output, one.source), []).append(one)
    forbidden = {}
    blocks = memory.blocks
    for pair in _pairs(blocks):
        intervals = union(_intervals(blocks, pair, by_pair))
        if intervals:
            forbidden[pair] = intervals
    return Problem(
        tuple(b.size for b in blocks),
        tuple(_alignment(b, alignment) for b in blocks),
        tuple((b.first, b.last) for b in blocks),
        forbidden,
    )


def _pairs(blocks: Sequence[Block]) -> Iterator[_Pair]:
    """Yield the pairs of blocks that may be in conflict: those in use at one time, and those of widths kept apart."""
    firsts = [b.first for b in blocks]
    wide = [i for i, b in enumerate(blocks) if b.width > 1]
    is_mixed = len({class_of(blocks[i].width) for i in wide}) > 1
    for a, block in enumerate(blocks):
        end = bisect_right(firsts, block.last, a)
        yield from ((a, b) for b in range(a + 1, end))
        if is_mixed and block.width > 1:
            yield from ((a, b) for b in wide[bisect_left(wide, max(end, a + 1)) :] if are_apart(block, blocks[b]))


def _alignment(block: Block, alignment: int) -> int:
    return max(block.width, alignment if block.size >= alignment else 1)


def _intervals(blocks: Sequence[Block], pair: _Pair, sharings: Mapping[_Pair, list[Sharing]]) -> Iterator[Interval]:
    a, b = (blocks[i] for i in pair)
    if are_apart(a, b):
        yield -a.size, b.size
        return
    if a.last < b.first or b.last < a.first:
        return
    forward, backward = sharings.get(pair, ()), sharings.get((pair[1], pair[0]), ())
    for p in a.pieces:
        for q in b.pieces:
            if p.last < q.first or q.last < p.first:
                continue
            low, high = q.start - p.end, q.end - p.start
            if (most := _most(forward, p, q)) is not None:
                yield max(low, most), high
            elif (most := _most(backward, q, p)) is not None:
                yield low, min(high, -most)
            else:
                yield low, high


def _most(sharings: Sequence[Sharing], output: Piece, source: Piece) -> int | None:
    """Return the largest difference of the blocks with which an output may be written onto a source; None for none."""
    time = output.first
    if source.last != time:
        return None
    found = []
    for one in sharings:
        is_read = one.source_at < source.end and source.start < one.source_at + one.source_size
        if one.time != time or not is_read:
            continue
        if one.most is None:
            return None
        found.append(one.most + one.source_at - one.output_at)
    return min(found, default=None)
