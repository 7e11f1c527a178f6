"""Checks of nodes against ONNX's definitions of their operators, before onnx infers shapes or converts the opset.

onnx's own inference and conversion are C++ code that trusts a node: they index vectors by an attribute, narrow 64-bit
integers to 32 bits, and count on as many inputs and outputs as the operator has. Some files end the process there. So
no node reaches onnx whose attributes, inputs and outputs are not those that its operator has at its opset.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from onnx import AttributeProto, GraphProto, NodeProto, ValueInfoProto  # noqa: TID251 - the loader's own
from onnx.defs import OpSchema  # noqa: TID251 - the loader's own

from qengine.errors import ModelError, did_you_mean
from qengine.model.loader.names import label, standard, subgraphs
from qengine.model.schemas import schema

_LEAST, _MOST = -(2**31), 2**31 - 1

MAX_AXES = 64
"""Most axes of a tensor, as in NumPy 2."""

_ANY_NUMBER = {
    ("Constant", "value_int"),
    ("Constant", "value_ints"),
    ("Shape", "start"),
    ("Shape", "end"),
    ("Slice", "starts"),
    ("Slice", "ends"),
    ("TfIdfVectorizer", "pool_int64s"),
    ("NegativeLogLikelihoodLoss", "ignore_index"),
    ("SoftmaxCrossEntropyLoss", "ignore_index"),
}
"""Attributes of ONNX's own domain that hold elements, or bounds beyond every axis: any 64-bit integer."""


@dataclass(frozen=True)
class _Definition:
    """Definition of an operator, as far as nodes are compared with it.

    Attributes
    ----------
    inputs, outputs : least and greatest number.
    required_inputs : names of the inputs that must be given, by position.
    attributes : type of each attribute.
    required : attributes that must be given.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    required_inputs: Mapping[int, str]
    attributes: Mapping[str, int]
    required: tuple[str, ...]


@cache
def _definition(operator: str, version: int, domain: str) -> _Definition | None:
    """Return the definition of an operator at an opset; None where onnx has none."""
    defined = schema(operator, version, domain)
    if defined is None:
        return None
    single = OpSchema.FormalParameterOption.Single
    return _Definition(
        (defined.min_input, defined.max_input),
        (defined.min_output, defined.max_output),
        {k: formal.name for k, formal in enumerate(defined.inputs) if formal.option == single},
        {name: int(attribute.type.value) for name, attribute in defined.attributes.items()},
        tuple(name for name, attribute in defined.attributes.items() if attribute.required),
    )


def check_nodes(graph: GraphProto, opsets: Mapping[str, int]) -> None:
    """Check every node of a graph, and of the graphs in its nodes, that onnx has a definition of.

    Parameters
    ----------
    graph : graph without calls of local functions.
    opsets : opset of each operator domain.

    Raises
    ------
    ModelError
        If a node has an unknown attribute, one of another type or out of range, too few or too many inputs or outputs,
        or a tensor is declared with more axes than NumPy has.
    """
    for infos in (graph.input, graph.value_info, graph.output):
        _check_axes(infos)
    for node in graph.node:
        domain = standard(node.domain)
        defined = _definition(node.op_type, opsets.get(domain, 0), domain)
        if defined is not None:
            _check_counts(node, defined, opsets[domain])
            _check_attributes(node, defined, opsets[domain])
            _check_split(node)
        for inner in subgraphs(node):
            check_nodes(inner, opsets)


def _check_axes(infos: Iterable[ValueInfoProto]) -> None:
    for info in infos:
        axes = len(info.type.tensor_type.shape.dim)
        if axes > MAX_AXES:
            raise ModelError(f"{info.name!r} has {axes} axes, more than {MAX_AXES}; export the model again")


def _check_counts(node: NodeProto, defined: _Definition, version: int) -> None:
    """Check the numbers of inputs and outputs; empty names at the end of a list count as left out."""
    for what, names, (least, most) in (
        ("inputs", node.input, defined.inputs),
        ("outputs", node.output, defined.outputs),
    ):
        count = len(names)
        while count > least and not names[count - 1]:
            count -= 1
        if not least <= count <= most:
            allowed = str(least) if least == most else f"{least} to {most}" if most < _MOST else f"{least} or more"
            raise ModelError(
                f"{label(node)} has {count} {what}, and {node.op_type} takes {allowed} at opset {version}; "
                "export the model again"
            )
    for k, name in defined.required_inputs.items():
        if k < len(node.input) and not node.input[k]:
            raise ModelError(f"{label(node)}: input '{name}' is missing; export the model again")


def _check_attributes(node: NodeProto, defined: _Definition, version: int) -> None:
    for attribute in node.attribute:
        name = attribute.name
        kind = defined.attributes.get(name)
        if kind is None:
            listed = ", ".join(defined.attributes) or "none"
            raise ModelError(
                f"{label(node)} has the attribute {name!r}, which does not exist at opset {version}"
                f"{did_you_mean(name, defined.attributes)}; there are {listed}"
            )
        if attribute.type != kind:
            found, allowed = (_type_name(one) for one in (attribute.type, kind))
            raise ModelError(
                f"{label(node)}: attribute {name!r} is of type {found}, and {allowed} is needed; export the model again"
            )
        _check_range(node, attribute)
    given = {attribute.name for attribute in node.attribute}
    for name in defined.required:
        if name not in given:
            raise ModelError(f"{label(node)}: attribute '{name}' is missing; export the model again")


def _check_split(node: NodeProto) -> None:
    """Check that the attribute of a Split that counts its outputs does so: inference makes a list of that length."""
    for attribute in node.attribute:
        if attribute.name == "num_outputs" and node.op_type == "Split" and attribute.i != len(node.output):
            raise ModelError(
                f"{label(node)} has {len(node.output)} outputs, and its num_outputs is {attribute.i}; "
                "export the model again"
            )


def _type_name(kind: int) -> str:
    return AttributeProto.AttributeType.Name(kind) if kind in AttributeProto.AttributeType.values() else str(kind)


def _check_range(node: NodeProto, attribute: AttributeProto) -> None:
    """Check that the integers of an attribute have 32 bits; elements of tables and constants may have 64."""
    if (node.op_type, attribute.name) in _ANY_NUMBER:
        return
    is_table = standard(node.domain) != "" and (attribute.type == AttributeProto.INTS or "int64" in attribute.name)
    if is_table or attribute.type not in (AttributeProto.INT, AttributeProto.INTS):
        return
    for number in (attribute.i,) if attribute.type == AttributeProto.INT else attribute.ints:
        if not _LEAST <= number <= _MOST:
            raise ModelError(
                f"{label(node)}: attribute {attribute.name!r} holds {number}, beyond 32 bits; export the model again"
            )
