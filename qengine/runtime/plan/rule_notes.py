"""Rules without effect: on the results of moves, and on biases and tables of recurrent operators."""

from collections.abc import Iterator, Mapping

from qengine.model.formats.assign import FormatTable
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find
from qengine.model.rules import BiasRule, Rules, TableRule


def moves_of_codes(graph: Graph, table: FormatTable) -> Mapping[str, Node]:
    """Return the nodes that only move the codes of their first input, by the name of the result.

    Parameters
    ----------
    graph
        The graph after the passes.
    table
        Formats of its tensors. A result with another format than the input is rounded.
    """
    found = {}
    for node in graph.nodes:
        for name in find(node).kept_outputs(node):
            before, after = (table.activations.get(n, table.constants.get(n)) for n in (node.inputs[0], name))
            if after is not None and before == after:
                found[name] = node
    return found


def notes_on_recurrent_operators(rules: Rules) -> Iterator[str]:
    """Yield a note on rules of biases and tables, which LSTM, GRU and RNN do not follow."""
    given = {"bias": rules.bias != BiasRule(), "table": rules.table != TableRule() or "table" in rules.kinds}
    keys = [f"{key}.*" for key, is_given in given.items() if is_given]
    if keys and "recurrent" not in rules.islands:
        own = "which have biases and tables of their own"
        yield f"rules {' and '.join(keys)} have no effect in LSTM, GRU and RNN, {own}"
