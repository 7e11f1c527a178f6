"""Joins in parts: which Concats keep the formats of their inputs, because nothing computes with the whole.

The result of a run is real numbers: an output that a Concat joins can be decoded part by part, each in its own format,
and no rounding to a common format is needed. That holds for a Concat of real numbers that no node reads, in the model
itself: a graph inside of a node gives its outputs to other nodes. Concats that are read, but only in parts, are taken
apart by a pass before (`passes.joins`). A format that the user or a quantized model gives the whole comes first,
by name or, where not all parts are named, as the format of the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from qengine.model.formats.groups import may_be_real
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find
from qengine.qformat import QFormat


def joins_in_parts(model: Graph, whole: Collection[str]) -> dict[str, Node]:
    """Return the Concats whose outputs have a format for each part, by the names of the outputs.

    Parameters
    ----------
    model
        Graph as the file has it, after joins were taken apart.
    whole
        Tensors that are given one format.
    """
    read = {name for node in model.nodes for name in node.reads}
    found = {}
    for node in model.nodes:
        if node.operator == "Concat" and not node.domain:
            (name,) = node.outputs
            if name not in read and name not in whole and may_be_real(name, model):
                found[name] = node
    return found


def whole_tensors(graph: Graph, formats: Mapping[str, Any], *, has_rest: bool) -> frozenset[str]:
    """Return the tensors that are given one format by name, and the Concats that have the format of the rest.

    Parameters
    ----------
    graph
        Graph as the file has it.
    formats
        Formats by tensor name, as users give them.
    has_rest
        Whether there is a format for all activations that are not named.
    """
    single = {name for name, fmt in formats.items() if isinstance(fmt, str | QFormat)}
    if not has_rest:
        return frozenset(single)
    named = set(formats) | graph.constants.keys()
    whole = set(single)
    for node in graph.nodes:  # in the order of a run
        is_concat = node.operator == "Concat" and not node.domain
        sources = node.inputs if is_concat else node.inputs[:1]
        if sources and named.issuperset(sources) and (is_concat or find(node).preserves_format(node)):
            named.update(node.outputs)
        elif is_concat and node.outputs[0] not in formats:
            whole.add(node.outputs[0])
    return frozenset(whole)
