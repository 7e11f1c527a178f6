"""Tensors that an output takes its codes from, but does not share its format with: parts of joins, results of branches.

A Concat or a Where that something computes with has one format, and brings its parts to it. The output of an If, Loop
or Scan takes codes of the graph inside, which come in the format of that graph's own output. So where an output would
lose the signal of a part, the tensors that its codes come from need its longer word too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph

_FIRST_PART = {"Concat": 0, "Where": 1}  # the inputs from this one on are parts


def joined_parts(graph: Graph) -> Iterator[tuple[str, tuple[str, ...], Mapping[str, NDArray[Any]]]]:
    """Yield the name of every join of a graph and those in its nodes, the parts, and the constants among them.

    The parts of the output of an If are the results of its branches. Constants with which Where fills are left out.
    """
    for one in graphs_of(graph):
        for node in one.nodes:
            if node.operator == "If" and not node.domain:
                constants = {name: array for inner in node.graphs.values() for name, array in inner.constants.items()}
                results = [inner.outputs for inner in node.graphs.values()]
                for name, *values in zip(node.outputs, *results, strict=True):
                    yield name, tuple(value.name for value in values), constants
            elif node.operator in _FIRST_PART and not node.domain:
                parts = node.inputs[_FIRST_PART[node.operator] :]
                if node.operator == "Where":
                    parts = tuple(name for name in parts if name not in one.constants)
                yield node.outputs[0], parts, one.constants


def inner_results(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield each output of a node with graphs, with the outputs of these graphs that it is."""
    for one in graphs_of(graph):
        for node in one.nodes:
            first = int(node.operator == "Loop")  # the first output of its graph is a condition
            for inner in node.graphs.values():
                pairs = zip(node.outputs, inner.outputs[first:], strict=False)
                yield from ((name, value.name) for name, value in pairs if name)


def reached(places: Iterable[int], links: Mapping[int, set[int]]) -> list[int]:
    """Return some places and all that are linked to them, in order."""
    found: set[int] = set()
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting += links.get(place, ())
    return sorted(found)


def magnitude(array: NDArray[Any]) -> float:
    """Return the largest finite magnitude of an array; 0 where it has none."""
    return float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array))) if array.dtype.kind == "f" else 0.0


def graphs_of(graph: Graph) -> Iterator[Graph]:
    """Yield a graph and the graphs inside of its nodes, at any depth."""
    yield graph
    for node in graph.nodes:
        for inner in node.graphs.values():
            yield from graphs_of(inner)
