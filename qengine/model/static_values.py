"""Static values: tensors whose elements are known when a plan is made, before the run.

A plan needs shapes, and the shapes of some tensors depend on elements of others: the shape input of a Reshape, the
scales of a Resize. Such elements are *known* if they follow from constants, from shapes of inputs, and from the few
small inputs that a plan is keyed by (`value_inputs`). Nodes that compute them are evaluated when the plan is made.
Everything else is data and is computed in the run.
"""

from collections.abc import Iterable, Mapping

from qengine.model.eager import single_node
from qengine.model.graph import Graph, Node, Value
from qengine.model.ops.operator import Role, find


def may_be_known(node: Node) -> bool:
    """Whether the node's outputs are known as soon as its inputs are: it is deterministic and runs no graphs."""
    if node.graphs:
        return False
    return not find(node).is_delegated or (bool(node.reads) and single_node.is_deterministic(node))


def value_inputs(graph: Graph) -> frozenset[str]:
    """Return the graph inputs on whose elements, not only shapes, a plan depends.

    The search follows producers back from every input that an operator needs when the plan is made (a Reshape's
    shape, a Resize's scales), and from the conditions of If to single integers and booleans. It stops where only a
    shape is read, and at nodes that only a run can compute. An input of more than one axis is data, however few
    elements it has: what follows from it is known in the run only.
    """
    producers = graph.producers()
    inputs = {value.name for value in graph.inputs if value.shape is None or len(value.shape) <= 1}
    decisive = [name for node in graph.nodes for name, role in find(node).roles(node) if role is Role.KNOWN]
    conditions = [name for node in graph.nodes if node.operator == "If" and not node.domain for name in node.inputs]
    choices = {v.name for v in graph.inputs if v.shape in ((), (1,)) and v.dtype is not None and v.dtype.kind in "biu"}
    return frozenset(_sources(decisive, producers) & inputs) | (_sources(conditions, producers) & choices & inputs)


def _sources(pending: list[str], producers: Mapping[str, Node]) -> set[str]:
    """Return the tensors that some tensors are computed from, by nodes that may be known."""
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in producers and may_be_known(producers[name]):
            node = producers[name]
            pending.extend(n for n, role in find(node).roles(node) if role is not Role.SHAPED)
    return seen


def real_inner_data(graph: Graph, inputs: Iterable[Value]) -> frozenset[str]:
    """Return the real inputs of a graph inside of a node that are data, even where their elements decide shapes.

    Nobody knows their shapes before a run, so that each could be taken for a number that decides shapes.

    Parameters
    ----------
    graph
        The graph in an attribute of the node.
    inputs
        Inputs of the graph, and tensors around it that it reads.
    """
    own = {value.name for value in graph.inputs}
    data = [value for value in inputs if value.shape is None or value.name not in own]
    return frozenset(value.name for value in data if value.dtype is None or value.dtype.kind == "f")


def known_tensors(graph: Graph, inputs: frozenset[str] | None = None) -> frozenset[str]:
    """Return the names of all tensors whose elements are known when the plan is made, constants included.

    Parameters
    ----------
    graph
        The graph.
    inputs
        Inputs that are known; by default the `value_inputs`.
    """
    known = set(graph.constants) | (value_inputs(graph) if inputs is None else inputs)
    for node in graph.nodes:
        roles = find(node).roles(node)
        if may_be_known(node) and all(name in known for name, role in roles if role is not Role.SHAPED):
            known.update(name for name in node.outputs if name)
    return frozenset(known)
