"""Names for the tensors inside of recurrent nodes, so that they get formats as all others do.

An LSTM, a GRU or an RNN computes more than it gives: in every step of time it rounds the sums of its gates and, in an
LSTM, its cell. In fixed point these tensors need formats, and formats are found by names: a calibration observes a
tensor of a name, a formats file gives it a format. So every recurrent node gets further outputs, after those of ONNX:

- "<Y> (gates)": the arguments of the gates' functions, [time, directions, batch, gates * hidden], in layout 0;
- "<Y> (cell)": the cells of an LSTM after each step, [time, directions, batch, hidden].

<Y> is the first output that the node has. Y and the last state have one format, and so have the cells and the last
cell. A node with the last cell only gets a name for Y too, "<Y_c> (state)". `Node.hidden` keeps the names of Y, the
gates and the cells where `remove_dead` leaves the outputs out, which it does where nobody reads them.

In a quantized model `Node.hidden_formats` has their formats. A node in the model of another tool has none: it runs as
ONNX defines it, on real numbers between pairs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from qengine.errors import FormatError
from qengine.model.graph import Graph, Names, Node, Value
from qengine.qformat import Format, QFormat

_STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
_STATE = " (state)"


def is_recurrent(node: Node) -> bool:
    """Whether a node is an LSTM, a GRU or an RNN of ONNX."""
    return node.operator in _STATES and not node.domain


def name_hidden_tensors(graph: Graph) -> Graph:
    """Give every recurrent node outputs for the tensors inside of it, in the graphs of nodes too."""
    if not any(is_recurrent(node) or node.graphs for node in graph.nodes):
        return graph
    names = Names(graph.tensors() | graph.inner_tensors())
    values = dict(graph.values)
    declared = {value.name: value for value in (*graph.inputs, *graph.outputs)} | values
    nodes = []
    for node in graph.nodes:
        if node.graphs:
            inner = {key: name_hidden_tensors(one) for key, one in node.graphs.items()}
            if any(one is not node.graphs[key] for key, one in inner.items()):
                node = replace(node, attributes={**node.attributes, **inner})
        if is_recurrent(node) and any(node.outputs):
            node = _named(node, names)
            x = declared.get(node.inputs[0]) if node.inputs else None
            known = [declared[name] for name in node.outputs if name in declared]
            dtype = next((one.dtype for one in (*known, *([x] if x else [])) if one.dtype is not None), None)
            if dtype is not None:
                values |= {name: Value(name, dtype) for name in node.outputs if name and name not in declared}
        nodes.append(node)
    named = replace(graph, nodes=tuple(nodes), values=values)
    return named if graph.formats is None else replace(named, formats={**_kept_formats(named), **graph.formats})


def _kept_formats(graph: Graph) -> dict[str, Format]:
    """Return the formats that a quantized model keeps of the tensors inside of nodes.

    Raises
    ------
    FormatError
        If a node keeps others than one for each tensor.
    """
    formats: dict[str, Format] = {}
    for node in graph.nodes:
        if not node.hidden_formats:
            continue
        if len(node.hidden_formats) != len(node.hidden):
            raise FormatError(
                f"the metadata of {node} have {len(node.hidden_formats)} formats, {len(node.hidden)} are needed"
            )
        try:
            formats |= zip(node.hidden, map(QFormat.parse, node.hidden_formats), strict=True)
        except FormatError as error:
            raise FormatError(f"the metadata of {node}: {error}") from None
    return formats


def _named(node: Node, names: Names) -> Node:
    states = _STATES[node.operator]
    visible = [*node.outputs[: states + 1], *[""] * (states + 1 - len(node.outputs))]
    if node.hidden:  # a pass before has named them
        state, *inside = node.hidden
        visible[0] = visible[0] or (state if state not in visible else "")
        return replace(node, outputs=(*visible, *inside))
    base = next(name for name in visible if name)
    if not visible[0] and not visible[1]:
        visible[0] = names.fresh(f"{base}{_STATE}")
    inside = [names.fresh(f"{base} ({what})") for what in ("gates", "cell")[:states]]
    return replace(node, outputs=(*visible, *inside), hidden=(visible[0] or visible[1], *inside))


def cells_of_recurrent(graph: Graph) -> set[str]:
    """Return the names of the cells of every LSTM, in the graphs of nodes too."""
    found = {name for node in graph.nodes for name in node.hidden[2:]}
    return found.union(*(cells_of_recurrent(inner) for node in graph.nodes for inner in node.graphs.values()))


def tied_states(node: Node, graph: Graph) -> tuple[tuple[str, ...], ...]:
    """Return the tensors of each state of a recurrent node of a graph, which share a format: of h, and of the cell."""
    if not node.hidden or (graph.formats is not None and node.hidden[1] not in graph.formats):
        return ()
    h = (node.hidden[0], *node.outputs[:2])
    return (h, (*node.hidden[2:], *node.outputs[2:3])) if node.hidden[2:] else (h,)


def with_hidden_outputs(graph: Graph, wanted: Iterable[str] | None = None) -> Graph:
    """Return a graph whose recurrent nodes give those of the tensors inside of them that are wanted; None for all."""
    names = None if wanted is None else set(wanted)
    nodes = tuple(_giving(node, names) for node in graph.nodes)
    return graph if nodes == graph.nodes else replace(graph, nodes=nodes)


def _giving(node: Node, wanted: set[str] | None) -> Node:
    if not node.hidden or (wanted is not None and not wanted.intersection(node.hidden)):
        return node
    states = _STATES[node.operator]
    outputs = [*node.outputs, *[""] * (states + 1 + states - len(node.outputs))]
    for place, name in zip((0, *range(states + 1, 2 * states + 1)), node.hidden, strict=True):
        if (wanted is None or name in wanted) and name not in outputs:
            outputs[place] = name
    while not outputs[-1]:
        outputs.pop()
    return replace(node, outputs=tuple(outputs))


def written_node(node: Node, formats: Mapping[str, Format]) -> Node:
    """Return a node as a file has it: with the outputs of ONNX, and with all formats of the tensors inside, or none."""
    if not node.hidden:
        return node
    outputs = list(node.outputs[: _STATES[node.operator] + 1])
    if outputs[0].endswith(_STATE) and outputs[0] == node.hidden[0]:
        outputs[0] = ""
    while outputs and not outputs[-1]:
        outputs.pop()
    known = tuple(str(formats[name]) for name in node.hidden if name in formats)
    return replace(node, outputs=tuple(outputs), hidden_formats=known if len(known) == len(node.hidden) else ())
