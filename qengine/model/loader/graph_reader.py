"""Conversion of ONNX messages to a `Graph`: nodes, attributes, declared types and shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import (  # noqa: TID251 - the loader's own
    AttributeProto,
    GraphProto,
    NodeProto,
    TypeProto,
    ValueInfoProto,
)

from qengine.errors import ModelError, UnsupportedError
from qengine.model.graph import HIDDEN_FORMATS, RUNS_GRAPHS, Attribute, Dim, Graph, Node, OpaqueAttribute, Value
from qengine.model.loader.names import is_constant, label, standard, subgraphs
from qengine.model.loader.tensors import dense, dtype_name, tensor
from qengine.model.schemas import DTYPES

_FIELD_OF = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.TENSOR: "t",
    AttributeProto.GRAPH: "g",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
}


def value(proto: ValueInfoProto, *, fed: bool = False) -> Value:
    """Return the declared type and shape of a tensor; a negative length, as some tools write, is unknown.

    Parameters
    ----------
    proto : declaration; of a sequence, a map or an optional only the type is kept, as text.
    fed : whether it is an input of a run, which must have a type.
    """
    name, kind = proto.name, proto.type.WhichOneof("value")
    if fed and kind is None:
        raise ModelError(f"input {name!r} has no type; export the model again")
    if kind != "tensor_type":
        return Value(name, container=_type_text(proto.type) if kind else None)
    declared = proto.type.tensor_type
    if declared.elem_type not in DTYPES and (fed or declared.elem_type):
        raise ModelError(f"{name!r} has the element type {declared.elem_type}, unknown to ONNX; export the model again")
    shape: tuple[Dim, ...] | None = None
    if declared.HasField("shape"):
        shape = tuple(
            (dim.dim_value if dim.dim_value >= 0 else None) if dim.HasField("dim_value") else dim.dim_param or None
            for dim in declared.shape.dim
        )
    return Value(name, DTYPES.get(declared.elem_type), shape)


def _type_text(kind: TypeProto) -> str:
    """Return a type as ONNX Runtime writes it, such as "seq(tensor(float))"."""
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        name = "sparse_tensor" if which.startswith("sparse") else "tensor"
        return f"{name}({dtype_name(getattr(kind, which).elem_type)})"
    if which == "map_type":
        return f"map({dtype_name(kind.map_type.key_type)},{_type_text(kind.map_type.value_type)})"
    if which in ("sequence_type", "optional_type"):
        return f"{'seq' if which == 'sequence_type' else 'optional'}({_type_text(getattr(kind, which).elem_type)})"
    return str(which)


@dataclass(frozen=True)
class GraphReader:
    """Reader of the graphs of one model.

    Attributes
    ----------
    opsets : opset of each operator domain that the model imports.
    folder : folder of the model file, from which external data is read; None if there is none.
    ir_version : IR version of the file.
    """

    opsets: Mapping[str, int]
    folder: Path | None
    ir_version: int

    def graph(self, proto: GraphProto, name: str, *, fed: bool = False) -> Graph:
        """Return the graph; `fed` is True for the outermost one, whose inputs a run is fed."""
        constants = self._constants(proto)
        # Before IR version 4 every initializer had to be an input too; it is a constant, as in ONNX Runtime.
        declared = [info for info in proto.input if self.ir_version >= 4 or info.name not in constants]
        inputs = tuple(value(info, fed=fed) for info in declared if info.name not in constants)
        overridable = tuple(value(info, fed=fed) for info in declared if info.name in constants)
        for default in overridable:
            _check_default(default, constants[default.name])
        outputs = tuple(value(info) for info in proto.output)
        known = chain((value(info) for info in proto.value_info), outputs, overridable, inputs)
        return Graph(
            name=name,
            inputs=inputs,
            outputs=outputs,
            nodes=tuple(self._node(node) for node in proto.node if not is_constant(node)),
            constants=constants,
            values={one.name: one for one in known if one.name},
            overridable=overridable,
        )

    def _constants(self, proto: GraphProto) -> dict[str, NDArray[Any]]:
        """Return the arrays of initializers and Constant nodes, by tensor name."""
        constants = {}
        for one in proto.initializer:
            constants[one.name] = tensor(one, f"initializer {one.name!r}", self.folder)
        for sparse in proto.sparse_initializer:
            constants[sparse.values.name] = dense(sparse, f"initializer {sparse.values.name!r}", self.folder)
        for node in filter(is_constant, proto.node):
            if not any(node.output):
                continue
            constants[node.output[0]] = self._constant(node)
        return constants

    def _constant(self, proto: NodeProto) -> NDArray[Any]:
        names = [attribute.name for attribute in proto.attribute]
        if len(names) != 1 or len(proto.output) != 1:
            raise ModelError(f"{label(proto)} must have one attribute and one output; export the model again")
        if names[0] == "sparse_value" and proto.attribute[0].type == AttributeProto.SPARSE_TENSOR:
            return dense(proto.attribute[0].sparse_tensor, f"sparse_value of {label(proto)}", self.folder)
        content = self._attribute(proto, proto.attribute[0])
        kind = proto.attribute[0].type
        expected = {
            "value": (AttributeProto.TENSOR, None),
            "value_float": (AttributeProto.FLOAT, np.float32),
            "value_floats": (AttributeProto.FLOATS, np.float32),
            "value_int": (AttributeProto.INT, np.int64),
            "value_ints": (AttributeProto.INTS, np.int64),
            "value_string": (AttributeProto.STRING, np.object_),
            "value_strings": (AttributeProto.STRINGS, np.object_),
        }
        if names[0] not in expected or expected[names[0]][0] != kind:
            raise ModelError(f"{label(proto)} holds no value in its attribute {names[0]!r}; export the model again")
        array = np.array(content, dtype=expected[names[0]][1]) if names[0] != "value" else content
        assert isinstance(array, np.ndarray)
        array.flags.writeable = False
        return array

    def _node(self, proto: NodeProto) -> Node:
        domain = standard(proto.domain)
        if domain not in self.opsets:
            raise ModelError(
                f"{label(proto)} is of domain {domain!r}, whose opset is not imported; export the model again"
            )
        attributes: dict[str, Attribute] = {}
        for attribute in proto.attribute:
            if not attribute.name or attribute.name in attributes:
                raise ModelError(
                    f"{label(proto)} has two attributes named {attribute.name!r}, or one without a name; "
                    "export the model again"
                )
            attributes[attribute.name] = self._attribute(proto, attribute)
        return Node(
            operator=proto.op_type,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes=attributes,
            name=proto.name,
            domain=domain,
            version=self.opsets[domain],
            captures=_captures(proto),
            hidden_formats=_hidden_formats(proto),
        )

    def _attribute(self, node: NodeProto, proto: AttributeProto) -> Attribute:
        what = f"attribute {proto.name!r} of {label(node)}"
        if proto.ref_attr_name:
            raise ModelError(
                f"{what} refers to a function's {proto.ref_attr_name!r} outside of functions; export it again"
            )
        if proto.type not in _FIELD_OF:
            if proto.type in AttributeProto.AttributeType.values() and proto.type:
                if proto.type == AttributeProto.GRAPHS:
                    raise UnsupportedError(f"{what} holds several graphs, which is not supported; replace the node")
                return OpaqueAttribute(proto.SerializeToString())
            raise ModelError(f"{what} has no type that ONNX knows; export the model again")
        field = _FIELD_OF[proto.type]
        # A writer may leave out a number that is 0, but no tensor or graph.
        present = {descriptor.name for descriptor, _ in proto.ListFields()} - {"name", "type", "doc_string"}
        if not present <= {field} or (field in ("t", "g") and not present):
            raise ModelError(f"{what} does not hold what its type says; export the model again")
        content: Any = getattr(proto, field)
        if field == "t":
            return tensor(content, what, self.folder)
        if field == "g" and node.op_type not in RUNS_GRAPHS:  # nothing runs it
            if captured := _captures(node):
                raise UnsupportedError(f"{what} reads {captured[0]!r} from around it, which is not supported")
            return OpaqueAttribute(proto.SerializeToString())
        if field == "g":
            return self.graph(content, content.name)
        if field == "s":
            return _text(content, what)
        if field == "strings":
            return tuple(_text(raw, what) for raw in content)
        return tuple(content) if field in ("floats", "ints") else cast("int | float", content)


def _check_default(declared: Value, default: NDArray[Any]) -> None:
    fits = declared.shape is None or (
        len(declared.shape) == default.ndim
        and all(not isinstance(a, int) or a == b for a, b in zip(declared.shape, default.shape, strict=True))
    )
    differs = declared.container is not None or (declared.dtype is not None and declared.dtype != default.dtype)
    if not fits or differs:
        kind = declared.container or f"{declared.dtype} {declared.shape}"
        raise ModelError(
            f"input {declared.name!r} is declared as {kind}, but its default is "
            f"{default.dtype} {default.shape}; export the model again"
        )


def _hidden_formats(proto: NodeProto) -> tuple[str, ...]:
    """Return the formats of the tensors inside of a node that a quantized model keeps in its metadata."""
    return tuple(text for one in proto.metadata_props if one.key == HIDDEN_FORMATS for text in one.value.split())


def _captures(proto: NodeProto) -> tuple[str, ...]:
    """Return the tensors of the surrounding graph that the graphs of a node read, in the order of reading."""
    captured: dict[str, None] = {}
    for graph in subgraphs(proto):
        own = {one.name for part in (graph.input, graph.initializer) for one in part}
        own |= {sparse.values.name for sparse in graph.sparse_initializer}
        own |= {name for node in graph.node for name in node.output}
        reads = [name for node in graph.node for name in (*node.input, *_captures(node))]
        reads += [info.name for info in graph.output]
        captured |= dict.fromkeys(name for name in reads if name and name not in own)
    return tuple(captured)


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ModelError(f"{what} is not UTF-8 text; export the model again") from None
