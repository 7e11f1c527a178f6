"""The rule by which operators give no negative numbers, as they declare it."""

from collections.abc import Set

from qengine.model.graph import Node
from qengine.model.ops.facts import Constants
from qengine.model.ops.operator import Role, Sign, find


def gives_no_negatives(node: Node, not_negative: Set[str], constants: Constants) -> bool:
    """Whether no element of a node's outputs can be negative.

    Parameters
    ----------
    node
        The node.
    not_negative
        Tensors and constants that are never negative.
    constants
        Constants that the node may read.
    """
    operator = find(node)
    low = node.activation.low if node.activation else None
    sign = operator.sign(node, constants)
    reads = [name for name, role in operator.roles(node) if role in (Role.DATA, Role.WEIGHTS)]
    is_kept = sign is Sign.KEPT and bool(reads) and not_negative >= set(reads)
    return (low is not None and low >= 0) or sign is Sign.NOT_NEGATIVE or is_kept
