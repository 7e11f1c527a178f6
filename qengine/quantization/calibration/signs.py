"""Tensors that are never negative for any inputs of the graph: an unsigned format loses nothing for them."""

import numpy as np

from qengine.model.graph import Graph
from qengine.model.ops.operator import Role, Sign, find


def never_negative(graph: Graph) -> set[str]:
    """Return the tensors that no input of the graph can make negative, as their operators declare it."""
    names = {name for name, array in graph.constants.items() if array.dtype.kind == "f" and np.all(array >= 0)}
    for node in graph.nodes:
        operator = find(node)
        low = node.activation.low if node.activation else None
        sign = operator.sign(node, graph.constants)
        reads = [name for name, role in operator.roles(node) if role in (Role.DATA, Role.WEIGHTS)]
        if (
            (low is not None and low >= 0)
            or sign is Sign.NOT_NEGATIVE
            or (sign is Sign.KEPT and reads and names.issuperset(reads))
        ):
            names.update(name for name in node.outputs if name)
    return names
