"""Guards around onnx's shape inference: what is left out of a model because onnx's C++ code would end the process.

Checks of nodes alone (`validation`) do not suffice, as inference also trusts the types that it inferred itself:

- It follows a null pointer where a tensor has no type at all. So every tensor gets a type, which may be empty.
- A few operators index a shape with a number from another shape. Their nodes take part only where the shapes of their
  inputs are known to be safe; `infer` runs again for them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import onnx.shape_inference  # noqa: TID251 - the loader's own
from onnx import (  # noqa: TID251 - the loader's own
    IR_VERSION,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorShapeProto,
    TypeProto,
)

from qengine.model.loader.names import standard, subgraphs
from qengine.model.loader.validation import MAX_AXES

_MAX_PASSES = 8
"""Most runs of inference for one model: each may learn the shapes that the next guarded nodes need."""

_Types = Mapping[str, TypeProto]


def infer(model: ModelProto, strict: bool) -> ModelProto:
    """Return the model with inferred types and shapes, as far as inference is safe; guarded nodes may be missing.

    Parameters
    ----------
    model : model whose nodes passed `check_nodes`; it is changed.
    strict : whether an inference that fails raises.
    """
    nodes = list(model.graph.node)
    model.ir_version = IR_VERSION  # before 4, inference ignores initializers that are not inputs too
    _add_types(model.graph)
    version = _version(model)
    _drop_inner(model.graph, version)
    kept = {k for k, node in enumerate(nodes) if not is_guarded(node, version)}
    inferred = _infer(model, [nodes[k] for k in sorted(kept)], strict)
    for _ in range(_MAX_PASSES):
        types = types_of(inferred.graph)
        safe = {k for k, node in enumerate(nodes) if k not in kept and GUARDS[node.op_type].is_safe(node, types)}
        if not safe:
            break
        kept |= safe
        inferred = _infer(model, [nodes[k] for k in sorted(kept)], strict)
    return inferred


def propagate(model: ModelProto, strict: bool) -> ModelProto:
    """Return an inferred model with what arithmetic on shapes adds; guarded nodes are left out."""
    version = _version(model)
    nodes = [node for node in model.graph.node if not is_guarded(node, version)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True)


def types_of(graph: GraphProto) -> dict[str, TypeProto]:
    """Return the type of each tensor of a graph, by name."""
    types = _constant_types(graph)
    return types | {info.name: info.type for part in (graph.input, graph.value_info, graph.output) for info in part}


def _constant_types(graph: GraphProto) -> dict[str, TypeProto]:
    return {
        one.name: TypeProto(tensor_type=TypeProto.Tensor(elem_type=one.data_type, shape=_shape(one.dims)))
        for one in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer))
    }


def _shape(lengths: Iterable[int]) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dimension(dim_value=length) for length in lengths])


def _infer(model: ModelProto, nodes: list[NodeProto], strict: bool) -> ModelProto:
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return onnx.shape_inference.infer_shapes(model, strict_mode=strict)


def is_guarded(node: NodeProto, version: int) -> bool:
    """Whether inference is safe with a node only where the shapes of its inputs are; `version` is ONNX's opset."""
    guard = GUARDS.get(node.op_type)
    return guard is not None and version < guard.until and not standard(node.domain)


def _add_types(graph: GraphProto) -> None:
    """Give a type to every tensor of a graph, and of the graphs in its nodes, in place."""
    declared = set()
    for part in (graph.input, graph.output, graph.value_info):
        for info in part:
            info.type.SetInParent()
            declared.add(info.name)
    for node in graph.node:
        for name in filter(None, node.output):
            if name not in declared:
                graph.value_info.add(name=name).type.SetInParent()
        for inner in subgraphs(node):
            _add_types(inner)


def _drop_inner(graph: GraphProto, version: int) -> None:
    """Remove the guarded nodes from the graphs inside of a graph's nodes."""
    for node in graph.node:
        for inner in subgraphs(node):
            safe = [one for one in inner.node if not is_guarded(one, version)]
            if len(safe) < len(inner.node):
                del inner.node[:]
                inner.node.extend(safe)
            _drop_inner(inner, version)


def _version(model: ModelProto) -> int:
    """Return the opset of ONNX's own domain."""
    return max((one.version for one in model.opset_import if not standard(one.domain)), default=1)


def _lengths(name: str, types: _Types) -> TensorShapeProto | None:
    """Return the shape of a tensor; None where it has none."""
    kind = types.get(name)
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return kind.tensor_type.shape


def _is_safe_einsum(node: NodeProto, types: _Types) -> bool:
    """Whether each term has as many letters as its operand has axes; at other characters inference does not advance."""
    equation = next((one.s for one in node.attribute if one.name == "equation"), b"").replace(b" ", b"")
    if not re.fullmatch(rb"[A-Za-z.,]*(->[A-Za-z.]*)?", equation):
        return False
    terms = equation.partition(b"->")[0].split(b",")
    if len(terms) != len(node.input):
        return False
    for term, name in zip(terms, node.input, strict=True):
        shape = _lengths(name, types)
        before, dots, after = term.partition(b"...")
        letters = len(before) + len(after)
        if (
            shape is None
            or b"." in before + after
            or len(shape.dim) < letters
            or (not dots and len(shape.dim) > letters)
        ):
            return False
    return True


def _is_safe_gather_nd(node: NodeProto, types: _Types) -> bool:
    """Whether the number of indexed axes is not negative: inference reads the axes of the data from it on."""
    batch_axes = next((one.i for one in node.attribute if one.name == "batch_dims"), 0)
    data, indices = (_lengths(name, types) for name in node.input)
    if data is None or indices is None or not indices.dim or batch_axes < 0:
        return False
    return bool(0 <= batch_axes + indices.dim[-1].dim_value <= len(data.dim))


def _is_safe_expand(node: NodeProto, types: _Types) -> bool:
    """Whether the vector of lengths is short: inference makes an axis for each element."""
    lengths = _lengths(node.input[1], types)
    return lengths is not None and (len(lengths.dim) != 1 or lengths.dim[0].dim_value <= MAX_AXES)


@dataclass(frozen=True)
class _Guard:
    """Guard of an operator.

    Attributes
    ----------
    is_safe : function that says whether inference is safe with a node, given the types so far.
    until : first opset at which inference needs no guard.
    """

    is_safe: Callable[[NodeProto, _Types], bool]
    until: int = 2**31


GUARDS: Mapping[str, _Guard] = {
    "Einsum": _Guard(_is_safe_einsum),
    "Expand": _Guard(_is_safe_expand, until=13),
    "GatherND": _Guard(_is_safe_gather_nd),
}
"""The guard of each operator of ONNX's own domain that needs one."""
