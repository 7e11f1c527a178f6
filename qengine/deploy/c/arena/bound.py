"""The number of bytes below which no arena can be.

At each operation all bytes in use lie apart, except that its output may be written onto its inputs. If an output may
lie at most d bytes after an input, min(size of the output, size of the input) of its bytes can be theirs for d >= 0,
and min(size of the output + d, size of the input) for d < 0. Inputs lie apart, so that the output shares at most the
sum over its inputs, and at most its own size. The bytes that are then left are needed in any arrangement.
"""

from __future__ import annotations

from collections.abc import Callable

from qengine.deploy.c.arena.blocks import Block, Memory, Sharing, are_apart


def lower_bound(memory: Memory) -> int:
    """Return a number of bytes that every arrangement needs, whichever region elements of 8 bits are in.

    Elements of 16, 32 and 64 bits never share bytes, so that what each of them needs at its own peak adds up.
    """
    wide = {b.width for b in memory.blocks if b.width > 1}
    apart = sum(peak(memory, lambda b, width=width: b.width == width)[0] for width in sorted(wide))  # type: ignore[misc]
    return max(apart, peak(memory)[0])


def peak(memory: Memory, counts: Callable[[Block], bool] = lambda _: True) -> tuple[int, int]:
    """Return the largest number of bytes that blocks need at an operation, and the first such operation."""
    needed = [0] * memory.operations
    for block in memory.blocks:
        if counts(block):
            for p in block.pieces:
                for time in range(p.first, p.last + 1):
                    needed[time] += p.end - p.start
    for time, saved in _saved(memory, counts).items():
        needed[time] -= saved
    most = max(needed, default=0)
    return most, needed.index(most) if needed else 0


def _saved(memory: Memory, counts: Callable[[Block], bool]) -> dict[int, int]:
    """Return the bytes of outputs that can be those of inputs, by operation."""
    found: dict[int, int] = {}
    for one in memory.sharings:
        output, source = memory.blocks[one.output], memory.blocks[one.source]
        if counts(output) and counts(source):
            total = found.get(one.time, 0) + _shared(one, output, source)
            found[one.time] = min(total, one.output_size)
    return found


def _shared(one: Sharing, output: Block, source: Block) -> int:
    if one.most is None or are_apart(output, source):
        return 0
    end = one.source_at + one.source_size
    dying = sum(p.end - p.start for p in source.pieces if p.last == one.time and one.source_at <= p.start < end)
    return max(0, min(one.output_size + min(one.most, 0), dying))
