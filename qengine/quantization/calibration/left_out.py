"""Tensors of graphs that no sample ran: the other branch of an If, and the body of a Loop without iterations.

A later run may take the branch, and needs formats there. So such a graph runs once more for its values alone, on those
that the last sample gives to the tensors around it. It may not run to its end: a branch for another sample rate reads
other shapes. What is still unknown then comes from the branch that was taken, where that has the same operators, and
for the results of the branch from the results of the If. A branch that is a constant is known without a run, and the
result of the If holds it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import QEngineError
from qengine.model.graph import Graph, Node
from qengine.model.steps import Tensor
from qengine.quantization.calibration.histogram import Histogram
from qengine.runtime.session import InferenceSession
from qengine.runtime.values import RuntimeValue


@dataclass(frozen=True)
class LeftOut:
    """A graph in a node that no sample ran.

    Attributes
    ----------
    node, attribute, graph : the node, and the graph in its attribute.
    names : names of its inputs, and of the tensors that it computes.
    """

    node: Node
    attribute: str
    graph: Graph
    names: frozenset[str]


def left_out(graph: Graph, known: Mapping[str, Any]) -> Iterator[LeftOut]:
    """Yield the graphs in nodes, at any depth, that have not one tensor whose name is known."""
    for node in graph.nodes:
        for attribute, inner in node.graphs.items():
            names = frozenset(name for one in inner.nodes for name in one.outputs if name)
            if names and known.keys().isdisjoint(names | inner.inner_tensors()):
                inputs = frozenset(value.name for value in inner.inputs)
                yield LeftOut(node, attribute, inner, names | inputs | inner.inner_tensors())
            else:
                yield from left_out(inner, known)


def add_constant_branches(graph: Graph, counted: Mapping[str, Histogram]) -> None:
    """Count the constants that are results of branches as values of the If nodes, at any depth, that runs computed."""
    for node in graph.nodes:
        for inner in node.graphs.values():
            add_constant_branches(inner, counted)
            if node.operator != "If":
                continue
            for name, value in zip(node.outputs, inner.outputs, strict=False):
                constant = inner.constants.get(value.name)
                if constant is not None and constant.dtype.kind == "f" and name in counted:
                    counted[name].add(constant)


def histograms_of_left_out(
    session: InferenceSession, arrays: Mapping[str, NDArray[Any]], counted: Mapping[str, Histogram]
) -> tuple[dict[str, Histogram], tuple[str, ...]]:
    """Return histograms of tensors in graphs that no sample ran, and a note on each of these graphs.

    Parameters
    ----------
    session
        The model in float32.
    arrays
        Feeds of a run.
    counted
        Histograms of the tensors that runs computed.
    """
    graphs = list(left_out(session.graph, counted))
    found: dict[str, Histogram] = {}
    if not graphs:
        return found, ()
    names = frozenset().union(*(one.names for one in graphs))

    def add(tensor: Tensor, array: NDArray[Any]) -> None:
        if tensor.is_float and tensor.name in names:
            found.setdefault(tensor.name, Histogram()).add(array)

    try:
        with session.limited(), np.errstate(all="ignore"):
            plan = session.plans.sectioned_plan(arrays, None, add, has_all_graphs=True)
            for _ in plan.trace({value.name: RuntimeValue(arrays[value.name]) for value in session.graph.inputs}):
                pass
    except QEngineError:  # it is a run for what it can find
        pass
    notes = []
    for one in graphs:
        has_run = not found.keys().isdisjoint(one.names)
        others = {name: h for name, h in _of_other_branch(one, counted).items() if name not in found}
        found |= others
        sources = ["a run on the last sample's values"] * has_run + ["the other branch"] * bool(others)
        if sources:
            notes.append(
                f"no sample ran the {one.attribute} of {one.node}: its formats are from {' and '.join(sources)}; "
                "better give data that runs it"
            )
    return found, tuple(notes)


def _of_other_branch(one: LeftOut, counted: Mapping[str, Histogram]) -> dict[str, Histogram]:
    """Return histograms that the other branch of an If, and the results of the If, have for tensors of a branch."""
    if one.node.operator != "If":
        return {}
    other = next(graph for attribute, graph in one.node.graphs.items() if attribute != one.attribute)
    pairs = list(zip((value.name for value in one.graph.outputs), one.node.outputs, strict=False))
    if [node.operator for node in one.graph.nodes] == [node.operator for node in other.nodes]:
        for own, its in zip(one.graph.nodes, other.nodes, strict=True):
            pairs += zip(own.outputs, its.outputs, strict=False)
    return {own: counted[its] for own, its in pairs if own in one.names and its in counted}
