"""Places for the boxes of a graph, in layers from top to bottom.

Every node goes one layer below the lowest of those that it reads. An edge over several layers gets a bend in each
layer between, so that it does not cross boxes. Within a layer, boxes are sorted by the mean place of their neighbours,
layer by layer down and up again, which takes out most crossings; then each box moves towards the mean of its neighbours
as far as those next to it let it. Everything is in the order of the nodes: equal graphs get equal pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 176.0, 60.0
_GAP, _LAYER_GAP, _BEND_WIDTH = 22.0, 30.0, 14.0
_SWEEPS = 6
_LONGEST_BENT = 40  # layers of an edge that gets bends; a longer one is drawn straight


@dataclass(frozen=True)
class Layout:
    """Places of boxes and edges.

    Attributes
    ----------
    width, height : size of the picture.
    boxes : left and top of the box of each node.
    edges : points of each edge, from the bottom of a box to the top of another.
    """

    width: float
    height: float
    boxes: tuple[tuple[float, float], ...]
    edges: tuple[tuple[tuple[float, float], ...], ...]


@dataclass
class _Item:
    """A box, or the bend of an edge: its neighbours above and below, and its middle."""

    layer: int
    width: float
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    x: float = 0.0


def layout(sources: Sequence[Sequence[int]]) -> Layout:
    """Return places for the nodes of a graph.

    Parameters
    ----------
    sources
        Places of the nodes that each node reads, all smaller than its own.
    """
    layers_of: list[int] = []
    for reads in sources:
        layers_of.append(1 + max((layers_of[i] for i in reads), default=-1))
    items = [_Item(layer, BOX_WIDTH) for layer in layers_of]
    chains = [_chain(items, source, target) for target, reads in enumerate(sources) for source in dict.fromkeys(reads)]
    layers: list[list[int]] = [[] for _ in range(1 + max(layers_of, default=-1))]
    for i, item in enumerate(items):
        layers[item.layer].append(i)
    _sort(items, layers)
    _spread(items, layers)
    left = min((item.x - item.width / 2 for item in items), default=0.0)
    for item in items:
        item.x += _GAP - left
    width = max((item.x + item.width / 2 for item in items), default=0.0) + _GAP
    height = _top(len(layers)) - _LAYER_GAP + _GAP
    boxes = tuple((item.x - BOX_WIDTH / 2, _top(item.layer)) for item in items[: len(sources)])
    return Layout(width, max(height, 2 * _GAP), boxes, tuple(_points(items, chain) for chain in chains))


def _chain(items: list[_Item], source: int, target: int) -> list[int]:
    """Return the items that an edge goes through, its bends added."""
    first, last = items[source].layer, items[target].layer
    chain = [source]
    if last - first <= _LONGEST_BENT:
        for layer in range(first + 1, last):
            items.append(_Item(layer, _BEND_WIDTH))
            chain.append(len(items) - 1)
    chain.append(target)
    for one, other in pairwise(chain):
        if items[other].layer == items[one].layer + 1:
            items[one].below.append(other)
            items[other].above.append(one)
    return chain


def _sort(items: list[_Item], layers: list[list[int]]) -> None:
    """Sort each layer by the mean place of the neighbours in the layer before, down and up in turn."""
    place = {i: k for layer in layers for k, i in enumerate(layer)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            means = {}
            for i in layer:
                near = items[i].above if down else items[i].below
                means[i] = sum(place[j] for j in near) / len(near) if near else float(place[i])
            layer.sort(key=lambda i: (means[i], place[i]))
            place.update({i: k for k, i in enumerate(layer)})


def _spread(items: list[_Item], layers: list[list[int]]) -> None:
    """Give every item its middle: near those of its neighbours, and apart from the next of its layer."""
    for layer in layers:
        x = 0.0
        for i in layer:
            items[i].x = x + items[i].width / 2
            x += items[i].width + _GAP
    for sweep in range(2 * _SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = []
            for i in layer:
                near = [items[j].x for j in ((items[i].above, items[i].below)[sweep % 2] or items[i].above)]
                near = near or [items[j].x for j in items[i].below]
                wanted.append(sum(near) / len(near) if near else items[i].x)
            _place(items, layer, wanted)


def _place(items: list[_Item], layer: Sequence[int], wanted: Sequence[float]) -> None:
    """Place a layer near where it wants to be: groups of items that touch share the mean of their wishes."""
    groups: list[tuple[float, int, float]] = []  # mean wish of the first middle, number of items, width up to the next
    for i, want in zip(layer, wanted, strict=True):
        wish, count, width = want - items[i].width / 2, 1, items[i].width + _GAP
        while groups and groups[-1][0] + groups[-1][2] > wish:
            before, number, taken = groups.pop()
            wish = (before * number + (wish - taken) * count) / (number + count)
            count, width = number + count, taken + width
        groups.append((wish, count, width))
    order = iter(layer)
    for start, count, _ in groups:
        x = start
        for _ in range(count):
            item = items[next(order)]
            item.x = x + item.width / 2
            x += item.width + _GAP


def _top(layer: int) -> float:
    return _GAP + layer * (BOX_HEIGHT + _LAYER_GAP)


def _points(items: Sequence[_Item], chain: Sequence[int]) -> tuple[tuple[float, float], ...]:
    first, *bends, last = (items[i] for i in chain)
    points = [(first.x, _top(first.layer) + BOX_HEIGHT)]
    for bend in bends:
        points += [(bend.x, _top(bend.layer)), (bend.x, _top(bend.layer) + BOX_HEIGHT)]
    return (*points, (last.x, _top(last.layer)))
