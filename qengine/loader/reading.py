"""The pieces of an ONNX file as the pieces of a `Graph`: nodes, attributes, values, names."""

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
    ValueInfoProto,
)

from qengine.errors import ModelError, UnsupportedError
from qengine.graph import Attribute, Dim, Graph, Node, Value
from qengine.loader.names import everywhere, is_constant, label, standard, subgraphs
from qengine.loader.tensors import DTYPES, dtype_name, is_native, tensor

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
_NOT_NUMBERS = {"value_string", "value_strings", "sparse_value"}


def value(proto: ValueInfoProto, *, fed: bool = False) -> Value:
    """Return what the file says of a tensor.

    Parameters
    ----------
    proto : the declaration; a sequence, a map or an optional says nothing that a `Value` could hold.
    fed : whether a run is fed with it, so that it must be a tensor of a known type that NumPy has.
    """
    name, kind = proto.name, proto.type.WhichOneof("value")
    if fed and kind != "tensor_type":
        what = "is not a tensor (" + kind.removesuffix("_type") + ")" if kind else "has no type"
        error = UnsupportedError if kind else ModelError
        raise error(f"input {name!r} {what}; export the model with tensors as inputs")
    if kind != "tensor_type":
        return Value(name)
    declared = proto.type.tensor_type
    if declared.elem_type not in DTYPES and (fed or declared.elem_type):
        raise ModelError(f"{name!r} has the element type {declared.elem_type}, unknown to ONNX; export the model again")
    if fed and not is_native(declared.elem_type):
        raise UnsupportedError(
            f"input {name!r} is of type {dtype_name(declared.elem_type)}, which is not supported; "
            "export the model with float32 or integer inputs"
        )
    shape: tuple[Dim, ...] | None = None
    if declared.HasField("shape"):
        if fed and any(dim.dim_value < 0 for dim in declared.shape.dim):
            raise ModelError(f"input {name!r} has an axis of negative length; make it symbolic or positive")
        shape = tuple(
            (dim.dim_value if dim.dim_value >= 0 else None) if dim.HasField("dim_value") else dim.dim_param or None
            for dim in declared.shape.dim
        )
    return Value(name, DTYPES.get(declared.elem_type), shape)


@dataclass(frozen=True)
class Reader:
    """What is needed to read a graph of a model.

    Attributes
    ----------
    opsets : the version of each operator domain that the model imports.
    folder : where external data may be, None where nowhere.
    ir_version : of the file.
    """

    opsets: Mapping[str, int]
    folder: Path | None
    ir_version: int

    def graph(self, proto: GraphProto, name: str, *, fed: bool = False) -> Graph:
        """Return the graph; `fed` says that its inputs are those of a run."""
        constants = self._constants(proto)
        # Before IR version 4 every initializer had to be an input too, and is a constant, as in ONNX Runtime.
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
        """Return initializers and Constant nodes; what nothing reads may be of an unsupported type."""
        read = _read(proto)
        found = {}
        for one in proto.initializer:
            if one.name in read or is_native(one.data_type):
                found[one.name] = tensor(one, f"initializer {one.name!r}", self.folder)
        for sparse in proto.sparse_initializer:
            if sparse.values.name in read:
                raise _sparse(f"initializer {sparse.values.name!r}")
        for node in filter(is_constant, proto.node):
            if not any(node.output):
                continue
            try:
                found[node.output[0]] = self._constant(node)
            except UnsupportedError:
                if node.output[0] in read:
                    raise
        return found

    def _constant(self, proto: NodeProto) -> NDArray[Any]:
        names = [attribute.name for attribute in proto.attribute]
        if len(names) != 1 or len(proto.output) != 1:
            raise ModelError(f"{label(proto)} must have one attribute and one output; export the model again")
        if names[0] in _NOT_NUMBERS:
            raise UnsupportedError(f"{label(proto)} holds a {names[0]}, which is not supported; use a dense tensor")
        held = self._attribute(proto, proto.attribute[0])
        kind = proto.attribute[0].type
        expected = {
            "value": (AttributeProto.TENSOR, None),
            "value_float": (AttributeProto.FLOAT, np.float32),
            "value_floats": (AttributeProto.FLOATS, np.float32),
            "value_int": (AttributeProto.INT, np.int64),
            "value_ints": (AttributeProto.INTS, np.int64),
        }
        if names[0] not in expected or expected[names[0]][0] != kind:
            raise ModelError(f"{label(proto)} holds no value in its attribute {names[0]!r}; export the model again")
        array = np.array(held, dtype=expected[names[0]][1]) if names[0] != "value" else held
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
                    f"{label(proto)} has two attributes {attribute.name!r}, or one nameless; export it again"
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
        )

    def _attribute(self, node: NodeProto, proto: AttributeProto) -> Attribute:
        what = f"attribute {proto.name!r} of {label(node)}"
        if proto.ref_attr_name:
            raise ModelError(
                f"{what} refers to a function's {proto.ref_attr_name!r} outside of functions; export it again"
            )
        if proto.type not in _FIELD_OF:
            if proto.type in AttributeProto.AttributeType.values() and proto.type:
                kind = AttributeProto.AttributeType.Name(proto.type).lower()
                raise UnsupportedError(f"{what} is of type {kind}, which is not supported; replace the node")
            raise ModelError(f"{what} has no type that ONNX knows; export the model again")
        field = _FIELD_OF[proto.type]
        # A number that is 0 may be left out by a writer, a tensor or graph may not.
        held = {found.name for found, _ in proto.ListFields()} - {"name", "type", "doc_string"}
        if not held <= {field} or (field in ("t", "g") and not held):
            raise ModelError(f"{what} does not hold what its type says; export the model again")
        content: Any = getattr(proto, field)
        if field == "t":
            return tensor(content, what, self.folder)
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
    if not fits or (declared.dtype is not None and declared.dtype != default.dtype):
        raise ModelError(
            f"input {declared.name!r} is declared as {declared.dtype} {declared.shape}, but its default is "
            f"{default.dtype} {default.shape}; export the model again"
        )


def _read(proto: GraphProto) -> set[str]:
    """Return the names that nodes read, those in subgraphs too, or that leave a graph."""
    nodes = list(everywhere(proto.node))
    names = {info.name for info in proto.output}
    names.update(name for node in nodes for name in node.input)
    names.update(info.name for node in nodes for graph in subgraphs(node) for info in graph.output)
    return names


def _sparse(what: str) -> UnsupportedError:
    return UnsupportedError(f"{what} is sparse, which is not supported; store it as a dense tensor")


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ModelError(f"{what} is not UTF-8 text; export the model again") from None
