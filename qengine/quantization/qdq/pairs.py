"""A fixed-point model as nodes of ONNX: a pair of QuantizeLinear and DequantizeLinear wherever a run rounds.

Constants become stored integers, each with a DequantizeLinear after it. `qengine.model.passes.read_quantized` is the
inverse: it reads the same formats, and a run gives the same bits.

A tensor that is rounded has two names in the written model: the one before its pair, and the one after it, which its
readers take. An output keeps the model's name after the pair; any other tensor keeps it before the pair. A conversion
to another format is nothing but a pair, and its result has one name.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, UnsupportedError
from qengine.model.graph import Attribute, Graph, Names, Node, Value
from qengine.model.ops.operator import Role, find
from qengine.model.passes.hidden_tensors import written_node
from qengine.model.rules import Rules
from qengine.model.static_values import known_tensors
from qengine.model.steps import Table
from qengine.qformat import Format, QFormat, holds
from qengine.quantization.qdq.operators import (
    computed_by_tables,
    may_be_real,
    reads_around,
    typed,
    values_with_types,
    written_operators,
)
from qengine.quantization.qdq.spelling import Pairs, Spelling
from qengine.quantization.qdq.stored_constants import StoredConstants
from qengine.runtime.plan.network import Network

_NO_CONSTANTS: Mapping[str, NDArray[Any]] = {}
_NO_VALUES: Mapping[str, Value] = {}


class UndecidedFormatError(FormatError):
    """Real numbers that shapes decide have no format of their own.

    Attributes
    ----------
    names : names of the tensors.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(
            f"'{names[0]}' follows from lengths of axes, and each length rounds it in another format: "
            "name it in the formats, or give a qformat for the rest"
        )
        self.names = names


def with_pairs(network: Network, version: int, spelling: Spelling | None = None) -> Graph:
    """Return the model of a network with a pair after every rounded tensor, and with constants as stored integers.

    Graphs inside of nodes are written in the same way, with the formats that they have in a run.

    Parameters
    ----------
    network
        A network in fixed point.
    version
        Opset of all nodes; older nodes are converted to it.
    spelling
        Nodes that round; None for pairs.

    Raises
    ------
    OldOpsetError
        If the opset has no integers of the word length of a tensor.
    FormatError
        If no stored integer has the word length of a tensor.
    UndecidedFormatError
        If real numbers that shapes decide have no format of their own.
    UnsupportedError
        If ONNX has no such operator, or a tensor has a type that is not quantized.
    """
    graph = network.model
    names = Names(graph.tensors() | graph.inner_tensors(), "_")
    writer = _Writer(network, version, names, set(), spelling or Pairs())
    written = writer.write(graph.inputs)
    if writer.undecided:
        raise UndecidedFormatError(tuple(sorted(writer.undecided)))
    return written


class _Writer:
    """Writer of one graph: the model, or a graph inside of a node.

    Parameters
    ----------
    network
        The network of the graph, which captures nothing: tensors from around it are inputs or constants.
    version
        Opset of the new nodes.
    names
        Names of the whole model.
    undecided
        Set to which the real numbers are added that shapes decide and that have no format.
    spelling
        Nodes that round.
    names_after_pairs
        Names after their pairs of the tensors from around the graph.
    outer
        Constants from around the graph.
    values
        Types and shapes of tensors for the writer alone: the passes must find what they find in a run without them.
    """

    def __init__(
        self,
        network: Network,
        version: int,
        names: Names,
        undecided: set[str],
        spelling: Spelling,
        names_after_pairs: Mapping[str, str] | None = None,
        outer: Mapping[str, NDArray[Any]] = _NO_CONSTANTS,
        values: Mapping[str, Value] = _NO_VALUES,
    ) -> None:
        assert network.table is not None
        self.network, self.version, self.names, self.outer = network, version, names, outer
        self.undecided, self.is_inner, self.spelling = undecided, names_after_pairs is not None, spelling
        self.graph = written_operators(network.model, version, names.fresh, values)
        self.formats = network.table.by_model_name()
        typed_values = values_with_types(self.graph)
        self.values = {v.name: v for v in (*self.graph.outputs, *self.graph.inputs)} | typed_values
        whole = {name for name, value in typed_values.items() if not may_be_real(value)}
        self.rounded = frozenset((network.table.activations.keys() & network.optimized.tensors()) - whole)
        known_inputs = frozenset(value.name for value in self.graph.inputs if value.name in network.known)
        self.known = known_tensors(self.graph, known_inputs) - self.graph.constants.keys()
        self.outputs = {value.name for value in self.graph.outputs}
        self.names_after_pairs = dict(names_after_pairs or {})
        self.rounded_to: dict[tuple[str, QFormat], str] = {}
        self.nodes: list[Node] = []
        self._in_tables = computed_by_tables(network.optimized, self.graph)
        self._real, self._quantized = self._constants_by_use()
        kept = self._real | outer.keys()
        self.constants = StoredConstants(self.graph, version, names, kept, self.nodes.append, spelling)

    def write(self, inputs: tuple[Value, ...], rounded_before: frozenset[str] = frozenset()) -> Graph:
        """Return the graph as nodes of ONNX.

        Parameters
        ----------
        inputs
            Inputs of the graph, without tensors from around it.
        rounded_before
            Tensors from around the graph that have a pair there.
        """
        for value in self.graph.inputs:
            if value.name in self.rounded and value.name not in rounded_before:
                self._round(value.name, value.name, self.names.fresh(f"{value.name}_dequantized"))
        for node in self.graph.nodes:
            self._add(node)
        outputs = tuple(self._output(value) for value in self.graph.outputs)
        read = {name for node in self.nodes for name in node.reads} | {value.name for value in outputs}
        read -= {name for node in self.nodes for name in node.outputs}
        kept = {n: a for n, a in self.graph.constants.items() if n in read and n not in self.outer}
        return replace(
            self.graph,
            inputs=inputs,
            outputs=outputs,
            nodes=tuple(self.nodes),
            constants={**kept, **self.constants.arrays},
            overridable=tuple(value for value in self.graph.overridable if value.name in kept),
        )

    def _output(self, value: Value) -> Value:
        """Return an output of the graph with its type; one that is needed unrounded too gets another name."""
        array = self.graph.constants.get(value.name)
        if array is not None:
            value = replace(value, dtype=array.dtype, shape=array.shape)
        else:
            value = replace(value, dtype=self._value(value.name).dtype)
        after = self.names_after_pairs.get(value.name)
        encoded = {} if self.is_inner else self.network.encoded_constants((value.name,), Rules())
        for tensor in encoded.values():  # a run answers with the codes of a constant
            assert tensor.value is not None
            assert tensor.format is not None
            after = self.constants.in_format(value.name, tensor.value, tensor.format)
        if after is None or after == value.name:
            return value
        if not any(after in node.outputs for node in self.nodes):  # it is of the graph around
            around, after = after, self.names.fresh(f"{value.name}_answered")
            self.nodes.append(Node("Identity", (around,), (after,), {}, after, version=self.version))
        return replace(value, name=after)

    # Nodes

    def _add(self, node: Node) -> None:
        """Add a node, with a pair after each output that is rounded."""
        node = written_node(node, self.formats)
        if (node.operator, node.domain) == ("Requantize", "qengine"):
            self._round(node.outputs[0], self._input(node, 0), node.outputs[0])
            return
        inputs = tuple(self._input(node, i) for i in range(len(node.inputs)))
        renamed = self.rounded & self.outputs
        outputs = tuple(self.names.fresh(f"{name}_real") if name in renamed else name for name in node.outputs)
        attributes: dict[str, Attribute] = dict(node.attributes)
        attributes |= {key: self._inner(node, graph) for key, graph in node.graphs.items()}
        inner = [graph for graph in attributes.values() if isinstance(graph, Graph)]
        captures = tuple(sorted(set().union(*map(reads_around, inner))))
        new = replace(node, inputs=inputs, outputs=outputs, attributes=attributes, captures=captures)
        self.nodes += self._in_two(new) if (node.operator, node.domain) == ("MatMul", "qengine") else (new,)
        for name, real in zip(node.outputs, outputs, strict=True):
            if name in self.rounded:
                self._round(name, real, name if real != name else self.names.fresh(f"{name}_dequantized"))

    def _in_two(self, node: Node) -> tuple[Node, Node]:
        """Return a MatMul with a bias as two nodes of ONNX; nothing is rounded between them."""
        product = self.names.fresh(f"{node.outputs[0]}_product")
        matmul = Node("MatMul", node.inputs[:2], (product,), {}, node.name, version=self.version)
        return matmul, Node("Add", (product, node.inputs[2]), node.outputs, {}, product, version=self.version)

    def _inner(self, node: Node, graph: Graph) -> Graph:
        """Return a graph inside of a node as nodes of ONNX."""
        reads = {name for inner in graph.nodes for name in inner.reads} | {value.name for value in graph.outputs}
        captured = [name for name in node.captures if name in reads]
        outer = {name: self.graph.constants[name] for name in captured if name in self.graph.constants}
        values = [self._value(name) for name in captured if name not in outer]
        rounded = [value.name for value in values if value.name not in self.known]
        forms = {name: fmt for name in rounded if isinstance(fmt := self.formats.get(name), QFormat)}
        inputs = (*graph.inputs, *values)
        closed = typed(replace(graph, inputs=inputs, constants={**outer, **graph.constants}), self.version)
        known = frozenset(value.name for value in values if value.name in self.known)
        in_run = (*graph.inputs, *(replace(value, shape=None) for value in values))  # a run has the declared shapes
        network = self.network.of_inner_graph(graph, in_run, outer, forms, known)
        names_after = {
            value.name: self.names_after_pairs[value.name] for value in values if value.name in self.names_after_pairs
        }
        writer = _Writer(
            network, self.version, self.names, self.undecided, self.spelling, names_after, outer, closed.values
        )
        return writer.write(graph.inputs, frozenset(forms))

    def _value(self, name: str) -> Value:
        """Return the type and shape of a tensor; one that has a format is float32 where the model does not say."""
        value = self.values.get(name, Value(name))
        is_real = value.dtype is None and value.container is None and name in self.rounded
        return replace(value, dtype=np.dtype(np.float32)) if is_real else value

    def _input(self, node: Node, place: int) -> str:
        """Return the name of the tensor that a written node reads as input number `place`."""
        name = node.inputs[place]
        array = self.graph.constants.get(name)
        if (part := self._part_format(node, place)) is not None and part != self.formats.get(name):
            return self._rounded_part(node, place, part)
        if (number := self._number_format(node, place)) is not None:
            if array is None:
                return self._rounded_to(name, number)
            return self.constants.number(name, array, number)
        if array is None and self._reads_known(node, place):
            return self._rounded_to(name, self.formats.get(name))
        if array is None or array.dtype.kind != "f":
            return self.names_after_pairs.get(name, name)
        role = _role(node, place)
        if role is Role.BIAS and self.spelling.keeps_biases and self.graph.unrounded_biases:
            return name
        if role is Role.BIAS and (bits := self._bias_bits(node)) is not None:
            return self.constants.bias(name, array, bits, self._bias_form(name), is_own=name not in self._quantized)
        if name in self._quantized and (name not in self._real or self._reads_codes(node, place)):
            return self.constants.in_format(name, array, self._form(name))
        if name in self.outer and self.outer[name] is not array:  # folding changed it inside of this graph
            return self.constants.add(f"{name}_folded", array)
        return name

    def _part_format(self, node: Node, place: int) -> QFormat | None:
        """Return the format that the user gives a part in a join that has a format for each."""
        assert self.network.table is not None
        joined = self.network.table.joins.get(node.outputs[0])
        return None if joined is None or joined.given is None else joined.given[place]

    def _rounded_part(self, node: Node, place: int, fmt: QFormat) -> str:
        """Return the name of a part of a join after a pair of its own, which rounds its codes."""
        name = node.inputs[place]
        if name not in self.graph.constants:
            return self._rounded_to(name, fmt)
        stored = self.constants.in_format(name, self.graph.constants[name], self._form(name))
        out = self.names.fresh(f"{name}_rounded")
        self._add_pair(fmt, name, stored, out)
        return out

    def _constants_by_use(self) -> tuple[set[str], set[str]]:
        """Return the tensors that are read as real numbers, and the constants that are read in a format.

        A constant may be both. One whose format holds it exactly counts as read in the format only.
        """
        real, quantized, numbers = set[str](), set[str](), set[str]()
        captured = {name for node in self.graph.nodes for name in node.captures}
        for node in self.graph.nodes:
            for place, name in enumerate(node.inputs):
                if self._number_format(node, place) is not None:
                    numbers.add(name)
                elif self._reads_codes(node, place):
                    quantized.add(name)
                elif self._bias_bits(node) is None or _role(node, place) is not Role.BIAS:
                    real.add(name)
        real -= {name for name in quantized if holds(self._form(name), self.graph.constants[name])}
        answered = self.outputs & self.graph.constants.keys()
        real |= answered if self.is_inner else answered - quantized
        return real | captured | (numbers - quantized), quantized

    def _reads_codes(self, node: Node, place: int) -> bool:
        """Whether a node reads a constant in the format that it has."""
        name = node.inputs[place]
        if name not in self.graph.constants or self.graph.constants[name].dtype.kind != "f":
            return False
        if place and Table in find(node).kinds and self.graph.constants[name].size == 1:
            return False  # one number, such as the slope of a PRelu, is part of a table's function
        if self._in_tables.intersection(node.outputs):
            return False
        has_format = self.graph.derived.get(name, name) in self.formats
        return has_format and _role(node, place) in (Role.DATA, Role.WEIGHTS)

    def _form(self, constant: str) -> Format:
        """Return the format of a constant; the table has it under the name in the model."""
        return self.formats[self.graph.derived.get(constant, constant)]

    def _bias_form(self, constant: str) -> Format | None:
        """Return the format that the user gives a bias."""
        name = self.graph.derived.get(constant, constant)
        return self.formats[name] if self.network.table and name in self.network.table.biases else None

    def _reads_known(self, node: Node, place: int) -> bool:
        """Whether a node that a run computes reads real numbers that are known before a run and not constant."""
        name = node.inputs[place]
        if name not in self.known or self.known.issuperset(filter(None, node.outputs)):
            return False
        dtype = self.values.get(name, Value(name)).dtype
        is_real = name in self.formats or (dtype is not None and dtype.kind == "f")
        return is_real and _role(node, place) in (Role.DATA, Role.WEIGHTS)

    def _rounded_to(self, name: str, fmt: Format | None) -> str:
        """Return the name of a computed tensor after a pair of its own that rounds it to a format."""
        if not isinstance(fmt, QFormat):
            self.undecided.add(name)
            return name
        if (name, fmt) not in self.rounded_to:
            out = self.names.fresh(f"{name}_rounded")
            self._add_pair(fmt, name, self.names_after_pairs.get(name, name), out)
            self.rounded_to[name, fmt] = out
        return self.rounded_to[name, fmt]

    def _number_format(self, node: Node, place: int) -> QFormat | None:
        """Return the format of an input that is a single number, such as a bound; None for other inputs."""
        name = node.inputs[place]
        if not name or place not in find(node).number_inputs:
            return None
        fmt = self.formats.get(node.outputs[0]) if node.outputs[0] in self.rounded else None
        # A computed bound need not be a code if only the output is rounded.
        is_needed = name in self.graph.constants or node.inputs[0] in self.rounded
        return fmt if isinstance(fmt, QFormat) and is_needed else None

    def _bias_bits(self, node: Node) -> NDArray[np.int64] | None:
        """Return the fraction bits of the bias of a linear operator: one number, or one for each channel."""
        inputs = {role: name for name, role in find(node).roles(node)}
        if node.hidden:
            return None  # a sum of two biases, which stay real numbers
        if Role.WEIGHTS not in inputs or Role.BIAS not in inputs:
            return None
        factors = (node.inputs[0], inputs[Role.WEIGHTS])
        x, w = (self.formats.get(self.graph.derived.get(name, name)) for name in factors)
        if not isinstance(x, QFormat) or w is None:
            return None
        each = (w,) if isinstance(w, QFormat) else w.formats
        return np.array([x.fraction_bits + one.fraction_bits for one in each], np.int64)

    # Pairs

    def _round(self, name: str, real: str, out: str) -> None:
        """Add the pair that rounds the tensor `real` to the format of the model's tensor `name` and gives `out`."""
        fmt = self.formats[name]
        assert isinstance(fmt, QFormat)
        self._add_pair(fmt, name, real, out)
        if out != name:
            self.names_after_pairs[name] = out

    def _add_pair(self, fmt: QFormat, name: str, real: str, out: str) -> None:
        """Add the pair that rounds the tensor `real`, which is `name` in the model, and gives `out`."""
        value = self.values.get(name, Value(name))
        self.spelling.check(name, fmt, self.version, is_constant=False)
        if value.dtype is not None and value.dtype != np.float32:
            raise UnsupportedError(
                f"'{name}' is {value.dtype}, and a quantized model rounds float32: convert the model to float32"
            )
        for node in self.spelling.rounding(name, fmt, (real, out), self.constants.add, self.names.fresh):
            self.nodes.append(node if node.domain else replace(node, version=self.version))


def _role(node: Node, place: int) -> Role | None:
    """Return the way in which a node reads input number `place`."""
    parameter = find(node).parameter(place)
    return None if parameter is None else parameter.role
