"""Conversion of a `Graph` to onnx's protobuf messages, the inverse of the loader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx  # noqa: TID251 - it builds onnx messages

from qengine.model.graph import HIDDEN_FORMATS, Graph, Node, OpaqueAttribute, Value
from qengine.model.schemas import schema

IR_VERSION = 10
"""IR version of written models: the oldest with every element type and opset that qengine writes."""


def attribute_proto(node: Node, name: str, value: Any) -> onnx.AttributeProto:
    """Return the AttributeProto of a node's attribute."""
    if isinstance(value, OpaqueAttribute):
        proto = onnx.AttributeProto()
        proto.ParseFromString(value.data)
        return proto
    if isinstance(value, Graph):
        return onnx.helper.make_attribute(name, graph_proto(value))
    if isinstance(value, np.ndarray):
        return onnx.helper.make_attribute(name, onnx.numpy_helper.from_array(value))
    defined = schema(node.operator, node.version, node.domain)
    kind = None
    if isinstance(value, tuple) and not value:  # an empty list does not tell its type
        is_known = defined is not None and name in defined.attributes
        kind = int(defined.attributes[name].type.value) if is_known else int(onnx.AttributeProto.INTS)
    return onnx.helper.make_attribute(name, value, attr_type=kind)


def node_proto(node: Node) -> onnx.NodeProto:
    """Return the NodeProto of a node without its fused activation, which ONNX cannot express."""
    proto = onnx.helper.make_node(
        node.operator, node.inputs, node.outputs, name=node.name or None, domain=node.domain or None
    )
    proto.attribute.extend(attribute_proto(node, name, value) for name, value in node.attributes.items())
    if node.hidden_formats:
        proto.metadata_props.add(key=HIDDEN_FORMATS, value=" ".join(node.hidden_formats))
    return proto


def graph_proto(graph: Graph) -> onnx.GraphProto:
    """Return the GraphProto of a graph without fused activations, which ONNX cannot express."""
    overridable = [value for value in graph.overridable if value.name in graph.constants]
    return onnx.helper.make_graph(
        [node_proto(node) for node in graph.nodes],
        graph.name or "graph",
        [_value_info(value) for value in (*graph.inputs, *overridable)],
        [_value_info(value) for value in graph.outputs],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a).reshape(a.shape), n) for n, a in graph.constants.items()],
    )


def model_proto(graph: Graph, opsets: Mapping[str, int]) -> onnx.ModelProto:
    """Return the ModelProto of a graph.

    Parameters
    ----------
    opsets
        Opset of each operator domain; the domain of ONNX itself is "".
    """
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = onnx.helper.make_model(
        graph_proto(graph), opset_imports=imports, ir_version=IR_VERSION, producer_name="qengine"
    )
    onnx.helper.set_model_props(model, dict(graph.metadata))
    return model


def _value_info(value: Value) -> onnx.ValueInfoProto:
    if value.container is not None:
        return onnx.helper.make_value_info(value.name, _type_proto(value.container))
    if value.dtype is None:
        return onnx.helper.make_empty_tensor_value_info(value.name)
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    return onnx.helper.make_tensor_value_info(value.name, kind, value.shape)


def _type_proto(kind: str) -> onnx.TypeProto:
    """Return a type that is written as text, such as "seq(map(int64,tensor(float)))"."""
    name, _, inner = kind.removesuffix(")").partition("(")
    if name == "seq":
        return onnx.helper.make_sequence_type_proto(_type_proto(inner))
    if name == "optional":
        return onnx.helper.make_optional_type_proto(_type_proto(inner))
    if name == "map":
        key, _, element = inner.partition(",")
        return onnx.helper.make_map_type_proto(_code(key), _type_proto(element))
    make = onnx.helper.make_sparse_tensor_type_proto if name == "sparse_tensor" else onnx.helper.make_tensor_type_proto
    return make(_code(inner), None)


def _code(name: str) -> int:
    """Return ONNX's number of an element type."""
    return int(onnx.TensorProto.DataType.Value(name.upper()))
