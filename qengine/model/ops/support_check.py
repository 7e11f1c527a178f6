"""Check that something computes every operator of a model."""

from collections.abc import Callable, Iterator

from qengine.errors import UnsupportedError
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find, registered


def check_supported(graph: Graph, is_run: Callable[[Node], bool]) -> None:
    """Raise an error for operators that nothing computes, with the names of all of them.

    Parameters
    ----------
    graph
        The model; graphs in the attributes of its nodes are checked too.
    is_run
        Function that tells whether a node without a handler can be computed.

    Raises
    ------
    UnsupportedError
        The message lists each operator with its opset and how often it occurs.
    QEngineError
        If a node of a registered operator has inputs or attributes that its function does not take.
    """
    missing: dict[str, int] = {}
    foreign: Node | None = None
    for node in _all_nodes(graph):
        op = find(node)
        with node.errors_named():
            op.check(node)
        if op.is_delegated and not is_run(node):
            name = f"{node.domain}.{node.operator}" if node.domain else node.operator
            label = f"{name}-{node.version}"
            missing[label] = missing.get(label, 0) + 1
            foreign = node if node.domain else foreign
    if missing:
        listed = ", ".join(f"{name} (x{n})" if n > 1 else name for name, n in sorted(missing.items()))
        plural = "s" if len(missing) > 1 else ""
        remedy = _remedy(foreign) if foreign is not None else "replace them before the export"
        raise UnsupportedError(f"operator{plural} not supported: {listed}; {remedy}")


def _remedy(node: Node) -> str:
    """Return the way to avoid an operator of a domain of its own, or to register it."""
    others = registered().get((node.domain, node.operator))
    if others:
        return (
            f"{node.operator} is registered since {others[0].since}: register it with since={node.version} for this "
            "model"
        )
    if node.domain == "com.microsoft":
        return (
            "docs/reference/models.md lists the operators of ONNX Runtime that run: save the model with a lower "
            f'graph_optimization_level, or register them, as @qengine.register_operator("{node.operator}", '
            f'domain="{node.domain}")'
        )
    return (
        f'register them first, as @qengine.register_operator("{node.operator}", domain="{node.domain}"), on the '
        "command line in a file for --operators"
    )


def _all_nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for inner in node.graphs.values():
            yield from _all_nodes(inner)


__all__ = ["check_supported"]
