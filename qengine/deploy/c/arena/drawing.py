"""The map of an arena: as text for comments, and as numbers for the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qengine.deploy.c.arena.plan import Arena, Life

_NAME = 28
_COLUMNS = 44


def drawing(arena: Arena) -> list[str]:
    """Return the map of an arena as lines of at most 100 characters.

    Each line is a run of bytes with the operations that use it, from the left to the right; an operation has one column
    or, in a long network, less. The last line marks the operation at which most bytes are in use.
    """
    count = len(arena.network.operations)
    if not arena.lives:
        return []
    lives = sorted(arena.lives, key=lambda one: (one.first, one.offset))
    width = max(min(_NAME, max(len(one.name) for one in lives)), len("tensor"))
    columns = min(count, _COLUMNS)
    lines = [f"{'from':>9} {'to':>9}  {'tensor':<{width}}  operations 0 to {count - 1}"]
    lines += [
        f"{one.offset:9} {one.offset + one.bytes:9}  {_short(one.name, width)}  {_bar(one, count, columns)}"
        for one in lives
    ]
    if arena.peak is not None:
        time = arena.network.operations.index(arena.peak)
        used = sum(arena.at_peak.values())
        lines.append(" " * (21 + width + 2 + time * columns // count) + "^")
        lines.append(f"most bytes are in use at operation {time}, '{_cut(arena.peak.output.name, _NAME)}': {used:,} B")
    return lines


def _bar(one: Life, count: int, columns: int) -> str:
    first, last = one.first * columns // count, one.last * columns // count
    return "".join("#" if first <= i <= last else "." for i in range(columns))


def _short(name: str, width: int) -> str:
    return f"{_cut(name, width):<{width}}"


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width // 2 - 1]}..{name[len(name) - (width - width // 2 - 1) :]}"


def as_mapping(arena: Arena) -> dict[str, Any]:
    """Return the numbers of an arena as they are written as JSON."""
    return {
        "is_least": arena.is_least,
        "regions": [{"element_bytes": r.width, "start": r.start, "bytes": r.bytes} for r in arena.regions],
        "peak": {"operation": arena.peak.output.name, "tensors": arena.at_peak} if arena.peak is not None else None,
        "blocks": list(_blocks(arena)),
    }


def _blocks(arena: Arena) -> Iterator[dict[str, Any]]:
    for one in arena.lives:
        yield {"name": one.name, "offset": one.offset, "bytes": one.bytes, "first": one.first, "last": one.last}
