"""Joins taken apart: what only picks or moves elements of a Concat reads the parts, not the whole.

In fixed point a Concat brings its inputs to one format, that of the part with the largest range: joined with boxes in
pixels, scores below 1 have a few codes left, or none. Where nothing computes with the whole, this need not be. A Slice,
Split or Gather that picks from the parts reads them itself. A Transpose, Reshape, ... of the whole becomes one of each
part, with the Concat after it, where all that comes of it is picked from again or is an output. So a Concat whose parts
have formats of their own is always the last node before an output; see `formats.parts`.

Nodes are replaced, and no tensor changes. The nodes before stay where something reads them, and else are removed later.
A Concat stays that a quantized model rounds, or that the user gives one format, though none would be left to have one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Dim, Graph, Names, Node, Value
from qengine.model.passes.dead import remove_dead
from qengine.model.passes.part_views import Move, Moved, Parts, Piece, moved
from qengine.model.passes.requantize import roots


def take_joins_apart(graph: Graph) -> Graph:
    """Let what picks or moves elements of a Concat of real numbers read its parts."""
    if not any(_is_concat(node) for node in graph.nodes):
        return graph
    apart = _apart(graph, frozenset())
    if not graph.whole:
        return apart
    # Naming a tensor that is read as a whole changes nothing: it has a format in any case.
    read = {name for node in remove_dead(apart).nodes for name in node.reads}
    whole = {graph.aliases.get(name, name) for name in graph.whole} - read
    return _apart(graph, whole) if whole else apart


def _apart(graph: Graph, whole: Collection[str]) -> Graph:
    """Return the graph with all Concats taken apart but those that stay whole."""
    views = _Views(graph, whole)
    for node in graph.nodes:
        views.add(node)
    chosen = views.replacements()
    return _Rewriter(graph).rewrite(chosen) if chosen else graph


def _is_concat(node: Node) -> bool:
    return node.operator == "Concat" and not node.domain


class _Views:
    """The views of the tensors of a graph as parts; a tensor may have several."""

    def __init__(self, graph: Graph, whole: Collection[str]) -> None:
        self.graph = graph
        self.shapes = {value.name: value.shape for value in (*graph.values.values(), *graph.inputs)}
        self.shapes |= {name: array.shape for name, array in graph.constants.items()}
        self.by_name: dict[str, list[Parts]] = {}
        self.picked: dict[str, Piece | Parts] = {}
        self.rounded = self._rounded() | set(whole)

    def _rounded(self) -> set[str]:
        """Return the tensors whose codes the stored formats of a quantized model define."""
        if not self.graph.formats:
            return set()
        root = roots(self.graph)
        return {root.get(name, name) for name in self.graph.formats}

    def rank(self, name: str) -> int | None:
        """Return the number of axes of a tensor; None where it is unknown."""
        shape = self.shapes.get(name)
        return None if shape is None else len(shape)

    def add(self, node: Node) -> None:
        """Add the views of the outputs of a node."""
        if _is_concat(node):
            self._add_concat(node)
        elif node.inputs and node.inputs[0] in self.by_name:
            source = node.inputs[0]
            move = Move(node, self.shapes.get(source), self.graph.constants, self.rank)
            for parts in self.by_name[source]:
                for name, found in zip(node.outputs, moved(move, parts), strict=True):
                    if name and found is not None:
                        self._keep(name, found, len(parts.pieces))

    def _keep(self, name: str, found: Piece | Parts, count: int) -> None:
        if isinstance(found, Parts):
            self.by_name.setdefault(name, []).append(found)
            if len(found.pieces) < count and not isinstance(self.picked.get(name), str | Moved):
                self.picked[name] = found
        elif not isinstance(self.picked.get(name), str | Moved):
            self.picked[name] = found
            if isinstance(found, str):
                self.by_name.setdefault(name, []).extend(self.by_name.get(found, ()))

    def _add_concat(self, node: Node) -> None:
        (out,), rank = node.outputs, self.rank(node.outputs[0])
        axis = node.number("axis", 1 if node.version < 4 else 0)
        value = self.graph.values.get(out)
        is_whole = value is not None and value.dtype is not None and value.dtype.kind != "f"
        if (axis < 0 and rank is None) or out in self.rounded or is_whole:
            return
        axis = axis % rank if rank else axis
        if all(self.by_name.get(name) for name in node.inputs):
            for first in self.by_name[node.inputs[0]]:
                if (swapped := self._swapped(node, first, axis)) is not None:
                    self.by_name.setdefault(out, []).append(swapped)
        pieces: list[Piece] = []
        lengths: list[int | None] = []
        for name in node.inputs:
            inner = next((p for p in self.by_name.get(name, ()) if p.axis == axis), None)
            pieces += (name,) if inner is None else inner.pieces
            lengths += (self._length(name, axis),) if inner is None else inner.lengths
        self.by_name.setdefault(out, []).append(Parts(axis, tuple(pieces), tuple(lengths)))

    def _swapped(self, node: Node, first: Parts, axis: int) -> Parts | None:
        """Return a Concat of joins along another axis as the join of Concats; None where their parts differ."""
        each = []
        for name in node.inputs:
            same = (p for p in self.by_name[name] if (p.axis, p.lengths) == (first.axis, first.lengths))
            each.append(next(same, None))
        views = [parts for parts in each if parts is not None]
        if first.axis == axis or None in first.lengths or len(views) < len(each):
            return None
        form = Node("Concat", (), (), {"axis": axis}, node.name, version=node.version)
        pieces = tuple(Moved(form, row) for row in zip(*(parts.pieces for parts in views), strict=True))
        return Parts(first.axis, pieces, first.lengths)

    def _length(self, name: str, axis: int) -> int | None:
        shape = self.shapes.get(name)
        length: Dim = None if shape is None or axis >= len(shape) else shape[axis]
        return length if isinstance(length, int) else None

    def replacements(self) -> dict[str, Piece | Parts]:
        """Return what is to compute tensors in place of their nodes."""
        chosen: dict[str, Piece | Parts] = {}
        whole = {name for node in self.graph.nodes for name in node.captures}  # tensors that are read as such
        for node in reversed(self.graph.nodes):
            outputs = [name for name in node.outputs if name]
            for name in outputs:
                found = self._replacement(node, name, is_whole=name in whole)
                if found is not None:
                    chosen[name] = found
                    whole.update(_leaves(found))
            if not all(name in chosen for name in outputs):
                whole.update(node.reads)
        return chosen

    def _replacement(self, node: Node, name: str, *, is_whole: bool) -> Piece | Parts | None:
        if name in self.picked:
            return self.picked[name]
        views = self.by_name.get(name)
        if not views or is_whole or name in self.rounded:
            return None
        return None if _is_concat(node) and views[0].pieces == node.inputs else views[0]


def _leaves(found: Piece | Parts) -> Iterator[str]:
    """Yield the tensors of the graph that a replacement reads."""
    if isinstance(found, str):
        yield found
    else:
        for piece in found.pieces if isinstance(found, Parts) else found.sources:
            yield from _leaves(piece)
        if isinstance(found, Moved):
            yield from (name for name in found.others if isinstance(name, str) and name)


class _Rewriter:
    """New nodes in place of others."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = Names(graph.tensors() | graph.inner_tensors())
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = dict(graph.constants)
        self.values: dict[str, Value] = dict(graph.values)
        self.added = set(graph.added)
        self.made: dict[int, tuple[Moved, str]] = {}
        self.kept: list[int] = []  # places of nodes of the graph

    def rewrite(self, chosen: dict[str, Piece | Parts]) -> Graph:
        """Return the graph with replacements in the places of the nodes."""
        for node in self.graph.nodes:
            kept = tuple("" if name in chosen else name for name in node.outputs)
            if any(kept) or not any(node.outputs):
                self.kept.append(len(self.nodes))
                self.nodes.append(node if kept == node.outputs else replace(node, outputs=kept))
            for name in filter(None, node.outputs):
                if name in chosen:
                    self._compute(name, chosen[name], node)
        return replace(
            self.graph,
            nodes=tuple(self._named()),
            constants=self.constants,
            values=self.values,
            added=frozenset(self.added),
        )

    def _named(self) -> list[Node]:
        """Return the nodes, the new ones with names of their own: that of the node replaced is for its outputs."""
        nodes, kept = list(self.nodes), set(self.kept)
        labels = Names(nodes[i].name for i in kept)
        new = [i for i in range(len(nodes)) if i not in kept]
        for i in sorted(new, key=lambda i: nodes[i].outputs[0] in self.added):
            nodes[i] = replace(nodes[i], name=labels.fresh(nodes[i].name))
        return nodes

    def _compute(self, name: str, found: Piece | Parts, node: Node) -> None:
        """Add the nodes that compute a tensor."""
        if isinstance(found, Moved) and id(found) not in self.made:
            self._add(found, name, name)
        elif isinstance(found, Parts):
            pieces = tuple(self._name(piece, name) for piece in found.pieces)
            attributes = {"axis": found.axis}
            self.nodes.append(Node("Concat", pieces, (name,), attributes, node.name or name, version=node.version))
        else:
            self.nodes.append(
                Node("Identity", (self._name(found, name),), (name,), {}, node.name or name, version=node.version)
            )

    def _name(self, piece: Piece, of: str) -> str:
        """Return the name of a part of a tensor, computed by new nodes where need be."""
        if isinstance(piece, str):
            return piece
        if id(piece) not in self.made:
            fresh = self.names.fresh(f"{of} part")
            self.added.add(fresh)
            value = self.graph.values.get(of)
            self.values[fresh] = Value(fresh, None if value is None else value.dtype)
            self._add(piece, fresh, of)
        return self.made[id(piece)][1]

    def _add(self, piece: Moved, out: str, of: str) -> None:
        sources = tuple(self._name(source, of) for source in piece.sources)
        others = tuple(one if isinstance(one, str) else self._constant(one, out) for one in piece.others)
        node = replace(piece.node, inputs=(*sources, *others), outputs=(out,), name=piece.node.name or out)
        self.nodes.append(node)
        self.made[id(piece)] = piece, out

    def _constant(self, array: NDArray[np.int64], of: str) -> str:
        name = self.names.fresh(f"{of} numbers")
        self.constants[name] = array
        return name
