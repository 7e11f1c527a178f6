"""Inference of types and shapes of one node's outputs, for nodes that are not in the model file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx  # noqa: TID251 - the loader's own
import onnx.shape_inference  # noqa: TID251 - the loader's own
from numpy.typing import NDArray

from qengine.model.graph import Node, Value
from qengine.model.loader.graph_reader import value
from qengine.model.loader.shapes import without_generated
from qengine.model.protos import node_proto
from qengine.model.schemas import schema

_MAX_ELEMENTS = 1024
"""Largest constant whose elements may decide a shape."""

_UNSAFE = frozenset({"Einsum", "GatherND"})
"""Operators whose inference reads beyond the shapes of some inputs."""


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
    if defined is None or not _is_safe(node, values, constants):
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
            defined, node_proto(node), types, data, opset_imports=[onnx.helper.make_opsetid("", node.version)]
        )
    except Exception:  # foreign code with no list of what it raises; a run does not need the result
        return {}
    found = {name: value(onnx.ValueInfoProto(name=name, type=kind)) for name, kind in inferred.items() if name}
    return {name: without_generated(one) for name, one in found.items()}


def _is_safe(node: Node, values: Mapping[str, Value], constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether onnx, which does not check them, may be given the integers of a node."""
    numbers = [one for one in node.attributes.values() if isinstance(one, int)]
    numbers += [n for one in node.attributes.values() if isinstance(one, tuple) for n in one if isinstance(n, int)]
    if any(not -(1 << 31) <= n < 1 << 31 for n in numbers) or node.operator in _UNSAFE:
        return False
    axis, first = node.attributes.get("axis"), next(iter(node.inputs), "")
    shape = constants[first].shape if first in constants else values[first].shape if first in values else None
    return not isinstance(axis, int) or (shape is not None and -len(shape) <= axis <= len(shape))


def _type(known: Value | None) -> onnx.TypeProto | None:
    return None if known is None or known.dtype is None else _tensor_type(known.dtype, known.shape)


def _tensor_type(dtype: np.dtype[Any], shape: Any) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(dtype), shape)
