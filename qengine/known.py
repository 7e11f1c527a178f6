"""Which tensors are known before the run: they follow from constants, shapes, and inputs that decide shapes."""

from qengine.graph import Graph
from qengine.ops.operator import Role, find


def value_inputs(graph: Graph) -> frozenset[str]:
    """Return the graph inputs whose elements, not only their shape, a plan depends on.

    Followed back from every place where an operator needs elements when the plan is made (a Reshape's
    shape, a Resize's scales), stopping where only a shape is read.
    """
    producers = graph.producers()
    inputs = {value.name for value in graph.inputs}
    pending = [name for node in graph.nodes for name, role in find(node).roles(node) if role is Role.KNOWN]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in producers:
            node = producers[name]
            pending.extend(n for n, role in find(node).roles(node) if role is not Role.SHAPED)
    return frozenset(seen & inputs)


def known_tensors(graph: Graph) -> frozenset[str]:
    """Return every tensor whose elements are known when the plan is made, constants included."""
    known = set(graph.constants) | value_inputs(graph)
    for node in graph.nodes:
        if all(name in known for name, role in find(node).roles(node) if role is not Role.SHAPED):
            known.update(name for name in node.outputs if name)
    return frozenset(known)
