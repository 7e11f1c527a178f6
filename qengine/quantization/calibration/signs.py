"""Tensors that are never negative for any inputs of the graph: an unsigned format loses nothing for them."""

import numpy as np

from qengine.model.graph import Graph
from qengine.model.ops.signs import gives_no_negatives


def never_negative(graph: Graph) -> set[str]:
    """Return the tensors that no input of the graph can make negative, as their operators declare it."""
    names = {name for name, array in graph.constants.items() if array.dtype.kind == "f" and np.all(array >= 0)}
    for node in graph.nodes:
        if gives_no_negatives(node, names, graph.constants):
            names.update(name for name in node.outputs if name)
    return names
