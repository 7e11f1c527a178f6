"""Fusion of Relu and Clip into the operator that computes their input, if nothing else reads that input; and back.

No bit changes: in fixed point both tensors have one format, so one step that rounds, handles overflow and applies the
bounds equals two steps.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from qengine.model.graph import NO_ACTIVATION, ActivationBounds, Graph, Node
from qengine.model.ops.functions import LARGEST
from qengine.model.ops.operator import find
from qengine.model.steps import Combine, Linear, Table


def fuse_activations(graph: Graph) -> Graph:
    """Fuse each Relu and Clip with constant bounds into the linear or combining operator before it."""
    read_once = graph.tensors_read_once(rounded=True)
    nodes: dict[int, Node] = {}  # by position in the graph
    place: dict[str, int] = {}  # position of the node that computes a tensor
    for i, node in enumerate(graph.nodes):
        nodes[i] = node
        activation = constant_bounds(node, graph.constants)
        if activation not in (None, NO_ACTIVATION) and node.inputs[0] in read_once and node.inputs[0] in place:
            source = nodes[place[node.inputs[0]]]
            if _can_fuse(source):
                del nodes[place[node.inputs[0]]]
                nodes[i] = replace(source, outputs=node.outputs, activation=activation)
        place.update(dict.fromkeys(node.outputs, i))
    return replace(graph, nodes=tuple(nodes.values()))


def activations_of(written: Graph, optimized: Graph) -> dict[str, Node]:
    """Return the Relu and Clip nodes of a graph that are fused after the passes, by the name of their result."""
    makers = {name: node for node in written.nodes for name in node.outputs}
    fused = [node.outputs[0] for node in optimized.nodes if node.activation not in (None, NO_ACTIVATION)]
    found = {name: makers[name] for name in fused if name in makers}
    return {name: node for name, node in found.items() if node.operator in ("Relu", "Clip")}


def split_activations(written: Graph, optimized: Graph) -> Graph:
    """Return the graph after the passes with its fused Relu and Clip as nodes of their own, to look at the sums."""
    activations, nodes, constants = activations_of(written, optimized), list[Node](), dict(optimized.constants)
    for node in optimized.nodes:
        activation = activations.get(node.outputs[0]) if node.outputs else None
        if activation is None:
            nodes.append(node)
        else:
            nodes += [replace(node, outputs=activation.inputs[:1], activation=None), activation]
            constants |= {name: written.constants[name] for name in activation.inputs if name in written.constants}
    return replace(optimized, nodes=tuple(nodes), constants=constants)


def _can_fuse(node: Node) -> bool:
    """Whether an activation can be fused into the node; a Gemm that still has factors is an island."""
    factors = "alpha" in node.attributes or "beta" in node.attributes
    kinds = set(find(node).kinds)
    fusable = bool(kinds & {Linear, Combine}) and Table not in kinds
    return fusable and node.activation is None and len(node.outputs) == 1 and not factors


def constant_bounds(node: Node, constants: Mapping[str, NDArray[Any]]) -> ActivationBounds | None:
    """Return the bounds of a Relu or Clip if they are constant real numbers, else None."""
    if node.domain or not node.inputs or len(node.outputs) != 1:
        return None
    if node.operator == "Relu" and len(node.inputs) == 1:
        return ActivationBounds(0.0, None)
    if node.operator != "Clip":
        return None
    bounds: list[Any]
    if node.version < 11:
        bounds = [node.attributes.get("min", -LARGEST), node.attributes.get("max", LARGEST)]
    else:
        names = (*node.inputs[1:3], "", "")[:2]
        arrays = [constants.get(name) for name in names]
        if any(name and (bound is None or bound.size != 1) for name, bound in zip(names, arrays, strict=True)):
            return None
        bounds = [None if bound is None else bound.item() for bound in arrays]
    # Neither NaN, which has no code, nor integers, which may exceed a float.
    if not all(b is None or (isinstance(b, float) and b == b) for b in bounds):
        return None
    return ActivationBounds(*bounds)
