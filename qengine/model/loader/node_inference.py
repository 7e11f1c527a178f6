"""Inference of types and shapes of one node's outputs, for nodes that are not in the model file."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx  # noqa: TID251 - the loader's own
import onnx.shape_inference  # noqa: TID251 - the loader's own
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.graph import Node, Value
from qengine.model.loader.graph_reader import value
from qengine.model.loader.guards import is_guarded
from qengine.model.loader.shapes import without_generated
from qengine.model.loader.validation import MAX_AXES, check_nodes
from qengine.model.protos import node_proto
from qengine.model.schemas import schema

_MAX_ELEMENTS = 1024
"""Largest constant whose elements may decide a shape."""


def infer_outputs(node: Node, values: Mapping[str, Value], constants: Mapping[str, NDArray[Any]]) -> dict[str, Value]:
    """Return what onnx infers of the outputs of a node; nothing where it fails.

    Parameters
    ----------
    node
        Node of ONNX's own domain without graphs in its attributes; any other gives nothing.
    values, constants
        Types, shapes and elements that are known.
    """
    defined = None if node.domain or node.graphs else schema(node.operator, node.version, "")
    if defined is None:
        return {}
    proto = node_proto(node)
    if not _is_safe(proto, node.version):
        return {}
    types, data = {}, {}
    for name in filter(None, node.inputs):
        array = constants.get(name)
        kind = _type(values.get(name)) if array is None else _tensor_type(array.dtype, array.shape)
        if kind is None:
            return {}
        types[name] = kind
        if array is not None and array.size <= _MAX_ELEMENTS and array.dtype.kind in "iufb":
            data[name] = onnx.numpy_helper.from_array(array, name)
    try:
        inferred = onnx.shape_inference.infer_node_outputs(
            defined, proto, types, data, opset_imports=[onnx.helper.make_opsetid("", node.version)]
        )
    except Exception:  # foreign code with no list of what it raises; a run does not need the result
        return {}
    found = {name: value(onnx.ValueInfoProto(name=name, type=kind)) for name, kind in inferred.items() if name}
    found = {name: without_generated(one) for name, one in found.items()}
    lengths = constants.get(node.inputs[1]) if node.operator == "Reshape" and found else None
    if lengths is not None and lengths.size <= MAX_AXES:
        # onnx infers not even the rank where the shape of the input is unknown.
        shape = tuple(int(n) if n > 0 else None for n in lengths.reshape(-1))
        found = {name: one if one.shape is not None else replace(one, shape=shape) for name, one in found.items()}
    return found


def _is_safe(proto: onnx.NodeProto, version: int) -> bool:
    """Whether onnx, which does not check its integers, may be given a node; a run refuses any other."""
    try:
        check_nodes(onnx.GraphProto(node=[proto]), {"": version})
    except ModelError:
        return False
    return not is_guarded(proto, version)


def _type(known: Value | None) -> onnx.TypeProto | None:
    return None if known is None or known.dtype is None else _tensor_type(known.dtype, known.shape)


def _tensor_type(dtype: np.dtype[Any], shape: Any) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(dtype), shape)
