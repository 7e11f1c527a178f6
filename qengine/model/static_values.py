"""Which tensors are known before the run: they follow from constants, shapes, and inputs that decide shapes."""

from qengine.model.eager import single_node
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find


def may_be_known(node: Node) -> bool:
    """Whether the node's outputs follow from its inputs' elements alone, so that they are known where those are."""
    if node.graphs:
        return False
    return not find(node).is_delegated or (bool(node.reads) and single_node.is_deterministic(node))


def value_inputs(graph: Graph) -> frozenset[str]:
    """Return the graph inputs whose elements, not only their shape, a plan depends on.

    Followed back from every place where an operator needs elements when the plan is made (a Reshape's
    shape, a Resize's scales), stopping where only a shape is read, or where a node must run before. An input of more
    than one axis is data, however little of it there is: what follows from it is known in the run.
    """
    producers = graph.producers()
    inputs = {value.name for value in graph.inputs if value.shape is None or len(value.shape) <= 1}
    pending = [name for node in graph.nodes for name, role in find(node).roles(node) if role is Role.KNOWN]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in producers and may_be_known(producers[name]):
            node = producers[name]
            pending.extend(n for n, role in find(node).roles(node) if role is not Role.SHAPED)
    return frozenset(seen & inputs)


def known_tensors(graph: Graph) -> frozenset[str]:
    """Return every tensor whose elements are known when the plan is made, constants included."""
    known = set(graph.constants) | value_inputs(graph)
    for node in graph.nodes:
        roles = find(node).roles(node)
        if may_be_known(node) and all(name in known for name, role in roles if role is not Role.SHAPED):
            known.update(name for name in node.outputs if name)
    return frozenset(known)
