"""Names in a model file: each stands for one tensor, and nothing is read before it exists."""

from collections.abc import Iterable, Iterator

from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto  # noqa: TID251 - the loader's own

from qengine.errors import ModelError
from qengine.model.graph import Node

_NOTES = {"doc_string", "metadata_props", "producer_name", "producer_version"}


def standard(domain: str) -> str:
    """Return the domain by the name under which ONNX's own operators are found: "" for "ai.onnx"."""
    return "" if domain == "ai.onnx" else domain


def label(proto: NodeProto) -> str:
    """Return what to call a node in errors."""
    return str(Node(proto.op_type, (), tuple(proto.output), name=proto.name, domain=standard(proto.domain)))


def graphs(attribute: AttributeProto) -> Iterator[GraphProto]:
    """Yield the graphs in an attribute."""
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def subgraphs(proto: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs in a node's attributes, as the branches of an If."""
    for attribute in proto.attribute:
        yield from graphs(attribute)


def everywhere(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Yield the nodes and those in their subgraphs, at any depth."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from everywhere(graph.node)


def is_constant(proto: NodeProto) -> bool:
    """Tell whether a node only holds a tensor."""
    return proto.op_type == "Constant" and not standard(proto.domain)


def check_text(message: Message) -> None:
    """Refuse names that are not UTF-8, which protobuf hands over as bytes; notes may be anything."""
    fields = message.ListFields()
    if isinstance(message, TensorProto):  # listing all would copy the data
        fields = [
            (message.DESCRIPTOR.fields_by_name[name], getattr(message, name)) for name in ("name", "external_data")
        ]
    for field, content in fields:
        if field.name in _NOTES or field.type not in (field.TYPE_MESSAGE, field.TYPE_STRING):
            continue
        for part in (content,) if isinstance(content, (str, bytes, Message)) else content:
            if field.type == field.TYPE_MESSAGE:
                check_text(part)
            elif isinstance(part, bytes):
                raise ModelError(f"a name ({part[:40]!r}) is not UTF-8: the file is damaged; export it again")


def check_names(graph: GraphProto, outer: Iterable[str] = ()) -> None:
    """Check that each name stands for one tensor, and that nodes read only what exists before them.

    Parameters
    ----------
    graph : to check, with the graphs in its nodes.
    outer : the names of the graph around it that exist where it runs.
    """
    visible = set(outer)
    inputs = [_named(value.name, f"an input of graph {graph.name!r}") for value in graph.input]
    initializers = [_named(proto.name, f"an initializer of graph {graph.name!r}") for proto in graph.initializer]
    initializers += [_named(proto.values.name, "a sparse initializer") for proto in graph.sparse_initializer]
    for kind, names in (("input", inputs), ("initializer", initializers)):
        seen = set(outer)
        for name in names:
            if name in seen:
                raise ModelError(f"{kind} {name!r} has the name of another tensor; rename one of them")
            seen.add(name)
        visible |= seen
    check_order(graph.node, visible, f"graph {graph.name!r}")
    for value in graph.output:
        if _named(value.name, f"an output of graph {graph.name!r}") not in visible:
            raise ModelError(f"nothing produces the graph's output {value.name!r}; export the model again")


def check_order(nodes: Iterable[NodeProto], visible: set[str], where: str) -> None:
    """Check nodes as `check_names` does; their outputs are added to `visible`."""
    makers = {name: node for node in nodes for name in node.output}
    for node in nodes:
        if not node.op_type:
            raise ModelError(f"{label(node)} of {where} names no operator; export the model again")
        for name in node.input:
            if name and name not in visible:
                raise _missing(node, name, makers.get(name))
        for graph in subgraphs(node):
            check_names(graph, visible)
        for name in filter(None, node.output):
            if name in visible:
                raise ModelError(
                    f"{label(node)} produces {name!r}, the name of another tensor already; rename one of them"
                )
            visible.add(name)


def _missing(node: NodeProto, name: str, maker: NodeProto | None) -> ModelError:
    if maker is None:
        return ModelError(f"{label(node)} reads {name!r}, which nothing produces; export the model again")
    return ModelError(
        f"{label(node)} reads {name!r}, which {label(maker)} produces only afterwards: the nodes "
        "are not sorted, or form a cycle; "
        "sort them (onnx_ir.passes.common.TopologicalSortPass) or export the model again"
    )


def _named(name: str, what: str) -> str:
    if not name:
        raise ModelError(f"{what} has no name; export the model again")
    return name
