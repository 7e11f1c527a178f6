"""Shape inference: element types and shapes of a model's tensors that onnx infers without an input."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx  # noqa: TID251 - the loader's own
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto  # noqa: TID251 - the loader's own

from qengine.errors import ModelError
from qengine.model.graph import Dim, Graph, Value
from qengine.model.loader.axes import with_axes
from qengine.model.loader.graph_reader import value
from qengine.model.loader.guards import infer, propagate
from qengine.model.loader.names import is_constant
from qengine.model.ops.qonnx import DOMAINS, OPERATORS
from qengine.model.schemas import output_types

_MAX_SHAPE_ELEMENTS = 1024
"""Largest constant that may be a shape; larger ones are given to onnx without their elements."""

_MAX_VECTOR = 16_384
"""Longest vector with which onnx may evaluate arithmetic on shapes: it keeps an object for each element."""

_INFERENCE_ERROR = re.compile(r"\(op_type:([^,)]*)(?:, node name: (.*?))?\): \[\w+\] (.*)")

_ML = "ai.onnx.ml"
_UNKNOWN_TYPE = re.compile(r"\b(is|was|be) null\b|expected to have type info|\btype=0\b")
"""Reasons that say that a type is unknown: inference knows none of Scaler and of other operators of ai.onnx.ml."""
_MAX_ERROR = 4000

_ONNX_OWN = re.compile(r"Inference error\(s\)|'(sizes|scales)' \(0\) must be same as rank")
"""Errors of onnx and not of the model: in a function that it expands itself, and a length that it does not know."""


def with_inferred(graph: Graph, proto: GraphProto, opsets: Mapping[str, int]) -> Graph:
    """Return the graph with inferred types and shapes; a declaration stays where it does not contradict them.

    Where onnx infers no shape, the number of axes is there as far as `axes` can tell it.
    """
    inferred = _inferred(graph, proto, opsets)
    values = dict(graph.values)
    for one in inferred:
        declared = values.get(one.name, one)
        dtype = one.dtype if declared.dtype is None else declared.dtype
        if one.dtype is not None and dtype != one.dtype:
            raise ModelError(
                f"tensor {one.name!r} is declared as {dtype}, but its node produces {one.dtype}; export the model again"
            )
        shape = _merged(declared.shape, one.shape)
        values[one.name] = Value(one.name, dtype, shape, declared.container or one.container)
    outputs = tuple(values[output.name] for output in graph.outputs)
    return with_axes(replace(graph, values=values, outputs=outputs))


def _merged(declared: tuple[Dim, ...] | None, inferred: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """Return the shape with all that either knows; inference overrides a wrong declaration, as in ONNX Runtime."""
    if declared is None or inferred is None:
        return declared if inferred is None else inferred
    if len(declared) != len(inferred):
        return inferred
    return tuple(
        length if isinstance(length, int) or own is None else own
        for own, length in zip(declared, inferred, strict=True)
    )


def _inferred(graph: Graph, proto: GraphProto, opsets: Mapping[str, int]) -> list[Value]:
    """Return the values that onnx infers for the outer graph; none if inference fails for a reason of its own.

    Raises
    ------
    ModelError
        If nodes and constants contradict each other under any declaration of the tensors in between.
    """
    fed = {one.name for one in (*graph.inputs, *graph.overridable)}
    defined = _defined(graph)
    values = [*defined, *(one for one in graph.values.values() if one.name not in fed)]
    # Inference takes external weights in an If or Loop for an error, as it cannot read them.
    is_flat = not any(node.graphs for node in graph.nodes)
    # Strict inference also fails for a wrong declaration, which is accepted; the second attempt has no declarations.
    for declared, strict in ((values, True), (defined, True), (values, False)):
        try:
            inferred = _run(_skeleton(graph, proto, opsets, declared), strict)
        except Exception as error:  # foreign code with no list of what it raises; a run does not need the result
            fault = _INFERENCE_ERROR.search(str(error)[:_MAX_ERROR])  # a name in it may have any length
        else:
            return [without_generated(one) for one in inferred]
        if fault and _UNKNOWN_TYPE.search(fault.group(3)):
            continue
        if fault and declared is defined and is_flat and not _ONNX_OWN.search(fault.group(3)):
            operator, name, reason = fault.groups()
            which = f"node '{name}' ({operator})" if name else f"a node without a name ({operator})"
            raise ModelError(f"{which} cannot run: {reason}; export the model again")
    return []


def _defined(graph: Graph) -> list[Value]:
    """Return the element types that definitions give to results for which onnx infers none: those of ai.onnx.ml."""
    types = {name: array.dtype for name, array in graph.constants.items()}
    known: dict[str, np.dtype[Any] | None] = {**types, **{one.name: one.dtype for one in graph.values.values()}}
    found = []
    for node in graph.nodes:
        if node.domain != _ML:
            continue
        dtypes = output_types(node, [known.get(name) for name in node.inputs])
        for name, dtype in zip(node.outputs, dtypes, strict=True):
            if name and dtype is not None and name not in known:
                known[name] = dtype
                found.append(Value(name, dtype))
    return found


def _run(model: ModelProto, strict: bool) -> list[Value]:
    """Return the inferred values; a second pass evaluates arithmetic on shapes where it is cheap."""
    model = infer(model, strict)
    inferred = _values(model.graph)
    shapes = [one.shape for one in (*inferred, *map(value, model.graph.input))]
    is_costly = any(shape is not None and len(shape) == 1 and _is_long(shape[0]) for shape in shapes)
    if is_costly or not any(node.op_type in ("Shape", "Size") for node in model.graph.node):
        return inferred
    return _values(propagate(model, strict).graph)


def _values(graph: GraphProto) -> list[Value]:
    return [value(info) for info in (*graph.value_info, *graph.output)]


def _is_long(dim: Dim) -> bool:
    return isinstance(dim, int) and dim > _MAX_VECTOR


def _skeleton(graph: Graph, proto: GraphProto, opsets: Mapping[str, int], declared: Iterable[Value]) -> ModelProto:
    """Return the model without large constants: fast to copy, and small enough for protobuf."""
    model = ModelProto(ir_version=onnx.IR_VERSION)
    for domain, version in opsets.items():
        model.opset_import.add(domain=domain, version=version)
    model.graph.node.extend(map(_inferable, (node for node in proto.node if not is_constant(node))))
    written = {info.name: info for info in (*proto.input, *proto.value_info, *proto.output)}

    def info(one: Value) -> ValueInfoProto:
        return written[one.name] if one.container and one.name in written else _value_info(one)

    model.graph.input.extend(info(one) for one in (*graph.inputs, *graph.overridable))
    overridable = {one.name for one in graph.overridable}
    for name, array in graph.constants.items():
        if name in overridable:
            continue
        if array.size <= _MAX_SHAPE_ELEMENTS:  # may be the shape of a Reshape
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:
            model.graph.input.append(_value_info(Value(name, array.dtype, array.shape)))
    known = {one.name: one for one in declared}
    # An output without a type would hide the type of an input or constant of its name.
    sources = {one.name: one for one in (*graph.inputs, *graph.overridable)}
    sources |= {name: Value(name, array.dtype, array.shape) for name, array in graph.constants.items()}
    for one in graph.outputs:
        model.graph.output.append(info(sources.get(one.name) or known.get(one.name, Value(one.name))))
    outputs = {one.name for one in graph.outputs}
    model.graph.value_info.extend(info(one) for name, one in known.items() if name not in outputs)
    return model


def _inferable(node: NodeProto) -> NodeProto:
    """Return a node that onnx has a definition of, with the same types and shapes: of a rounding of QONNX, Identity."""
    if node.domain not in DOMAINS or node.op_type not in OPERATORS or not node.input or not node.output:
        return node
    return NodeProto(op_type="Identity", name=node.name, input=node.input[:1], output=node.output[:1])


def _value_info(one: Value) -> ValueInfoProto:
    if one.dtype is None:
        return onnx.helper.make_empty_tensor_value_info(one.name)
    return onnx.helper.make_tensor_value_info(one.name, onnx.helper.np_dtype_to_tensor_dtype(one.dtype), one.shape)


def without_generated(one: Value) -> Value:
    """Return the value without the names ("unk__0") that inference generates for unknown lengths."""
    if one.shape is None:
        return one
    return replace(one, shape=tuple(None if str(dim).startswith("unk__") else dim for dim in one.shape))
