"""Evaluation of a single node by onnx.reference, for operators without a handler and for nodes that a handler refuses.

Results are as ONNX defines them: arrays of real numbers, integers or text, lists of arrays (sequences), or None (an
empty optional).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx  # noqa: TID251 - a node is handed to onnx

from qengine.errors import ModelError, UnsupportedError, first_line
from qengine.model.eager.evaluator import Element
from qengine.model.graph import Node
from qengine.model.protos import IR_VERSION, attribute_proto


def compute(node: Node, inputs: Sequence[Element]) -> list[Element]:
    """Return the outputs of a node, None for an output that is left out.

    Parameters
    ----------
    node
        Node without graphs in its attributes.
    inputs
        An element for each name in `node.inputs`; None where the name is empty.

    Raises
    ------
    UnsupportedError
        If onnx.reference does not implement the operator at this opset.
    ModelError
        If onnx.reference refuses the inputs.
    """
    types = tuple(_type_proto(array) if name else None for name, array in zip(node.inputs, inputs, strict=True))
    with node.errors_named():
        try:
            evaluator = _evaluator(_NodeKey(node), types)
            feeds = {f"i{k}": array for k, array in enumerate(inputs) if node.inputs[k]}
            outputs = iter(evaluator.run(None, feeds))
        except (NotImplementedError, ImportError) as error:
            raise UnsupportedError(f"onnx.reference does not compute it: {first_line(error)}") from None
        except (UnsupportedError, MemoryError):
            raise
        except Exception as error:  # foreign code with no list of what it raises
            raise ModelError(f"onnx.reference cannot compute it: {first_line(error)}") from error
        return [_element(next(outputs)) if name else None for name in node.outputs]


def _element(result: Any) -> Element:
    if result is None or isinstance(result, list):
        return result
    if hasattr(result, "todense") or isinstance(result, dict):
        raise UnsupportedError(f"gives a {type(result).__name__}, which is not supported")
    array = np.asarray(result)
    return array.astype(object) if array.dtype.kind == "U" else array


class _NodeKey:
    """Key of a node by identity: its attributes may hold arrays, which have no hash."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __hash__(self) -> int:
        return id(self.node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _NodeKey) and other.node is self.node


def _type_proto(array: Element) -> bytes:
    """Return the serialized TypeProto of an input; lengths of axes are left open."""
    if isinstance(array, dict):
        raise UnsupportedError("takes a map, which onnx.reference does not compute")
    if array is None:
        kind = onnx.TypeProto()
        kind.optional_type.elem_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    elif isinstance(array, list):
        dtype = next((a.dtype for a in array if a is not None), getattr(array, "dtype", None) or np.dtype(np.float32))
        element = onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(dtype), None)
        kind = onnx.helper.make_sequence_type_proto(element)
    else:
        code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        kind = onnx.helper.make_tensor_type_proto(code, [None] * array.ndim)
    return bytes(kind.SerializeToString())


@lru_cache(maxsize=4096)
def _evaluator(key: _NodeKey, types: tuple[bytes | None, ...]) -> Any:
    """Return a ReferenceEvaluator of a model with this node alone, its inputs named i0, i1, ... and outputs o0, ..."""
    from onnx.reference import ReferenceEvaluator  # noqa: TID251 - slow to import, and seldom needed

    node = key.node
    inputs = ["" if kind is None else f"i{k}" for k, kind in enumerate(types)]
    outputs = [f"o{k}" if name else "" for k, name in enumerate(node.outputs)]
    proto = onnx.helper.make_node(node.operator, inputs, outputs, domain=node.domain)
    proto.attribute.extend(attribute_proto(node, name, value) for name, value in node.attributes.items())
    infos = []
    for k, kind in enumerate(types):
        if kind is not None:
            info = onnx.ValueInfoProto(name=f"i{k}")
            info.type.ParseFromString(kind)
            infos.append(info)
    graph = onnx.helper.make_graph(
        [proto], "node", infos, [onnx.helper.make_empty_tensor_value_info(name) for name in outputs if name]
    )
    version = node.version
    opsets = [onnx.helper.make_opsetid(node.domain, version)]
    if node.domain:
        opsets.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return ReferenceEvaluator(model)
