"""Checks of names in a model file: each names one tensor, and no tensor is read before it is computed."""

from collections.abc import Iterable, Iterator

from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto  # noqa: TID251 - the loader's own

from qengine.errors import ModelError
from qengine.model.graph import Node

_FREE_TEXT = {"doc_string", "metadata_props", "producer_name", "producer_version"}


def standard(domain: str) -> str:
    """Return the standard name of a domain: "" for "ai.onnx", ONNX's own."""
    return "" if domain == "ai.onnx" else domain


def label(proto: NodeProto) -> str:
    """Return the text by which errors refer to a node, such as "node 'conv1' (Conv)"."""
    return str(Node(proto.op_type, (), tuple(proto.output), name=proto.name, domain=standard(proto.domain)))


def graphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    """Yield the graphs in an attribute."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def subgraphs(proto: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in a node's attributes, such as the branches of an If."""
    for attribute in proto.attribute:
        yield from graphs(attribute)


def everywhere(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield the nodes and the nodes of their subgraphs, at any depth."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from everywhere(graph.node)


def is_constant(proto: NodeProto) -> bool:
    """Whether a node is a Constant."""
    return proto.op_type == "Constant" and not standard(proto.domain)


def check_text(message: Message) -> None:
    """Raise ModelError for a name that is not UTF-8, which protobuf returns as bytes; free text is not checked."""
    fields = message.ListFields()
    if isinstance(message, TensorProto):  # listing all would copy the data
        fields = [
            (message.DESCRIPTOR.fields_by_name[name], getattr(message, name)) for name in ("name", "external_data")
        ]
    for field, content in fields:
        if field.name in _FREE_TEXT or field.type not in (field.TYPE_MESSAGE, field.TYPE_STRING):
            continue
        for part in (content,) if isinstance(content, (str, bytes, Message)) else content:
            if field.type == field.TYPE_MESSAGE:
                check_text(part)
            elif isinstance(part, bytes):
                raise ModelError(f"a name ({part[:40]!r}) is not UTF-8: the file is damaged; export it again")


MAX_DEPTH = 24
"""Most graphs inside of each other: protobuf reads 33 at most, and onnx needs some of its own."""


def check_names(graph: GraphProto, outer: Iterable[str] = (), depth: int = 0) -> None:
    """Check that each name names one tensor, and that nodes read only tensors that exist before them.

    Parameters
    ----------
    graph : graph to check, with the graphs in its nodes.
    outer : names of the surrounding graph that exist where the graph runs.
    depth : number of graphs around it.

    Raises
    ------
    ModelError
        If a name is missing, used twice, or read before it is computed, or graphs are nested deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise ModelError(f"graph {graph.name!r} is nested in more than {MAX_DEPTH} others; flatten the model")
    visible = set(outer)
    inputs = [_non_empty(value.name, f"an input of graph {graph.name!r}") for value in graph.input]
    initializers = [_non_empty(proto.name, f"an initializer of graph {graph.name!r}") for proto in graph.initializer]
    initializers += [_non_empty(proto.values.name, "a sparse initializer") for proto in graph.sparse_initializer]
    for kind, names in (("input", inputs), ("initializer", initializers)):
        seen = set(outer)
        for name in names:
            if name in seen:
                raise ModelError(f"{kind} {name!r} has the name of another tensor; rename one of them")
            seen.add(name)
        visible |= seen
    check_order(graph.node, visible, f"graph {graph.name!r}", depth)
    for value in graph.output:
        if _non_empty(value.name, f"an output of graph {graph.name!r}") not in visible:
            raise ModelError(f"nothing produces the graph's output {value.name!r}; export the model again")


def check_order(nodes: Iterable[NodeProto], visible: set[str], where: str, depth: int = 0) -> None:
    """Check nodes like `check_names`, and add their outputs to `visible`; `where` names their graph in errors."""
    producers = {name: node for node in nodes for name in node.output}
    for node in nodes:
        if not node.op_type:
            raise ModelError(f"{label(node)} of {where} names no operator; export the model again")
        for name in node.input:
            if name and name not in visible:
                raise _missing(node, name, producers.get(name))
        for graph in subgraphs(node):
            check_names(graph, visible, depth + 1)
        for name in filter(None, node.output):
            if name in visible:
                raise ModelError(
                    f"{label(node)} produces {name!r}, the name of another tensor already; rename one of them"
                )
            visible.add(name)


def _missing(node: NodeProto, name: str, producer: NodeProto | None) -> ModelError:
    if producer is None:
        return ModelError(f"{label(node)} reads {name!r}, which nothing produces; export the model again")
    return ModelError(
        f"{label(node)} reads {name!r}, which {label(producer)} produces only afterwards: the nodes "
        "are not sorted, or form a cycle; "
        "sort them (onnx_ir.passes.common.TopologicalSortPass) or export the model again"
    )


def _non_empty(name: str, what: str) -> str:
    if not name:
        raise ModelError(f"{what} has no name; export the model again")
    return name
