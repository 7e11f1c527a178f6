"""Groups of tensors that are blamed as one: a residual block, a chain of layers, a scope of names.

`auto` finds blocks in the graph. Between two nodes, some tensors are *live*: computed before, and read after. Where one
tensor alone is live, all later nodes depend on the earlier ones through it alone, and the graph is cut there. What lies
between two cuts is a block if it has several nodes, such as the two ways of a residual block with their sum;
pieces of one node follow each other, and are a chain. Where a piece is large because one tensor passes by all of it, as
in a U-Net, it is cut as if that tensor were not there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, takewhile

from qengine.analysis.blame.points import Point
from qengine.errors import OptionError, did_you_mean
from qengine.model.graph import Graph, Node

AUTO = "auto"

_MOST_NODES = 16
"""Most nodes of a block that is not cut any further."""

_MOST_CHAINED = 4
"""Most nodes of a chain."""


def groups_of(
    wanted: str | Iterable[str] | Mapping[str, Collection[str]] | None, graph: Graph, points: Sequence[Point]
) -> dict[str, tuple[str, ...]]:
    """Return the tensors of each group, by the name of the group.

    Parameters
    ----------
    wanted
        "auto", a regular expression or several, or tensors by the name of a group; None for no groups. An expression
        is searched in the names of tensors. Those that match are a group; where it has a group in parentheses, those
        in which it matches the same text are. "name=expression" names the group.
    graph
        The graph that a run computes.
    points
        Tensors that a run rounds, in its order.

    Raises
    ------
    OptionError
        If an expression is not valid or matches nothing, or a tensor is none that is rounded.
    """
    if wanted is None:
        return {}
    names = [point.name for point in points]
    if isinstance(wanted, Mapping):
        return {group: _checked(group, tensors, names) for group, tensors in wanted.items()}
    found: dict[str, tuple[str, ...]] = {}
    for one in [wanted] if isinstance(wanted, str) else wanted:
        found |= _blocks(graph, points) if one == AUTO else _matching(one, names)
    return found


def _checked(group: str, tensors: Collection[str], names: Collection[str]) -> tuple[str, ...]:
    if not tensors or isinstance(tensors, str):
        raise OptionError(f"group '{group}' is a list of names of tensors, not {tensors!r}")
    if unknown := [name for name in tensors if name not in names]:
        raise OptionError(
            f"group '{group}': no tensor that the run rounds is named '{unknown[0]}'{did_you_mean(unknown[0], names)}"
        )
    return tuple(dict.fromkeys(tensors))


def _matching(wanted: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the groups of tensors whose names match an expression."""
    label, found_label, pattern = wanted.partition("=")
    if not found_label or not re.fullmatch(r"[\w.\-]+", label):
        label, pattern = "", wanted
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise OptionError(f"--group {wanted}: {error} in the regular expression") from None
    found: dict[str, list[str]] = {}
    for name in names:
        match = expression.search(name)
        if match is None:
            continue
        text = next((text for text in match.groups() if text is not None), "") if expression.groups else ""
        group = " ".join(filter(None, (label, text))) or pattern
        found.setdefault(group, []).append(name)
    if not found:
        some = ", ".join(f"'{name}'" for name in list(names)[:3])
        raise OptionError(f"--group {wanted} matches no tensor that the run rounds, such as {some}")
    return {group: tuple(tensors) for group, tensors in found.items()}


def _blocks(graph: Graph, points: Sequence[Point]) -> dict[str, tuple[str, ...]]:
    """Return the tensors of each block and chain with two tensors or more, by a name that is made up."""
    names = [point.name for point in points]
    place = {point.name: i for i, point in enumerate(points)}
    rounded: dict[str, list[str]] = {}  # tensors that are rounded as a node runs, by the tensor that it computes
    for point in points:
        for output in [point.uses[0][0]] if point.uses else [point.name]:
            rounded.setdefault(output, []).append(point.name)
    found: dict[str, tuple[str, ...]] = {}
    for made in _computed_in_blocks(graph):
        own = sorted((name for output in made for name in rounded.get(output, ())), key=place.__getitem__)
        if len(own) > 1:
            found[_label(own, [name for name in own if name in made] or own, names, found)] = tuple(own)
    return found


def _computed_in_blocks(graph: Graph) -> Iterator[list[str]]:
    """Yield what the nodes of each block and chain compute, of a graph and of those inside of its nodes."""
    nodes = graph.nodes
    for piece in _chained(_pieces(nodes, range(len(nodes)), {value.name for value in graph.outputs})):
        yield [name for i in piece for name in nodes[i].outputs]
    for node in nodes:
        for inner in node.graphs.values():
            yield from _computed_in_blocks(inner)


def _label(tensors: Sequence[str], computed: Sequence[str], names: Collection[str], taken: Collection[str]) -> str:
    """Return a name for a group: what the names of its tensors alone begin with, or the first and the last computed."""
    common = "".join(letters[0] for letters in takewhile(lambda some: len(set(some)) == 1, zip(*tensors, strict=False)))
    prefix = re.sub(r"[^A-Za-z0-9]+$", "", common)
    is_scope = all(not name[len(prefix) :][:1].isalnum() for name in tensors)
    if prefix and is_scope and sum(name.startswith(prefix) for name in names) == len(tensors):
        return prefix
    label = f"{computed[0]}..{computed[-1]}" if len(computed) > 1 else computed[0]
    return label if label not in taken else f"{label} ({len(taken)})"


def _pieces(nodes: Sequence[Node], piece: range, outputs: Collection[str]) -> Iterator[range]:
    """Yield the pieces of a piece of a graph, cut where one tensor is live; a large one as if others were not there."""
    lives = _lives(nodes, piece, outputs)
    ignored: set[str] = set()
    while True:
        count = [0] * len(piece)
        for name, (first, last) in lives.items():
            for i in range(first, last) if name not in ignored else ():
                count[i - piece.start] += 1
        cuts = [i + 1 for i in piece[:-1] if count[i - piece.start] <= 1]
        bounds = [piece.start, *cuts, piece.stop]
        parts = [range(a, b) for a, b in pairwise(bounds)]
        longest = max((name for name in lives if name not in ignored), key=lambda n: _length(lives[n]), default=None)
        is_cut = len(parts) > 1 or len(piece) <= _MOST_NODES
        if is_cut or longest is None or _length(lives[longest]) <= _MOST_NODES:
            break
        ignored.add(longest)
    if len(parts) == 1:
        yield piece
        return
    for part in parts:
        yield from _pieces(nodes, part, outputs) if len(part) > _MOST_NODES else [part]


def _length(life: tuple[int, int]) -> int:
    return life[1] - life[0]


def _lives(nodes: Sequence[Node], piece: range, outputs: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return, for each tensor that nodes of a piece compute or read from before, its first and its last node there."""
    lives: dict[str, tuple[int, int]] = {}
    computed = {name for node in nodes[: piece.stop] for name in node.outputs}
    for i in piece:
        for name in nodes[i].reads:
            if name in computed:
                first = lives.get(name, (piece.start, i))[0]
                lives[name] = (first, i)
        for name in nodes[i].outputs:
            lives[name] = (i, i)
    later = {name for node in nodes[piece.stop :] for name in node.reads} | set(outputs)
    end = piece.stop - 1
    return {name: (first, end if name in later else last) for name, (first, last) in lives.items()}


def _chained(pieces: Iterable[range]) -> Iterator[range]:
    """Yield pieces, of which those with one node that follow each other are joined."""
    chain: range | None = None
    for piece in pieces:
        if len(piece) == 1 and chain is not None and len(chain) < _MOST_CHAINED:
            chain = range(chain.start, piece.stop)
            continue
        if chain is not None:
            yield chain
        chain = piece if len(piece) == 1 else None
        if chain is None:
            yield piece
    if chain is not None:
        yield chain
