"""Joins in parts: which Concats keep the formats of their inputs, because nothing computes with the whole.

The result of a run is real numbers: an output that a Concat joins can be decoded part by part, each in its own format,
and no rounding to a common format is needed. That holds for a Concat of real numbers that no node reads, in the model
itself: a graph inside of a node gives its outputs to other nodes. Concats that are read, but only in parts, are taken
apart by a pass before (`passes.joins`). A format that the user or a quantized model gives the whole comes first.
"""

from __future__ import annotations

from collections.abc import Collection

from qengine.model.formats.groups import may_be_real
from qengine.model.graph import Graph, Node


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
