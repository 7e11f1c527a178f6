"""Counts of a model: its parameters, and the multiply-accumulates of a run."""

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from qengine.analysis.inspection.kinds import Kind, bodies, reads
from qengine.analysis.inspection.shapes import Shapes
from qengine.model.graph import Graph, Node, whole
from qengine.model.ops.operator import Role, find

_READ_AS_NUMBERS = (Role.DATA, Role.WEIGHTS, Role.BIAS)


def multiply_accumulates(node: Node, shapes: Shapes) -> int | None:
    """Return the number of products that a node sums, padding included.

    It is 0 for an operator that is not linear, and None where a shape is unknown.
    """
    filters = find(node).facts.filters
    if filters is None or len(node.inputs) < 2:
        return 0
    x, w, y = (whole(shapes.get(name)) for name in (*node.inputs[:2], node.outputs[0]))
    return filters.macs(node, x, w, y) if x and y is not None else None


def parameters(graph: Graph, kind_of: Mapping[str, Kind]) -> Iterator[NDArray[Any]]:
    """Yield the constants that operators compute with, each once, without those that only decide shapes.

    Parameters
    ----------
    graph
        The model; graphs in the attributes of its nodes are counted too.
    kind_of
        Kind of the node that computes a tensor, by the name of the tensor.
    """
    names: set[str] = set()
    for node in graph.nodes:
        kind = next((kind_of[name] for name in node.outputs if name), "unused")
        if kind != "unused" and node.operator == "DequantizeLinear" and node.inputs[0] in graph.constants:
            names.add(node.inputs[0])  # the stored weights of a quantized model
        elif kind != "unused":
            every = [(name, Role.DATA) for name in node.inputs]
            for name, role in every if find(node).is_delegated else find(node).roles(node):
                array = graph.constants.get(name)
                if role in _READ_AS_NUMBERS and array is not None and (kind != "shape" or array.dtype.kind == "f"):
                    names.add(name)
        for _, body in bodies(node):
            yield from parameters(body, kind_of)
            names |= reads(body) & {name for name, array in graph.constants.items() if array.dtype.kind == "f"}
    yield from (graph.constants[name] for name in sorted(names))
