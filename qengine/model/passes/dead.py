"""Removal of nodes and constants on which no output of the graph depends."""

from dataclasses import replace

from qengine.model.graph import Graph


def remove_dead(graph: Graph) -> Graph:
    """Remove nodes and constants on which no output depends; the graph's inputs stay."""
    needed = {value.name for value in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(name for name in node.outputs if name):
            kept.append(node)
            needed.update(node.reads)
    constants = {name: array for name, array in graph.constants.items() if name in needed}
    return replace(graph, nodes=tuple(reversed(kept)), constants=constants)
