"""Removal of what no output of the graph depends on: nodes, constants, and names of outputs that may be left out."""

from collections.abc import Container
from dataclasses import replace

from qengine.model.graph import Graph, Node
from qengine.model.schemas import is_optional_output

_TRAINS_BY_OUTPUTS = {"BatchNormalization": 14}
"""Operators that train where they have more than one output, each with the opset from which an attribute decides."""


def remove_dead(graph: Graph) -> Graph:
    """Remove nodes, constants and optional outputs on which no output depends; the graph's inputs stay.

    An output that nobody reads, such as the mask of Dropout, would otherwise be computed, or stand in the way of a
    plan. Outputs keep their places: one before an output that is read becomes "".
    """
    needed = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(name for name in node.outputs if name):
            kept.append(_without_unread(node, needed))
            needed.update(node.reads)
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(kept)), constants=constants)


def _without_unread(node: Node, needed: Container[str]) -> Node:
    """Return a node without those of its optional outputs that are not needed."""
    if all(name in needed for name in node.outputs):
        return node
    if not node.domain and node.version < _TRAINS_BY_OUTPUTS.get(node.operator, 0):
        return node
    outputs = [name if name in needed or not _may_be_left_out(node, i) else "" for i, name in enumerate(node.outputs)]
    while not outputs[-1] and _may_be_left_out(node, len(outputs) - 1):
        outputs.pop()
    return node if tuple(outputs) == node.outputs else replace(node, outputs=tuple(outputs))


def _may_be_left_out(node: Node, index: int) -> bool:
    """Whether a node may leave out one of its outputs: ONNX says so, or the output is a tensor inside of the node."""
    return node.outputs[index] in node.hidden or is_optional_output(node, index)
