"""Which tensors are never negative by construction."""

import numpy as np

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find

# Operators whose results are not negative whatever they read, and those that give nothing negative of nothing negative.
_NOT_NEGATIVE = frozenset(
    {"Relu", "Sigmoid", "HardSigmoid", "Logistic", "Softplus", "Exp", "Abs", "Sqrt", "Softmax", "ReduceL1", "ReduceL2"}
    | {"ReduceSumSquare"}
)
_KEEP_SIGN = frozenset(
    {"Concat", "Max", "Min", "Where", "Add", "Sum", "Mul", "Div", "Mean", "AveragePool", "GlobalAveragePool"}
    | {"ReduceMean", "ReduceSum", "Resize", "Upsample"}
)


def never_negative(graph: Graph) -> set[str]:
    """Return the tensors that are never negative as their operators are, whatever the inputs of the graph hold."""
    found = {name for name, array in graph.constants.items() if array.dtype.kind == "f" and np.all(array >= 0)}
    for node in graph.nodes:
        operator = find(node)
        low = node.activation.low if node.activation else None
        if node.domain not in ("", "qengine"):  # what the passes recognise is of the second
            continue
        reads = [name for name, role in operator.roles(node) if role in (Role.DATA, Role.WEIGHTS)]
        keeps = node.operator in _KEEP_SIGN or (
            operator.preserves_format(node) and node.operator not in ("Pad", "Clip")
        )
        if (
            (low is not None and low >= 0)
            or node.operator in _NOT_NEGATIVE
            or (node.operator == "Clip" and _lower_bound(node, graph) >= 0)
            or (keeps and reads and found.issuperset(reads) and not _overshoots(node))
        ):
            found.update(name for name in node.outputs if name)
    return found


def _lower_bound(node: Node, graph: Graph) -> float:
    """Return the constant lower bound of a Clip; minus infinity where it has none."""
    low = node.attributes.get("min")
    if len(node.inputs) > 1 and node.inputs[1] in graph.constants:
        low = float(graph.constants[node.inputs[1]].ravel()[0])
    return float(low) if isinstance(low, int | float) else float("-inf")


def _overshoots(node: Node) -> bool:
    return node.operator in ("Resize", "Upsample") and node.attributes.get("mode", "nearest") == "cubic"
