"""Leaving out a Softmax at the end: its largest element is that of its input, which is all that a classifier needs."""

from __future__ import annotations

from qengine.errors import OptionError
from qengine.model.graph import Graph, Node
from qengine.runtime.session import InferenceSession

_DROPPED = ("Softmax", "LogSoftmax")
_SAME = ("Identity", "Dropout")


def without_softmax(session: InferenceSession) -> tuple[list[str], list[str]]:
    """Return the outputs of a model with the inputs of a Softmax in place of its results, and notes.

    Raises
    ------
    OptionError
        If no output is that of a Softmax or LogSoftmax.
    """
    graph = session.graph
    made = {name: node for node in graph.nodes for name in node.outputs}
    names, notes = [], []
    for value in graph.outputs:
        node = _maker(value.name, made)
        if node is None or node.operator not in _DROPPED or not _is_computed(node.inputs[0], graph):
            names.append(value.name)
            continue
        names.append(node.inputs[0])
        title = node.name or node.outputs[0]
        notes.append(
            f"{node.operator} '{title}' is left out: output '{node.inputs[0]}' is its input, whose largest element is "
            "at the same place"
        )
    if not notes:
        kinds = {n.operator if (n := _maker(v.name, made)) else "an input" for v in graph.outputs}
        why = (
            "it reads an input or a constant"
            if kinds & {*_DROPPED}
            else f"the outputs come from {', '.join(sorted(kinds))}"
        )
        raise OptionError(f"there is no Softmax to leave out: {why}")
    return list(dict.fromkeys(names)), notes


def _maker(name: str, made: dict[str, Node]) -> Node | None:
    """Return the node that computes a tensor, without those that only pass it on."""
    node = made.get(name)
    while node is not None and node.operator in _SAME:
        node = made.get(node.inputs[0])
    return node


def _is_computed(name: str, graph: Graph) -> bool:
    return name not in graph.constants and all(name != value.name for value in graph.inputs)
