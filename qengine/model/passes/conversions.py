"""Conversions: an operator that copies codes, between two tensors that the user gives different formats.

Format-preserving operators (Relu, MaxPool, Flatten, Reshape, ...) copy codes of their first input, so that the tensors
around them have one format. A device may shift there, and have another format after such an operator. Where the user
names two tensors of such a group with different formats, this pass adds a `qengine.Requantize`, the operator that a
quantized model has in the same place:

    p = MaxPool(r)      becomes      p (unconverted) = MaxPool(r);  p = Requantize(p (unconverted))

The conversion always stands right before a tensor that is named, by one rule: a tensor has the format that it is given,
else that of the tensor whose codes it copies. The first tensor of a group, if it is not named, has the format of the
first one that is, in the order of the nodes. So nothing is converted unless two formats are given, and what a fused
Relu gives is rounded and bounded in one format before it is converted to the next.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from qengine.model.graph import Graph, Names, Node, Value
from qengine.model.ops.operator import find
from qengine.model.passes.hidden_tensors import tied_states
from qengine.model.static_values import known_tensors


def convert_copies(graph: Graph) -> Graph:
    """Return the graph with a Requantize before each tensor that is given another format than the one it copies."""
    converted = Copies(graph).converted(graph.given) if graph.given else frozenset()
    if not converted:
        return graph
    names, values, nodes = Names(graph.tensors() | graph.inner_tensors()), dict(graph.values), list[Node]()
    declared = {value.name: value for value in graph.outputs} | values
    added = set(graph.added)
    for node in graph.nodes:
        copies = {name: names.fresh(f"{name} (unconverted)") for name in node.outputs if name in converted}
        nodes.append(replace(node, outputs=tuple(copies.get(n, n) for n in node.outputs)) if copies else node)
        for name, copy in copies.items():
            nodes.append(Node("Requantize", (copy,), (name,), {}, "", "qengine"))
            values[copy] = replace(declared.get(name, Value(name)), name=copy)
            added.add(copy)
    return replace(graph, nodes=tuple(nodes), values=values, added=frozenset(added))


class Copies:
    """The tensors of a graph whose codes other tensors copy.

    Parameters
    ----------
    graph
        Graph as the file has it, after `read_quantized` and `take_joins_apart` only.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @cached_property
    def _links(self) -> tuple[tuple[str, str], ...]:
        return tuple(_links(self._graph))

    def converted(self, given: Mapping[str, Hashable]) -> frozenset[str]:
        """Return the tensors that have another format than those that they copy.

        Parameters
        ----------
        given
            Formats that the user gives, by the names of tensors.
        """
        if len(set(given.values())) < 2:
            return frozenset()
        aliases, decoded = self._graph.aliases, self._graph.decoded
        formats = {aliases.get(real, real): f for name, f in given.items() for real in (decoded.get(name, name),)}
        first: dict[str, str] = {}  # the first tensor of the group of each copy
        chosen: dict[str, Hashable] = {}
        for source, copy in self._links:
            first[copy] = first.get(source, source)
            for name in (source, copy):
                if name in formats:
                    chosen.setdefault(first.get(name, name), formats[name])
        has = {name: formats.get(name, fmt) for name, fmt in chosen.items()}
        found = set()
        for source, copy in self._links:
            has[copy] = formats.get(copy, has.get(source))
            if copy in formats and source in has and has[source] != formats[copy]:
                found.add(copy)
        return frozenset(found)


def _links(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield each tensor that copies codes, after the tensor that they are copied from, in the order of the nodes."""
    known = known_tensors(graph)
    for node in graph.nodes:
        kept = [(node.inputs[0], name) for name in find(node).kept_outputs(node) if name]
        states = [(first, name) for first, *rest in tied_states(node, graph) for name in rest if name != first]
        yield from (pair for pair in (*kept, *states) if pair[1] and pair[1] not in known)
