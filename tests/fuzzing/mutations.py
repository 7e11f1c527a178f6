"""Mutations of a model that keep it a well-formed protobuf message and break what it means.

Each function changes one thing of a `ModelProto` in place. Values come from lists of numbers at which code usually
fails: 0, -1, the limits of integer types, infinities and NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

INTEGERS = (
    *(0, 0, 1, 1, 2, 2, 3, 4, 5, 7, 8, 16, 100, -1, -1, -2, -3, -5, -100, 127, 128, 255, 256, 65535),
    *(2**24 + 1, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53 + 1, 2**58, 2**62, 2**63 - 1, -(2**63)),
)
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.5, 1e-45, 1e-30, 1e30, 3.4e38, np.inf, -np.inf, np.nan)
TEXTS = ("", "a", "SAME_UPPER", "linear", "float32", "\x00", "é", "x" * 300, "(a*)*b", "..,->", "ij,jk->ik")
_TYPES = (
    *(AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING, AttributeProto.TENSOR),
    *(AttributeProto.FLOATS, AttributeProto.INTS, AttributeProto.STRINGS),
)
_SCHEMAS: dict[str, list[str]] = {}
for _schema in onnx.defs.get_all_schemas():
    _SCHEMAS.setdefault(_schema.domain, []).append(_schema.name)
for _names in _SCHEMAS.values():
    _names.sort()

Rng = np.random.Generator


def pick(rng: Rng, choices):
    """Return one of the choices."""
    return choices[int(rng.integers(len(choices)))]


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """Yield the graph of the model and those inside of its nodes."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            pending.extend(attribute.g for attribute in node.attribute if attribute.HasField("g"))


def _node(rng: Rng, model: ModelProto) -> NodeProto | None:
    nodes = [node for graph in graphs(model) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    return pick(rng, nodes) if nodes else None


def _names(model: ModelProto) -> list[str]:
    names = {""}
    for graph in graphs(model):
        names.update(value.name for value in (*graph.input, *graph.output, *graph.initializer))
        names.update(name for node in graph.node for name in (*node.input, *node.output))
    return sorted(names)


def _tensor(rng: Rng) -> TensorProto:
    """Return a small tensor of any type and odd contents."""
    shape = pick(rng, ((), (0,), (1,), (2,), (3,), (4,), (1, 1), (2, 3), (2, 0), (1, 2, 2, 2)))
    if rng.random() < 0.5:
        array = np.array([pick(rng, INTEGERS) for _ in range(int(np.prod(shape)))], object).reshape(shape)
        array = array.astype(np.int64)
        array = array.astype(pick(rng, (np.int64, np.int64, np.int32, np.int8, np.uint8, np.bool_)))
    else:
        array = np.array([pick(rng, REALS) for _ in range(int(np.prod(shape)))]).reshape(shape)
        with np.errstate(all="ignore"):
            array = array.astype(pick(rng, (np.float32, np.float32, np.float16, np.float64)))
    return onnx.numpy_helper.from_array(np.asarray(array))


def _fill(rng: Rng, attribute: AttributeProto, kind: int) -> None:
    """Give an attribute a type and a value of it."""
    name = attribute.name
    attribute.Clear()
    attribute.name, attribute.type = name, kind
    count = pick(rng, (0, 1, 1, 2, 2, 3, 4, 4, 5, 8, 33))
    if kind == AttributeProto.FLOAT:
        attribute.f = pick(rng, REALS)
    elif kind == AttributeProto.INT:
        attribute.i = pick(rng, INTEGERS)
    elif kind == AttributeProto.STRING:
        attribute.s = pick(rng, TEXTS).encode()
    elif kind == AttributeProto.TENSOR:
        attribute.t.CopyFrom(_tensor(rng))
    elif kind == AttributeProto.FLOATS:
        attribute.floats.extend(pick(rng, REALS) for _ in range(count))
    elif kind == AttributeProto.INTS:
        attribute.ints.extend(pick(rng, INTEGERS) for _ in range(count))
    elif kind == AttributeProto.STRINGS:
        attribute.strings.extend(pick(rng, TEXTS).encode() for _ in range(count))


def change_attribute(rng: Rng, model: ModelProto) -> None:
    """Give an attribute another value of its type, or change one element of a list."""
    node = _node(rng, model)
    if node is None or not node.attribute:
        return
    attribute = pick(rng, node.attribute)
    if attribute.ints and rng.random() < 0.7:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = pick(rng, INTEGERS)
    elif attribute.type in _TYPES:
        _fill(rng, attribute, attribute.type)


def retype_attribute(rng: Rng, model: ModelProto) -> None:
    """Give an attribute a value of another type."""
    node = _node(rng, model)
    if node is not None and node.attribute:
        _fill(rng, pick(rng, node.attribute), pick(rng, _TYPES))


def add_attribute(rng: Rng, model: ModelProto) -> None:
    """Add an attribute that the operator's schema has, or one that it does not have, or a second of a name."""
    node = _node(rng, model)
    if node is None:
        return
    choice = rng.random()
    if choice < 0.8 and onnx.defs.has(node.op_type, node.domain):
        schema = onnx.defs.get_schema(node.op_type, node.domain)
        if schema.attributes:
            name = pick(rng, sorted(schema.attributes))
            kept = [one for one in node.attribute if one.name != name]
            del node.attribute[:]
            node.attribute.extend(kept)
            _fill(rng, node.attribute.add(name=name), int(schema.attributes[name].type.value))
    elif choice < 0.9:
        _fill(rng, node.attribute.add(name=pick(rng, ("axis", "bogus", ""))), pick(rng, _TYPES))
    elif node.attribute:
        node.attribute.add().CopyFrom(pick(rng, node.attribute))


def drop_attribute(rng: Rng, model: ModelProto) -> None:
    """Remove an attribute."""
    node = _node(rng, model)
    if node is not None and node.attribute:
        del node.attribute[int(rng.integers(len(node.attribute)))]


def change_inputs(rng: Rng, model: ModelProto) -> None:
    """Drop, add, replace or swap inputs of a node."""
    node = _node(rng, model)
    if node is None:
        return
    choice = rng.integers(4)
    if choice == 0 and node.input:
        del node.input[int(rng.integers(len(node.input)))]
    elif choice == 1:
        node.input.extend(pick(rng, _names(model)) for _ in range(pick(rng, (1, 1, 1, 2, 40))))
    elif choice == 2 and node.input:
        node.input[int(rng.integers(len(node.input)))] = pick(rng, _names(model))
    elif len(node.input) > 1:
        node.input[0], node.input[-1] = node.input[-1], node.input[0]


def change_outputs(rng: Rng, model: ModelProto) -> None:
    """Drop, add, empty or rename outputs of a node."""
    node = _node(rng, model)
    if node is None:
        return
    choice = rng.integers(4)
    if choice == 0 and node.output:
        del node.output[int(rng.integers(len(node.output)))]
    elif choice == 1:
        node.output.extend(f"extra{k}" for k in range(pick(rng, (1, 1, 2, 40))))
    elif node.output:
        node.output[int(rng.integers(len(node.output)))] = "" if choice == 2 else pick(rng, _names(model))


def change_operator(rng: Rng, model: ModelProto) -> None:
    """Make a node another operator of its domain, or move it to another domain."""
    node = _node(rng, model)
    if node is None:
        return
    if rng.random() < 0.9:
        node.op_type = pick(rng, _SCHEMAS.get(node.domain) or _SCHEMAS[""])
    else:
        node.domain = pick(rng, ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "bogus"))


def change_opset(rng: Rng, model: ModelProto) -> None:
    """Import another opset."""
    if model.opset_import:
        version = int(rng.integers(1, 30)) if rng.random() < 0.8 else pick(rng, (*INTEGERS, 2**40))
        pick(rng, model.opset_import).version = version


def change_declaration(rng: Rng, model: ModelProto) -> None:
    """Change the declared type or shape of a tensor."""
    values = [value for graph in graphs(model) for value in (*graph.input, *graph.output, *graph.value_info)]
    if not values:
        return
    tensor = pick(rng, values).type.tensor_type
    choice = rng.integers(5)
    if choice == 0:
        tensor.elem_type = int(rng.integers(0, 27))
    elif choice == 1 and tensor.shape.dim:
        pick(rng, tensor.shape.dim).dim_value = pick(rng, INTEGERS)
    elif choice == 2 and tensor.shape.dim:
        del tensor.shape.dim[int(rng.integers(len(tensor.shape.dim)))]
    elif choice == 3:
        tensor.shape.dim.add(dim_value=pick(rng, (0, 1, 2, -1)))
    else:
        tensor.ClearField("shape")


def change_constant(rng: Rng, model: ModelProto) -> None:
    """Change the elements, the type, the shape or the storage of an initializer."""
    constants = [one for graph in graphs(model) for one in graph.initializer]
    if not constants:
        return
    one = pick(rng, constants)
    choice = rng.integers(6)
    if choice <= 1:
        name = one.name
        one.CopyFrom(_tensor(rng))
        one.name = name
    elif choice == 2:
        one.data_type = int(rng.integers(0, 27))
    elif choice == 3 and one.dims:
        one.dims[int(rng.integers(len(one.dims)))] = pick(rng, INTEGERS)
    elif choice == 4 and one.raw_data:
        data = bytearray(one.raw_data)
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
        one.raw_data = bytes(data[: len(data) - int(rng.integers(0, 2))])
    else:
        one.data_location = TensorProto.EXTERNAL
        location = pick(rng, ("weights", "/etc/hostname", "../x", "", "a/../../b"))
        for key, value in (("location", location), ("offset", str(pick(rng, INTEGERS)))):
            one.external_data.add(key=key, value=value)


def change_nodes(rng: Rng, model: ModelProto) -> None:
    """Duplicate, delete or move a node."""
    graph = pick(rng, list(graphs(model)))
    if not graph.node:
        return
    k, choice = int(rng.integers(len(graph.node))), rng.integers(3)
    if choice == 0:
        copy = NodeProto.FromString(graph.node[k].SerializeToString())
        for i, name in enumerate(copy.output):
            copy.output[i] = f"{name} copy" if name else ""
        graph.node.append(copy)
        if copy.output and copy.output[0]:
            graph.output.add(name=copy.output[0])
    elif choice == 1:
        del graph.node[k]
    else:
        moved = NodeProto.FromString(graph.node[k].SerializeToString())
        del graph.node[k]
        graph.node.insert(0, moved)


def follow_with_operator(rng: Rng, model: ModelProto) -> None:
    """Add a node of any operator that reads tensors of the model."""
    domain = pick(rng, ("", "", "", "ai.onnx.ml"))
    name = pick(rng, _SCHEMAS[domain])
    schema = onnx.defs.get_schema(name, domain)
    count = min(max(schema.min_input, int(rng.integers(0, 4))), 6)
    names = [pick(rng, _names(model)) for _ in range(count)]
    outputs = [f"made{k}" for k in range(max(1, min(schema.min_output, 4)))]
    node = helper.make_node(name, names, outputs, domain=domain)
    for attribute, definition in schema.attributes.items():
        if definition.required or rng.random() < 0.3:
            kind = int(definition.type.value)
            if kind in _TYPES:
                _fill(rng, node.attribute.add(name=attribute), kind)
    model.graph.node.append(node)
    model.graph.output.add(name=outputs[0])
    if domain and all(one.domain != domain for one in model.opset_import):
        model.opset_import.add(domain=domain, version=schema.since_version)


def wrap_in_branch(rng: Rng, model: ModelProto) -> None:
    """Move the nodes of the model into a branch of an If, in a branch of an If, to a random depth."""
    graph = model.graph
    for depth in range(pick(rng, (1, 1, 2, 3, 12))):
        names = [value.name for value in graph.output]
        if not all(names) or len(set(names)) < len(names):
            return
        renamed = {name: f"{name} {depth}" for name in names}
        inner = GraphProto(name=f"inner{depth}")
        inner.node.extend(graph.node)
        for node in inner.node:
            for places in (node.input, node.output):
                places[:] = [renamed.get(name, name) for name in places]
        inner.output.extend(graph.output)
        for value in inner.output:
            value.name = renamed[value.name]
        values = [helper.make_node("Constant", [], [value.name], value_float=1.0) for value in inner.output]
        other = helper.make_graph(values, "other", [], list(inner.output))
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(rng.random() < 0.7), f"flag{depth}"))
        del graph.node[:]
        graph.node.append(helper.make_node("If", [f"flag{depth}"], names, then_branch=inner, else_branch=other))


def move_between_inputs_and_constants(rng: Rng, model: ModelProto) -> None:
    """Make a constant an input of the model, or give an input a constant."""
    graph = model.graph
    if graph.initializer and rng.random() < 0.5:
        k = int(rng.integers(len(graph.initializer)))
        one = graph.initializer[k]
        graph.input.append(helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)))
        if rng.random() < 0.7:
            del graph.initializer[k]
    elif graph.input:
        tensor = _tensor(rng)
        tensor.name = pick(rng, graph.input).name
        graph.initializer.append(tensor)


def change_outputs_of_model(rng: Rng, model: ModelProto) -> None:
    """Make any tensor an output, or remove an output."""
    if rng.random() < 0.7 or not model.graph.output:
        model.graph.output.add(name=pick(rng, _names(model)))
    else:
        del model.graph.output[int(rng.integers(len(model.graph.output)))]


def rename(rng: Rng, model: ModelProto) -> None:
    """Rename a tensor everywhere, to a name with odd characters or to one that exists."""
    names = _names(model)
    old = pick(rng, names)
    new = pick(rng, ("a/b:0", "..", "x y", "é\n\x1b[31m", "n" * 5000, "%s{}", *names))
    for graph in graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = new if value.name == old else value.name
        for node in graph.node:
            for names_of_node in (node.input, node.output):
                for k, name in enumerate(names_of_node):
                    names_of_node[k] = new if name == old else name


Mutation = Callable[[Rng, ModelProto], None]
MUTATIONS: tuple[Mutation, ...] = (
    *(change_attribute, change_attribute, change_attribute, retype_attribute, add_attribute, add_attribute),
    *(drop_attribute, change_inputs, change_inputs, change_outputs, change_operator, change_operator, change_opset),
    *(change_declaration, change_declaration, change_constant, change_constant, change_nodes, follow_with_operator),
    *(follow_with_operator, wrap_in_branch, move_between_inputs_and_constants, move_between_inputs_and_constants),
    *(change_outputs_of_model, rename),
)


def mutate(rng: Rng, model: ModelProto) -> list[str]:
    """Apply none to four mutations to a model in place, and return their names."""
    chosen = [pick(rng, MUTATIONS) for _ in range(pick(rng, (0, 1, 1, 1, 1, 2, 2, 3, 4)))]
    for mutation in chosen:
        mutation(rng, model)
    return [mutation.__name__ for mutation in chosen]
