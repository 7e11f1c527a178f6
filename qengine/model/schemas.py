"""ONNX's definitions of operators: which exist at an opset, and which types their inputs may have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx  # noqa: TID251 - it holds the definitions

from qengine.errors import ModelError
from qengine.model.graph import Node

DTYPES: Mapping[int, np.dtype[Any]] = MappingProxyType(
    {code: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code)) for code in onnx.TensorProto.DataType.values() if code}
)
"""The dtype of NumPy or ml_dtypes for each element type of ONNX; strings are objects."""


_ATTRIBUTES: Mapping[str, tuple[type, bool]] = MappingProxyType(
    {"INT": (int, False), "FLOAT": (float, False), "STRING": (str, False), "TENSOR": (np.ndarray, False)}
    | {"INTS": (int, True), "FLOATS": (float, True), "STRINGS": (str, True)}
)
"""Type of an attribute's value, and whether there are several, by ONNX's name of the type."""
_TENSOR = re.compile(r"tensor\((\w+)\)")


_DEPRECATED_LATER = frozenset({("", "GroupNormalization")})
"""Operators whose definition a later release of ONNX deprecated at its own opset: models of before mean it still."""


@cache
def schema(operator: str, version: int, domain: str) -> Any:
    """Return ONNX's definition of an operator at an opset; None where it has none."""
    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


def dtype_of(code: int) -> np.dtype[Any]:
    """Return the dtype of an element type by ONNX's number; raise ModelError where there is none."""
    if code not in DTYPES:
        raise ModelError(f"element type {code} does not exist; ONNX numbers them from 1 to {max(DTYPES)}")
    return DTYPES[code]


def is_standard(domain: str) -> bool:
    """Whether ONNX defines the operators of a domain."""
    return domain in _domains()


@cache
def _domains() -> frozenset[str]:
    return frozenset(definition.domain for definition in onnx.defs.get_all_schemas())


def is_defined(node: Node) -> bool:
    """Whether ONNX defines the node's operator at its opset, and has not taken its meaning back."""
    defined = schema(node.operator, node.version, node.domain)
    return defined is not None and (not defined.deprecated or (node.domain, node.operator) in _DEPRECATED_LATER)


def defines(operator: str, domain: str) -> bool:
    """Whether ONNX defines an operator, at any opset."""
    return bool(onnx.defs.has(operator, domain))


@cache
def standard_operators() -> frozenset[str]:
    """Return the names of the operators of ONNX's default domain, at any opset."""
    return frozenset(one.name for one in onnx.defs.get_all_schemas_with_history() if not one.domain)


def defaults(definition: Any) -> dict[str, Any]:
    """Return the default of each attribute of a definition that has one."""
    return {
        name: value.decode() if isinstance(value, bytes) else value
        for name, one in definition.attributes.items()
        if one.default_value.type
        for value in [onnx.helper.get_attribute_value(one.default_value)]
    }


def output_types(node: Node, inputs: Sequence[np.dtype[Any] | None]) -> list[np.dtype[Any] | None]:
    """Return the element type of each output of a node, by the definition of its operator; None where it is open.

    Parameters
    ----------
    node
        The node.
    inputs
        Element types of its inputs; None where unknown.
    """
    defined = schema(node.operator, node.version, node.domain)
    if defined is None or node.graphs:
        return [None] * len(node.outputs)
    given = node.attributes.get("to", node.attributes.get("dtype"))
    bound: dict[str, np.dtype[Any]] = {}
    for k, dtype in enumerate(inputs):
        if dtype is not None and defined.inputs:
            bound.setdefault(defined.inputs[min(k, len(defined.inputs) - 1)].type_str, dtype)
    found: list[np.dtype[Any] | None] = []
    for k in range(len(node.outputs)):
        formal = defined.outputs[min(k, len(defined.outputs) - 1)]
        only = _TENSOR.fullmatch(next(iter(formal.types))) if len(formal.types) == 1 else None
        if isinstance(given, int) and k == 0:
            found.append(DTYPES.get(given))
        else:
            found.append(_dtype(only[1]) if only else bound.get(formal.type_str))
    return found


def is_optional_output(node: Node, index: int) -> bool:
    """Whether ONNX lets a node leave out one of its outputs; one that stands for any number of outputs is not such."""
    defined = schema(node.operator, node.version, node.domain)
    if defined is None or index >= len(defined.outputs):
        return False
    return bool(defined.outputs[index].option == onnx.defs.OpSchema.FormalParameterOption.Optional)


def element_type_code(name: str) -> int | None:
    """Return ONNX's number of an element type by its name, such as "FLOAT"; None where there is none."""
    names = onnx.TensorProto.DataType
    return int(names.Value(name)) if name in names.keys() and name != "UNDEFINED" else None  # noqa: SIM118


def _dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of an element type as definitions write it, such as "float"."""
    return DTYPES[onnx.TensorProto.DataType.Value(name.upper())]


def is_deterministic(node: Node) -> bool:
    """Whether the same inputs always give the same outputs."""
    defined = schema(node.operator, node.version, node.domain)
    if defined is None:
        return False
    return bool(defined.node_determinism != onnx.defs.OpSchema.NodeDeterminism.NonDeterministic)


def check_form(node: Node) -> None:
    """Raise ModelError for attributes that the operator does not have or has of another type, and for more outputs.

    Graphs and types in attributes are not looked at.
    """
    defined = schema(node.operator, node.version, node.domain)
    if defined is None:
        return
    for name, value in node.attributes.items():
        if name not in defined.attributes:
            listed = ", ".join(sorted(defined.attributes)) or "none"
            raise ModelError(f"attribute '{name}' does not exist at opset {node.version}; there are {listed}")
        kind = str(defined.attributes[name].type).rpartition(".")[2]
        if kind in _ATTRIBUTES and not _is_a(value, *_ATTRIBUTES[kind]):
            raise ModelError(f"attribute '{name}' is {str(value)[:60]}; {kind} is needed")
    for name, attribute in defined.attributes.items():
        if attribute.required and name not in node.attributes:
            raise ModelError(f"attribute '{name}' is missing")
    if len([name for name in node.outputs if name not in node.hidden[1:]]) > defined.max_output:
        raise ModelError(f"gives at most {defined.max_output} outputs, {len(node.outputs)} are asked for")


def _is_a(value: Any, kind: type, several: bool) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, kind) for v in value) if several else isinstance(value, kind)


def check_types(node: Node, inputs: Sequence[Any]) -> None:
    """Raise ModelError for inputs that ONNX does not allow: other element types, or sequences in place of tensors."""
    defined = schema(node.operator, node.version, node.domain)
    if defined is None or not defined.inputs:
        return
    bound: dict[str, tuple[str, str]] = {}
    for k, (name, array) in enumerate(zip(node.inputs, inputs, strict=True)):
        formal = defined.inputs[min(k, len(defined.inputs) - 1)]
        if not name:
            continue
        if not isinstance(array, np.ndarray):
            _check_container(node, name, array, formal.types)
            continue
        kind = onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(array.dtype)).lower()
        allowed = formal.types
        if not any(f"tensor({kind})" in one for one in allowed):
            listed = ", ".join(sorted(one.removeprefix("tensor(").removesuffix(")") for one in allowed))
            raise ModelError(f"{node}: '{name}' is {kind}; {node.operator} takes {listed}")
        first = bound.setdefault(formal.type_str, (kind, name))
        if formal.is_homogeneous and first[0] != kind:
            raise ModelError(f"{node}: inputs '{first[1]}' ({first[0]}) and '{name}' ({kind}) differ in type")


def _check_container(node: Node, name: str, value: Any, allowed: Sequence[str]) -> None:
    """Raise ModelError for a sequence, a map or an empty optional where none of the allowed types is one."""
    kind, word = ("sequence", "seq(") if isinstance(value, list) else ("map", "map(")
    if value is None:
        kind, word = "empty optional", "optional("
    if not any(word in one for one in allowed):
        article = "an" if value is None else "a"
        raise ModelError(f"{node}: '{name}' is {article} {kind}; {node.operator} does not take one there")
