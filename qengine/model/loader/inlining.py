"""Inlining: each call of a local function is replaced by the nodes of the function's body.

An ONNX file may define operators of its own as *local functions*: a list of nodes with formal inputs, outputs and
attributes, such as torch's exporter writes for layers. The rest of qengine knows only nodes of one graph, so every call
is replaced here, at any depth: in graphs inside of nodes, and in bodies that call other functions.

For one call, the body is copied with these changes:

- formal inputs and outputs get the names that the call gives;
- every other tensor of the body keeps its name, or gets a number if the name is taken ("h__1"), because a function may
  be called many times and names must stay unique;
- an attribute that refers to an attribute of the function (`ref_attr_name`) takes the call's value or the default; if
  there is neither, the node has no such attribute;
- graphs in the body's nodes see the names around them and are renamed too; a graph that the *call* passes has the
  caller's names already and stays.

Every function is checked once: its body must not read names of the caller. Recursion is an error, and so are calls
deeper than `_MAX_DEPTH`, and growth beyond `_MAX_NODES` or `_MAX_BYTES`: functions that call functions twice make a
small file an endless graph.

onnx.inliner does the same, but drops the default values of a function's attributes (seen in onnx 1.23).
"""

from collections.abc import Iterable, Iterator, Mapping

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto  # noqa: TID251 - the loader's own

from qengine.errors import ModelError, UnsupportedError
from qengine.model.loader.names import check_order, everywhere, graphs, label, standard, subgraphs

_MAX_NODES = 100_000
_MAX_DEPTH = 64
_MAX_BYTES = 2**31 - 1

_Key = tuple[str, str, str]
"""Domain, name and overload of a function."""


def inline(model: ModelProto, opsets: dict[str, int]) -> None:
    """Replace every call of a local function in the model's graph, in place.

    Parameters
    ----------
    model : model with a graph that passed `check_names`.
    opsets : opset of each domain of the model; domains that only functions import are added.
    """
    functions = {(standard(one.domain), one.name, one.overload): one for one in model.functions}
    if len(functions) != len(model.functions):
        raise ModelError("has two local functions of the same name; export the model again")
    _Inliner(functions, opsets, model.graph).replace(model.graph, ())


def _key(proto: NodeProto) -> _Key:
    return (standard(proto.domain), proto.op_type, proto.overload)


class _Inliner:
    """Replacement of all calls in one model: the functions, the names that are taken, and the number of nodes."""

    def __init__(self, functions: Mapping[_Key, FunctionProto], opsets: dict[str, int], graph: GraphProto) -> None:
        self.functions = functions
        self.opsets = opsets
        self.taken_names = set(_names(graph))
        self.checked_functions: set[_Key] = set()
        self.copy_counts: dict[str, int] = {}
        self.node_count = 0
        self.byte_count = 0

    def replace(self, graph: GraphProto, callers: tuple[_Key, ...]) -> None:
        """Replace the calls in a graph and its subgraphs in place; `callers` are the functions that contain it."""
        if not any(_key(node) in self.functions for node in everywhere(graph.node)):
            return
        nodes = list(self._expanded(graph.node, callers))
        del graph.node[:]
        graph.node.extend(nodes)

    def _expanded(self, nodes: Iterable[NodeProto], callers: tuple[_Key, ...]) -> Iterator[NodeProto]:
        """Yield the nodes, with the nodes of the body in the place of each call."""
        for node in nodes:
            key = _key(node)
            if key in callers:
                raise ModelError(f"{label(node)} is in a local function that calls itself; export the model again")
            if len(callers) > _MAX_DEPTH:
                raise ModelError(f"its local functions call each other more than {_MAX_DEPTH} deep; export it without")
            self.node_count += 1
            if self.node_count > _MAX_NODES:
                raise ModelError(
                    f"its local functions have more than {_MAX_NODES} nodes when inlined; export it without them"
                )
            if key in self.functions:
                function = self.functions[key]
                if key not in self.checked_functions:
                    self._check(function)
                    self.checked_functions.add(key)
                yield from self._expanded(self._body(node, function), (*callers, key))
            else:
                for graph in subgraphs(node):
                    self.replace(graph, callers)
                yield node

    def _check(self, function: FunctionProto) -> None:
        """Check a function once: its body reads only its own names and attributes, at the opsets of the model."""
        what = f"local function {function.name!r}"
        visible = set(function.input)
        check_order(function.node, visible, what)
        for name in function.output:
            if name not in visible:
                raise ModelError(f"{what}: nothing produces its output {name!r}; export the model again")
        declared = {*function.attribute, *(default.name for default in function.attribute_proto)}
        imports = {standard(one.domain): one.version for one in function.opset_import}
        for node in everywhere(function.node):
            domain = standard(node.domain)
            for attribute in node.attribute:
                if attribute.ref_attr_name and attribute.ref_attr_name not in declared:
                    raise ModelError(
                        f"{what}: {label(node)} refers to the attribute {attribute.ref_attr_name!r}, "
                        "which the function does not have; export the model again"
                    )
            version = imports.get(domain)
            if version is not None and self.opsets.setdefault(domain, version) != version:
                raise UnsupportedError(
                    f"{what} is written for opset {version} of domain {domain!r}, the model for "
                    f"{self.opsets[domain]}; "
                    "use onnx.inliner.inline_local_functions(model, convert_version=True) first"
                )

    def _body(self, call: NodeProto, function: FunctionProto) -> Iterator[NodeProto]:
        """Yield the nodes of a function's body with the names and attributes of one call."""
        given = {default.name: default for default in function.attribute_proto}
        given |= {attribute.name: attribute for attribute in call.attribute}
        unknown = set(given) - set(function.attribute) - {default.name for default in function.attribute_proto}
        if unknown or len(call.input) > len(function.input) or len(call.output) > len(function.output):
            raise ModelError(
                f"{label(call)} calls a local function with more inputs, outputs or attributes than it has; "
                "export the model again"
            )
        names = dict.fromkeys(function.input, "") | dict(zip(function.input, call.input, strict=False))
        identities = []
        for formal, actual in zip(function.output, call.output, strict=False):
            if formal in names and actual:  # an input that is an output as well, or an output twice
                identities.append(NodeProto(op_type="Identity", input=[names[formal]], output=[actual]))
            elif actual:
                names[formal] = actual
        for node in function.node:
            one = self._instance(node, names, given)
            one.name = "/".join(filter(None, (call.name, node.name)))
            self.byte_count += one.ByteSize()
            if self.byte_count > _MAX_BYTES:
                raise ModelError("its local functions have more than 2 GB when inlined; export it without them")
            yield one
        yield from identities

    def _instance(self, node: NodeProto, names: dict[str, str], given: Mapping[str, AttributeProto]) -> NodeProto:
        """Return a copy of a body's node; `names` maps the body's tensors and is extended by the node's outputs."""
        one = NodeProto(op_type=node.op_type, domain=node.domain, overload=node.overload, name=node.name)
        one.input.extend(names.get(name, name) for name in node.input)
        for attribute in node.attribute:
            source = given.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
            if source is None:  # left out by the call and without a default: left out here too
                continue
            copy = one.attribute.add()
            copy.CopyFrom(source)
            copy.name = attribute.name
            if source is attribute:  # a graph that the call passes has the caller's names
                for graph in graphs(copy):
                    self._rename(graph, dict(names), given)
        one.output.extend(self._new(name, names) for name in node.output)
        return one

    def _rename(self, graph: GraphProto, names: dict[str, str], given: Mapping[str, AttributeProto]) -> None:
        """Rename a graph inside of a body's node in place; `names` maps the tensors around it."""
        for part in (graph.input, graph.initializer):
            for named in part:
                named.name = self._new(named.name, names)
        nodes = [self._instance(node, names, given) for node in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for info in (*graph.output, *graph.value_info):
            info.name = names.get(info.name, info.name)

    def _new(self, name: str, names: dict[str, str]) -> str:
        """Return the model's name of a tensor that the body computes: its own, with a number if that is taken."""
        if name and name not in names:
            fresh = name
            while fresh in self.taken_names:
                self.copy_counts[name] = self.copy_counts.get(name, 0) + 1
                fresh = f"{name}__{self.copy_counts[name]}"
            self.taken_names.add(fresh)
            names[name] = fresh
        return names.get(name, "")


def _names(graph: GraphProto) -> Iterator[str]:
    """Yield every tensor name in a graph and in the graphs of its nodes."""
    for part in (graph.input, graph.initializer, graph.output):
        yield from (named.name for named in part)
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in subgraphs(node):
            yield from _names(inner)
