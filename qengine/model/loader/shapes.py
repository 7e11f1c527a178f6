"""What can be said of the tensors of a model before its input is known."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

import onnx  # noqa: TID251 - the loader's own
import onnx.shape_inference  # noqa: TID251 - the loader's own
from onnx import GraphProto, ModelProto, ValueInfoProto  # noqa: TID251 - the loader's own

from qengine.errors import ModelError
from qengine.model.graph import Dim, Graph, Value
from qengine.model.loader.names import is_constant
from qengine.model.loader.reading import value

_MOST_SHAPE_ELEMENTS = 1024
"""Up to so many numbers, a constant may be a shape, and goes along."""

_LONGEST_VECTOR = 16_384
"""Following numbers through arithmetic on shapes, onnx keeps an object for each element of every vector."""

_FAULT = re.compile(r"\(op_type:([^,)]*)(?:, node name: (.*?))?\): \[\w+\] (.*)")


def with_inferred(graph: Graph, proto: GraphProto, opsets: Mapping[str, int]) -> Graph:
    """Return the graph with what onnx infers of its values; what the model says is kept where they agree."""
    inferred = _inferred(graph, proto, opsets)
    values = dict(graph.values)
    for found in inferred:
        said = values.get(found.name, found)
        dtype = found.dtype if said.dtype is None else said.dtype
        if found.dtype is not None and dtype != found.dtype:
            raise ModelError(
                f"tensor {found.name!r} is declared as {dtype}, but its node produces {found.dtype}; "
                "export the model again"
            )
        values[found.name] = Value(
            found.name, dtype, _merged(said.shape, found.shape), said.container or found.container
        )
    return replace(graph, values=values, outputs=tuple(values[output.name] for output in graph.outputs))


def _merged(declared: tuple[Dim, ...] | None, inferred: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """Return the axes that are known from either; a wrong declaration gives way, as in ONNX Runtime."""
    if declared is None or inferred is None:
        return declared if inferred is None else inferred
    if len(declared) != len(inferred):
        return inferred
    return tuple(
        found if isinstance(found, int) or said is None else said
        for said, found in zip(declared, inferred, strict=True)
    )


def _inferred(graph: Graph, proto: GraphProto, opsets: Mapping[str, int]) -> list[Value]:
    """Return what onnx infers of the values of the outer graph.

    Raises
    ------
    ModelError
        If nodes and constants contradict each other, whatever is declared of the values in between.
    """
    fed = {one.name for one in (*graph.inputs, *graph.overridable)}
    values = [one for one in graph.values.values() if one.name not in fed]
    # Weights inside of an If or Loop may be external, which inference cannot read and takes for a fault.
    closed = not any(isinstance(held, Graph) for node in graph.nodes for held in node.attributes.values())
    # A strict run fails for a wrong declaration too, which is no reason to refuse: the second one has none.
    for declared, strict in ((values, True), ([], True), (values, False)):
        try:
            found = _run(_skeleton(graph, proto, opsets, declared), strict)
        except Exception as error:  # foreign code with no list of what it raises; its answer is an aid
            fault = _FAULT.search(str(error))
        else:
            return [_without_invented(one) for one in found]
        # Of a function that onnx expands by itself the fault may be onnx's own.
        if fault and not declared and closed and "Inference error(s)" not in fault.group(3):
            operator, name, reason = fault.groups()
            which = f"node '{name}' ({operator})" if name else f"a node without a name ({operator})"
            raise ModelError(f"{which} cannot run: {reason}; export the model again")
    return []


def _run(model: ModelProto, strict: bool) -> list[Value]:
    """Return what onnx infers, in a second pass also from arithmetic on shapes, where that is cheap."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=strict).graph
    found = [value(info) for info in (*graph.value_info, *graph.output)]
    known = [one.shape for one in (*found, *map(value, model.graph.input))]
    long = any(shape is not None and len(shape) == 1 and _is_long(shape[0]) for shape in known)
    if long or not any(node.op_type in ("Shape", "Size") for node in model.graph.node):
        return found
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True).graph
    return [value(info) for info in (*graph.value_info, *graph.output)]


def _is_long(dim: Dim) -> bool:
    return isinstance(dim, int) and dim > _LONGEST_VECTOR


def _skeleton(graph: Graph, proto: GraphProto, opsets: Mapping[str, int], declared: Iterable[Value]) -> ModelProto:
    """Return the model without its weights: fast to copy, and below the size that protobuf can hold."""
    model = ModelProto(ir_version=onnx.IR_VERSION)
    for domain, version in opsets.items():
        model.opset_import.add(domain=domain, version=version)
    model.graph.node.extend(node for node in proto.node if not is_constant(node))
    written = {info.name: info for info in (*proto.input, *proto.value_info, *proto.output)}

    def info(one: Value) -> ValueInfoProto:
        return written[one.name] if one.container and one.name in written else _info(one)

    model.graph.input.extend(info(one) for one in (*graph.inputs, *graph.overridable))
    overridable = {one.name for one in graph.overridable}
    for name, array in graph.constants.items():
        if name in overridable:
            continue
        if array.size <= _MOST_SHAPE_ELEMENTS:  # may be the shape that a Reshape asks for
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        else:
            model.graph.input.append(_info(Value(name, array.dtype, array.shape)))
    known = {one.name: one for one in declared}
    model.graph.output.extend(info(known.get(one.name, Value(one.name))) for one in graph.outputs)
    outputs = {one.name for one in graph.outputs}
    model.graph.value_info.extend(info(one) for name, one in known.items() if name not in outputs)
    return model


def _info(one: Value) -> ValueInfoProto:
    if one.dtype is None:
        return onnx.helper.make_empty_tensor_value_info(one.name)
    return onnx.helper.make_tensor_value_info(one.name, onnx.helper.np_dtype_to_tensor_dtype(one.dtype), one.shape)


def _without_invented(one: Value) -> Value:
    """Return the value without the names that inference gives to lengths that it does not know."""
    if one.shape is None:
        return one
    return replace(one, shape=tuple(None if str(dim).startswith("unk__") else dim for dim in one.shape))
