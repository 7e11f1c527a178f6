"""Operators of a model that a device does not have, by the names that the passes leave: what a run would compute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qengine.model.graph import CHAIN_DOMAIN, Chain, Graph, Node
from qengine.model.ops.operator import find
from qengine.model.static_values import known_tensors
from qengine.model.steps import Move
from qengine.targets import Constraints, Violation

_COMPARING = ("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin")
"""Operators that keep the format although they compute."""

_MADE_BY_PASSES = {
    "ScaleShift": "BatchNormalization",
    "RowScaleShift": "BatchNormalization",
    "MatMul": "MatMul",
}
"""Operators of the model in whose place a pass puts one of its own."""


def computed_nodes(graph: Graph, known: frozenset[str]) -> list[Node]:
    """Return the nodes that compute data in a run."""
    return [node for node in graph.nodes if not known.issuperset(filter(None, node.outputs))]


def inner_nodes(nodes: Iterable[Node]) -> Iterator[Node]:
    """Yield the nodes of the graphs inside of nodes, at any depth, that compute data."""
    for node in nodes:
        for graph in node.graphs.values():
            inner = computed_nodes(graph, known_tensors(graph))
            yield from inner
            yield from inner_nodes(inner)


def operators_of(node: Node) -> tuple[str, ...]:
    """Return the operators of ONNX that a node after the passes stands for; none for one that computes nothing."""
    chain = node.attributes.get("chain")
    if node.domain == CHAIN_DOMAIN and isinstance(chain, Chain):
        return tuple(name for inner in chain.nodes for name in operators_of(inner))
    if node.domain == "qengine":
        own = _MADE_BY_PASSES.get(node.operator)
        names = [] if own is None else [own]
    else:
        names = [node.operator] if _computes(node) else []
    if node.activation is not None:
        is_relu = node.activation.low == 0.0 and node.activation.high is None
        names.append("Relu" if is_relu else "Clip")
    return tuple(names)


def _computes(node: Node) -> bool:
    op = find(node)
    return not op.preserves_format(node) or op.kinds != (Move,) or bool(op.facts.numbers) or node.operator in _COMPARING


def operator_violations(nodes: list[Node], constraints: Constraints) -> Iterator[Violation]:
    """Yield each node of an operator that the device does not have."""
    for node in nodes:
        for name in dict.fromkeys(operators_of(node)):
            if constraints.allows_operator(name):
                continue
            label = node.name or next((one for one in node.outputs if one), node.operator)
            if name in constraints.refused:
                yield Violation("refused", label, name, name, f"no {name} that its rules describe", _REMEDY)
            else:
                yield Violation("operators", label, name, name, _listed(constraints.operators or ()), _REMEDY)


_REMEDY = "compute it by other operators, or outside of the device"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if names[12:] else shown or "no operators"
