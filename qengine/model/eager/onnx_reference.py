"""One node by onnx.reference: what has no handler here, or what a handler refuses.

Results are real numbers, integers, text, lists of arrays (sequences) or None (an empty optional), as ONNX defines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx  # noqa: TID251 - a node is handed to onnx
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError, first_line
from qengine.model.graph import Node
from qengine.model.protos import IR_VERSION, attribute_proto, schema

Element = NDArray[Any] | list[Any] | None
"""What an input or output may be."""

_RENAMED = {"Scatter": "ScatterElements"}
"""Old operators that onnx.reference has under their new name alone."""
_FIRST = {"DequantizeLinear": 19}
"""Operators that onnx.reference has from an opset on, which is as good for those before."""


def is_known(node: Node) -> bool:
    """Whether ONNX defines the node's operator."""
    defined = schema(node.operator, node.version, node.domain)
    return defined is not None and not defined.deprecated


def defines(operator: str, domain: str) -> bool:
    """Whether ONNX defines an operator, at any opset."""
    return bool(onnx.defs.has(operator, domain))


def is_deterministic(node: Node) -> bool:
    """Whether the same inputs always give the same outputs."""
    defined = schema(node.operator, node.version, node.domain)
    if defined is None:
        return False
    return bool(defined.node_determinism != onnx.defs.OpSchema.NodeDeterminism.NonDeterministic)


def compute(node: Node, inputs: Sequence[Element]) -> list[Element]:
    """Return the outputs of a node, None for those that are left out.

    Parameters
    ----------
    node
        Without graphs in its attributes.
    inputs
        One for each name in `node.inputs`; None also where the name is empty.

    Raises
    ------
    UnsupportedError
        If onnx.reference does not implement the operator at this opset.
    ModelError
        If it refuses the inputs.
    """
    if (node.operator, node.domain) == ("Optional", ""):  # of which onnx.reference makes a sequence
        return [inputs[0] if inputs else None]
    _check_types(node, inputs)
    inputs = _spelled_out(node, inputs)
    types = tuple(_type(array) if name else None for name, array in zip(node.inputs, inputs, strict=True))
    with node.blamed():
        try:
            evaluator = _evaluator(_Key(node), types)
            feeds = {f"i{k}": array for k, array in enumerate(inputs) if node.inputs[k]}
            found = iter(evaluator.run(None, feeds))
        except (NotImplementedError, ImportError) as error:
            raise UnsupportedError(f"onnx.reference does not compute it: {first_line(error)}") from None
        except (UnsupportedError, MemoryError):
            raise
        except Exception as error:  # foreign code with no list of what it raises
            raise ModelError(f"onnx.reference cannot compute it: {first_line(error)}") from error
        return [_element(next(found)) if name else None for name in node.outputs]


def _spelled_out(node: Node, inputs: Sequence[Element]) -> Sequence[Element]:
    """Return inputs in the form in which onnx.reference reads them."""
    signal = inputs[0] if inputs else None
    if (node.operator, node.domain) == ("STFT", "") and isinstance(signal, np.ndarray) and signal.ndim == 2:
        return [signal[..., None], *inputs[1:]]  # real, without the axis that says so: as torch writes it
    if (node.operator, node.domain) == ("CumSum", "") and isinstance(inputs[1], np.ndarray) and inputs[1].size == 1:
        return [signal, inputs[1].reshape(())]  # torch writes a vector of one axis too
    return inputs


def _check_types(node: Node, inputs: Sequence[Element]) -> None:
    """Refuse element types that ONNX does not allow for the operator: onnx.reference computes with what it gets."""
    defined = schema(node.operator, node.version, node.domain)
    if defined is None or not defined.inputs:
        return
    bound: dict[str, tuple[str, str]] = {}
    for k, (name, array) in enumerate(zip(node.inputs, inputs, strict=True)):
        formal = defined.inputs[min(k, len(defined.inputs) - 1)]
        if not name or not isinstance(array, np.ndarray):
            continue
        kind = onnx.TensorProto.DataType.Name(onnx.helper.np_dtype_to_tensor_dtype(array.dtype)).lower()
        allowed = formal.types
        if not any(f"tensor({kind})" in one for one in allowed):
            listed = ", ".join(sorted(one.removeprefix("tensor(").removesuffix(")") for one in allowed))
            raise ModelError(f"{node}: '{name}' is {kind}; {node.operator} takes {listed}")
        first = bound.setdefault(formal.type_str, (kind, name))
        if formal.is_homogeneous and first[0] != kind:
            raise ModelError(f"{node}: inputs '{first[1]}' ({first[0]}) and '{name}' ({kind}) differ in type")


def _element(found: Any) -> Element:
    if found is None or isinstance(found, list):
        return found
    if hasattr(found, "todense") or isinstance(found, dict):
        raise UnsupportedError(f"gives a {type(found).__name__}, which is not supported")
    return np.asarray(found)


class _Key:
    """A node, the same only as itself: its attributes may hold arrays, which have no hash."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def __hash__(self) -> int:
        return id(self.node)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.node is self.node


def _type(array: Element) -> bytes:
    """Return the type of an input, of an open shape."""
    if array is None:
        kind = onnx.TypeProto()
        kind.optional_type.elem_type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    elif isinstance(array, list):
        dtype = next((a.dtype for a in array if a is not None), np.dtype(np.float32))
        element = onnx.helper.make_tensor_type_proto(onnx.helper.np_dtype_to_tensor_dtype(dtype), None)
        kind = onnx.helper.make_sequence_type_proto(element)
    else:
        code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        kind = onnx.helper.make_tensor_type_proto(code, [None] * array.ndim)
    return bytes(kind.SerializeToString())


@lru_cache(maxsize=4096)
def _evaluator(key: _Key, types: tuple[bytes | None, ...]) -> Any:
    from onnx.reference import ReferenceEvaluator  # noqa: TID251 - slow to import, and seldom needed

    node = key.node
    inputs = ["" if kind is None else f"i{k}" for k, kind in enumerate(types)]
    outputs = [f"o{k}" if name else "" for k, name in enumerate(node.outputs)]
    operator = _RENAMED.get(node.operator, node.operator) if not node.domain else node.operator
    proto = onnx.helper.make_node(operator, inputs, outputs, domain=node.domain)
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
    version = node.version if node.domain else max(node.version, _FIRST.get(operator, 0))
    if operator != node.operator:
        version = max(version, schema(operator, onnx.defs.onnx_opset_version(), "").since_version)
    opsets = [onnx.helper.make_opsetid(node.domain, version)]
    if node.domain:
        opsets.append(onnx.helper.make_opsetid("", onnx.defs.onnx_opset_version()))
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return ReferenceEvaluator(model)
