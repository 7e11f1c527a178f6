"""Kinds of node: the way in which each node of a model is computed in fixed point.

The kind of a node is known before a run. It depends on the operator, and on what the passes make of the node: they
fuse nodes into others, and compute nodes whose inputs are static. Nodes that no plan can contain (control flow,
operators that evaluators compute, operators that cannot run) are cut out of the graph, so that the rest can be
planned; a tensor that a removed node computes becomes an input, and a tensor that it reads becomes an output.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from qengine.errors import QEngineError
from qengine.model.custom import Custom
from qengine.model.eager import single_node
from qengine.model.graph import CHAIN_DOMAIN, Graph, Node, Value
from qengine.model.ops.binding import make_steps
from qengine.model.ops.operator import Operator, Role, find
from qengine.model.passes import optimize, remove_dead
from qengine.model.static_values import known_tensors
from qengine.model.steps import Island, Move, Tensor
from qengine.runtime.plan.network import is_runnable

Kind = Literal["integer", "moves", "fused", "shape", "island", "delegated", "control", "unused", "unsupported"]

MEANINGS: Mapping[Kind, str] = {
    "integer": "computes in integers",
    "moves": "moves codes; the format stays",
    "fused": "part of another operator",
    "shape": "known before a run: shapes and constants",
    "island": "computes in float32 inside of fixed point",
    "delegated": "computes in float32, a whole node at once",
    "control": "runs the graphs that it contains",
    "unused": "no output needs it",
    "unsupported": "cannot run",
}
"""Meaning of each kind, in a few words."""


def bodies(node: Node) -> Iterator[tuple[str, Graph]]:
    """Yield the graphs that a node contains, such as the branches of an If, with the names of their attributes."""
    for name, value in node.attributes.items():
        if isinstance(value, Graph):
            yield name, value


def runnable(graph: Graph) -> Graph:
    """Return the graph without the nodes that no plan can contain."""
    return _without(graph, lambda node: _kind_without_steps(node) is not None)


def supported(graph: Graph) -> Graph:
    """Return the graph without the nodes that cannot run; its tensors have the formats of a run."""
    return _without(graph, _cannot_run)


def _cannot_run(node: Node) -> bool:
    inner = (held for _, body in bodies(node) for held in body.nodes)
    return _kind_without_steps(node) == "unsupported" or any(_cannot_run(held) for held in inner)


def _without(graph: Graph, is_cut: Callable[[Node], bool]) -> Graph:
    cut = [node for node in graph.nodes if is_cut(node)]
    if not cut:
        return graph
    nodes = tuple(node for node in graph.nodes if not is_cut(node))
    fed = [graph.values.get(name, Value(name)) for node in cut for name in node.outputs if name]
    fed = [replace(value, dtype=np.dtype(np.float32)) if value.dtype is None else value for value in fed]
    outputs = {value.name: value for value in graph.outputs}
    existing = graph.tensors()
    for name in [name for node in cut for name in _read(node) if name in existing]:
        outputs.setdefault(name, graph.values.get(name, Value(name)))
    return replace(graph, nodes=nodes, inputs=(*graph.inputs, *fed), outputs=tuple(outputs.values()))


def _read(node: Node) -> Iterator[str]:
    """Yield the tensors that a node reads, and those that its bodies read from the graph around it."""
    yield from filter(None, node.inputs)
    for _, body in bodies(node):
        for inner in body.nodes:
            yield from _read(inner)
        yield from (value.name for value in body.outputs)


def reads(graph: Graph) -> set[str]:
    """Return the tensors that a node, a body or the caller reads."""
    return {name for node in graph.nodes for name in _read(node)} | {value.name for value in graph.outputs}


def computations(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    *,
    rewritten: bool = True,
    float32_tensors: frozenset[str] = frozenset(),
) -> list[tuple[Kind, str]]:
    """Return the kind of every node of a model, in order, and the name of what computes it.

    The name is that of its operator, or of all operators of a chain that a pass made one: its first node has the name.

    Parameters
    ----------
    graph
        The model as loaded, or a body.
    tensors
        Tensors of a plan, by name; may be empty.
    rewritten
        Whether the passes rewrite the graph: true for a model, false for a body.
    float32_tensors
        Tensors that a partly quantized model computes in float32.
    """
    plain = runnable(graph)
    known, known_alone = known_tensors(plain), known_tensors(graph)
    needed = {name for node in remove_dead(_with_captures(graph)).nodes for name in node.outputs}
    optimized = optimize(plain)[-1] if rewritten else plain
    computed = _computed(graph, optimized) if rewritten else dict(enumerate(graph.nodes))
    result: list[Kind] = []
    names = [node.operator for node in graph.nodes]
    for place, one in computed.items():
        names[place] = one.operator if one.domain == CHAIN_DOMAIN else names[place]
    for place, node in enumerate(graph.nodes):
        missing = _kind_without_steps(node)
        if missing == "unsupported":
            result.append(missing)
        elif needed.isdisjoint(name for name in node.outputs if name):
            result.append("unused")
        elif missing is not None:
            is_known = isinstance(find(node), Custom) and all(name in known_alone for name in node.outputs if name)
            if missing == "delegated" and (single_node.rule_of(node) is not None or find(node).picks(node)):
                missing = "island" if float32_tensors.intersection(node.outputs) else "integer"
            result.append("shape" if is_known else missing)
        elif all(name in known for name in node.outputs if name):
            result.append("shape")
        elif place not in computed:
            result.append("fused")
        elif float32_tensors.intersection(computed[place].outputs):
            result.append("island")
        else:
            result.append(_kind_of_step(computed[place], optimized, tensors))
    return list(zip(result, names, strict=True))


def _kind_without_steps(node: Node) -> Kind | None:
    """Return the kind of a node whose operator has no steps of its own; None for all others."""
    op = find(node)
    if not op.is_delegated:
        return None
    if isinstance(op, Custom):
        return op.kind
    if not is_runnable(node):
        return "unsupported"
    return "control" if node.graphs else "delegated"


def _with_captures(graph: Graph) -> Graph:
    """Return the graph with the tensors that bodies read added to the inputs of their nodes."""
    nodes = (
        replace(node, inputs=tuple(dict.fromkeys(_read(node)))) if any(bodies(node)) else node for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def _computed(model: Graph, optimized: Graph) -> dict[int, Node]:
    """Return the node after the passes that computes a node of the model, by the index of the latter."""
    place = {name: i for i, node in enumerate(model.nodes) for name in node.outputs if name}
    computed = {}
    for node in optimized.nodes:
        last = at = place.get(next((name for name in node.outputs if name), ""))
        # Fused nodes follow the node that contains them, each reading the one before: walk back to it.
        while at is not None:
            original = model.nodes[at]
            if original.operator == node.operator or original.inputs[:1] == node.inputs[:1]:
                break
            at = place.get(original.inputs[0]) if original.inputs else None
        at = last if at is None else at
        if at is not None:
            computed[at] = node
    return computed


def _kind_of_step(node: Node, graph: Graph, tensors: Mapping[str, Tensor]) -> Kind:
    op = find(node)
    step = op.kinds[0]
    if len(op.kinds) > 1:
        try:
            step = type(make_steps(node, lambda name: _tensor(name, graph, tensors))[0])
        except QEngineError:  # lengths are unknown; the first kind is the one for real numbers
            step = op.kinds[0]
    if step is Move or op.preserves_format(node):
        return "moves"
    return "island" if step is Island and _has_real_numbers(node, op, graph, tensors) else "integer"


def _has_real_numbers(node: Node, op: Operator, graph: Graph, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a node reads or writes real numbers, which are codes in fixed point."""
    names = [name for name, role in op.roles(node) if role in (Role.DATA, Role.WEIGHTS, Role.BIAS)]
    return any(_tensor(name, graph, tensors).is_float for name in (*names, *node.outputs) if name)


def _tensor(name: str, graph: Graph, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return a tensor as far as it is known; an unknown length is 1."""
    if name in tensors:
        return tensors[name]
    if name in graph.constants:
        array = graph.constants[name]
        return Tensor(name, array.dtype, array.shape, array)
    value = graph.values.get(name, Value(name))
    shape = tuple(n if isinstance(n, int) else 1 for n in value.shape or ())
    return Tensor(name, value.dtype or np.dtype(np.float32), shape)
