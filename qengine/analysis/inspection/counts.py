"""How many parameters a model has, and how many multiply-accumulates a run of it."""

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from numpy.typing import NDArray

from qengine.analysis.inspection.kinds import Kind, bodies, reads
from qengine.analysis.inspection.shapes import Shapes, whole
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find

_READ_AS_NUMBERS = (Role.DATA, Role.WEIGHTS, Role.BIAS)


def multiply_accumulates(node: Node, shapes: Shapes) -> int | None:
    """Return how many products a node sums, padding included; 0 for other operators, None where shapes are open."""
    if node.domain or node.operator not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(node.inputs) < 2:
        return 0
    x, w, y = (whole(shapes.get(name)) for name in (*node.inputs[:2], node.outputs[0]))
    if not x or y is None or (w is None and node.operator.startswith("Conv")):
        return None
    if node.operator == "Conv":
        return prod(y) * prod((w or ())[1:])
    if node.operator == "ConvTranspose":
        return prod(x) * prod((w or ())[1:])
    return prod(y) * (x[0] if node.operator == "Gemm" and node.number("transA", 0) else x[-1])


def parameters(graph: Graph, kind_of: Mapping[str, Kind]) -> Iterator[NDArray[Any]]:
    """Yield the constants that operators compute with, each once; what only decides shapes is left out.

    Parameters
    ----------
    graph
        With the graphs that its nodes hold.
    kind_of
        The kind of the node that computes a tensor.
    """
    found: set[str] = set()
    for node in graph.nodes:
        kind = next((kind_of[name] for name in node.outputs if name), "unused")
        if kind != "unused" and node.operator == "DequantizeLinear" and node.inputs[0] in graph.constants:
            found.add(node.inputs[0])  # weights as a quantized model holds them
        elif kind != "unused":
            every = [(name, Role.DATA) for name in node.inputs]
            for name, role in every if find(node).is_delegated else find(node).roles(node):
                array = graph.constants.get(name)
                if role in _READ_AS_NUMBERS and array is not None and (kind != "shape" or array.dtype.kind == "f"):
                    found.add(name)
        for _, body in bodies(node):
            yield from parameters(body, kind_of)
            found |= reads(body) & {name for name, array in graph.constants.items() if array.dtype.kind == "f"}
    yield from (graph.constants[name] for name in sorted(found))
