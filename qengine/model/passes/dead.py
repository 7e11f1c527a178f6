"""Nodes and constants that no output needs are left out."""

from dataclasses import replace

from qengine.model.graph import Graph


def remove_dead(graph: Graph) -> Graph:
    """Keep what the graph's outputs depend on; its inputs stay, read or not."""
    needed = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(name for name in node.outputs if name):
            kept.append(node)
            needed.update(node.reads)
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(kept)), constants=constants)
