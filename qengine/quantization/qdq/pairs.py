"""Pairs of QuantizeLinear and DequantizeLinear where a run in fixed point rounds, and stored integers for constants.

It is the way back from `qengine.model.passes.read_quantized`: what is written is read as the same formats and gives
the same bits.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, UnsupportedError
from qengine.model.graph import Attribute, Graph, Node, Value
from qengine.model.loader.shapes import with_inferred
from qengine.model.ops.operator import Role, find
from qengine.model.protos import graph_proto
from qengine.qformat import ChannelFormats, Format, QFormat, holds
from qengine.quantization.correction import fold_graph
from qengine.quantization.qdq.stored import ACTIVATION_BITS, Names, StoredConstants, check_opset
from qengine.runtime.plan.network import Network

_NUMBERS = {"Clip": slice(1, 3), "Pad": slice(2, 3)}
"""Inputs that are numbers beside a tensor, and codes of its format."""

_NOTHING: Mapping[str, NDArray[Any]] = {}


def with_pairs(network: Network, version: int) -> Graph:
    """Return the model of a network with pairs around tensors, and with constants as stored integers.

    Graphs inside of nodes are written alike, with the formats that they have when they run.

    Parameters
    ----------
    network
        In fixed point.
    version
        Opset of the nodes that are made.

    Raises
    ------
    FormatError
        If a tensor has a word length that no stored integer has.
    UnsupportedError
        If an operator cannot be written, a tensor is of a type that is not quantized, or the opset is too old.
    """
    check_opset(version, 8)
    graph = network.model
    writer = _Writer(network, version, Names(graph.tensors() | graph.inner_tensors()))
    writer.check_answers()
    return writer.written(graph.inputs)


def plain(graph: Graph) -> Graph:
    """Return a graph with all folded that fixed point folds, of operators that ONNX defines."""
    found = fold_graph(graph)
    for node in found.nodes:
        if (node.operator, node.domain) == ("ScaleShift", "qengine"):
            raise UnsupportedError(
                f"{node}: a BatchNormalization that no layer before it takes in is written for images alone; "
                "put it behind a Gemm or Conv, or write it as Mul and Add"
            )
        if node.domain == "qengine":
            raise UnsupportedError(f"{node} cannot be written as an operator of ONNX")
    return found


class _Writer:
    """Writes one graph.

    Parameters
    ----------
    network
        Of the graph, closed.
    version
        Of the nodes that are made.
    names
        Of the whole model.
    renamed
        For tensors around the graph, what dequantizes them.
    around
        Constants around the graph.
    """

    def __init__(
        self,
        network: Network,
        version: int,
        names: Names,
        renamed: Mapping[str, str] | None = None,
        around: Mapping[str, NDArray[Any]] = _NOTHING,
    ) -> None:
        assert network.table is not None
        self.network, self.version, self.names, self.around = network, version, names, around
        self.graph = plain(network.model)
        self.formats = network.table.by_model_name()
        self.rounded = frozenset(network.table.activations.keys() & network.optimized.tensors())
        self.answered = {value.name for value in self.graph.outputs}
        self.values = {v.name: v for v in (*self.graph.outputs, *self.graph.inputs)} | dict(self.graph.values)
        self.renamed = dict(renamed or {})
        self.nodes: list[Node] = []
        self._as_they_are, self._in_formats = self._read_by_all()
        kept = self._as_they_are | around.keys()
        self.constants = StoredConstants(self.graph, version, names, kept, self.nodes.append)

    def check_answers(self) -> None:
        """Raise UnsupportedError where an output would have to be two tensors: as it is, and rounded."""
        fed = {value.name for value in self.graph.inputs}
        for name in self.answered:
            if (name in fed and name in self.rounded) or name in self._as_they_are & self._in_formats:
                what = "an input" if name in fed else "a constant"
                raise UnsupportedError(f"output '{name}' is {what} as it is, and would be rounded: leave it out")

    def written(self, inputs: tuple[Value, ...], entered: frozenset[str] = frozenset()) -> Graph:
        """Return the graph as it is written.

        Parameters
        ----------
        inputs
            Its own.
        entered
            What is around it and has been rounded.
        """
        for value in self.graph.inputs:
            if value.name in self.rounded and value.name not in entered:
                self._pair(value.name, value.name, self.names.fresh(f"{value.name}_dequantized"))
        for node in self.graph.nodes:
            self._add(node)
        outputs = tuple(self._answer(value) for value in self.graph.outputs)
        read = {name for node in self.nodes for name in node.reads} | {value.name for value in outputs}
        read -= {name for node in self.nodes for name in node.outputs}
        kept = {n: a for n, a in self.graph.constants.items() if n in read and n not in self.around}
        return replace(
            self.graph,
            inputs=inputs,
            outputs=outputs,
            nodes=tuple(self.nodes),
            constants={**kept, **self.constants.arrays},
            overridable=tuple(value for value in self.graph.overridable if value.name in kept),
        )

    def _answer(self, value: Value) -> Value:
        """Return an output; what is rounded where it enters a graph is answered with as it is then."""
        if value.name not in self.renamed:
            return value
        out = self.names.fresh(f"{value.name}_answered")
        self.nodes.append(Node("Identity", (self.renamed[value.name],), (out,), {}, out, version=self.version))
        return replace(value, name=out)

    # Nodes

    def _add(self, node: Node) -> None:
        """Add a node, with a pair behind each output that is rounded."""
        inputs = tuple(self._read(node, i) for i in range(len(node.inputs)))
        # What the model answers with keeps its name, so that the tensor before its pair gets another.
        answered = self.rounded & self.answered
        outputs = tuple(self.names.fresh(f"{name}_real") if name in answered else name for name in node.outputs)
        attributes: dict[str, Attribute] = dict(node.attributes)
        attributes |= {key: self._inner(node, graph) for key, graph in node.graphs.items()}
        inner = [graph for graph in attributes.values() if isinstance(graph, Graph)]
        captures = tuple(sorted(set().union(*map(_reads_around, inner))))
        self.nodes.append(replace(node, inputs=inputs, outputs=outputs, attributes=attributes, captures=captures))
        for name, real in zip(node.outputs, outputs, strict=True):
            if name in self.rounded:
                self._pair(name, real, name if real != name else self.names.fresh(f"{name}_dequantized"))

    def _inner(self, node: Node, graph: Graph) -> Graph:
        """Return a graph inside of a node, with pairs of its own."""
        reads = {name for inner in graph.nodes for name in inner.reads} | {value.name for value in graph.outputs}
        captured = [name for name in node.captures if name in reads]
        around = {name: self.graph.constants[name] for name in captured if name in self.graph.constants}
        values = [self.values.get(name, Value(name)) for name in captured if name not in around]
        forms = {value.name: form for value in values if isinstance(form := self.formats.get(value.name), QFormat)}
        inputs = (*graph.inputs, *values)
        closed = _typed(replace(graph, inputs=inputs, constants={**around, **graph.constants}), self.version)
        network = self.network.inside(replace(graph, values=closed.values), inputs, around, forms)
        renamed = {value.name: self.renamed[value.name] for value in values if value.name in self.renamed}
        writer = _Writer(network, self.version, self.names, renamed, around)
        return writer.written(graph.inputs, frozenset(forms))

    def _read(self, node: Node, place: int) -> str:
        """Return what a node reads in the place of an input."""
        name = node.inputs[place]
        array = self.graph.constants.get(name)
        if (number := self._number_format(node, place)) is not None:
            if array is None:
                raise UnsupportedError(f"{node}: its bound or fill '{name}' is computed: make it a constant")
            return self.constants.number(name, array, number)
        if array is None or array.dtype.kind != "f":
            return self.renamed.get(name, name)
        role = _role(node, name)
        if role is Role.BIAS and (bits := self._bias_bits(node)) is not None:
            return self.constants.bias(name, array, bits, is_own=name not in self._in_formats)
        if name in self._in_formats and (name not in self._as_they_are or self._is_in_format(node, place)):
            return self.constants.in_format(name, array, self._form(name))
        if name in self.around and self.around[name] is not array:  # folding changed it inside of this graph
            return self.constants.add(f"{name}_folded", array)
        return name

    def _read_by_all(self) -> tuple[set[str], set[str]]:
        """Return what is read as it is, numbers beside tensors included, and the constants that have formats.

        A constant that its format holds exactly is of the second kind, whoever reads it.
        """
        as_they_are, in_formats, numbers = set[str](), set[str](), set[str]()
        captured = {name for node in self.graph.nodes for name in node.captures}
        for node in self.graph.nodes:
            for place, name in enumerate(node.inputs):
                if self._number_format(node, place) is not None:
                    numbers.add(name)
                elif self._is_in_format(node, place):
                    in_formats.add(name)
                elif self._bias_bits(node) is None or _role(node, name) is not Role.BIAS:
                    as_they_are.add(name)
        as_they_are -= {name for name in in_formats if holds(self._form(name), self.graph.constants[name])}
        return as_they_are | captured | (numbers - in_formats), in_formats

    def _is_in_format(self, node: Node, place: int) -> bool:
        """Whether a node reads a constant in the format that it has."""
        name = node.inputs[place]
        if name not in self.graph.constants or self.graph.constants[name].dtype.kind != "f":
            return False
        if node.operator == "PRelu" and place == 1 and self.graph.constants[name].size == 1:
            return False  # one slope is part of a table's function, and not quantized
        has_format = self.graph.derived.get(name, name) in self.formats
        return has_format and _role(node, name) in (Role.DATA, Role.WEIGHTS)

    def _form(self, constant: str) -> Format:
        """Return the format of a constant, which has the model's own name."""
        return self.formats[self.graph.derived.get(constant, constant)]

    def _number_format(self, node: Node, place: int) -> QFormat | None:
        """Return the format of which an input is a code, though it is written as a real number."""
        name, places = node.inputs[place], _NUMBERS.get(node.operator)
        if not name or node.domain or places is None or place not in range(*places.indices(len(node.inputs))):
            return None
        form = self.formats.get(node.outputs[0]) if node.outputs[0] in self.rounded else None
        # Where only what comes out is rounded, a bound need be no code.
        is_needed = name in self.graph.constants or node.inputs[0] in self.rounded
        return form if isinstance(form, QFormat) and is_needed else None

    def _bias_bits(self, node: Node) -> NDArray[np.int64] | None:
        """Return the fraction bits in which a linear operator holds its bias: one, or one for each channel."""
        read = {role: name for name, role in find(node).roles(node)}
        if Role.WEIGHTS not in read or Role.BIAS not in read:
            return None
        x = self.formats.get(node.inputs[0])
        w = self.formats.get(self.graph.derived.get(read[Role.WEIGHTS], read[Role.WEIGHTS]))
        if not isinstance(x, QFormat) or w is None:
            return None
        each = w.formats if isinstance(w, ChannelFormats) else (w,)
        return np.array([x.fraction_bits + one.fraction_bits for one in each], np.int64)

    # Pairs

    def _pair(self, name: str, real: str, out: str) -> None:
        form, value = self.formats[name], self.values.get(name, Value(name))
        assert isinstance(form, QFormat)
        if form.bits not in ACTIVATION_BITS:
            raise FormatError(
                f"'{name}' is {form}, of {form.bits} bits; a quantized model stores activations in 8 or 16 bits"
            )
        check_opset(self.version, form.bits)
        if value.dtype is not None and value.dtype != np.float32:
            raise UnsupportedError(
                f"'{name}' is {value.dtype}, and a quantized model rounds float32: convert the model to float32"
            )
        scale = self.constants.add(f"{name}_scale", np.array(form.step, np.float32))
        zero = self.constants.add(f"{name}_zero_point", np.zeros((), form.dtype))
        stored = self.names.fresh(f"{name}_quantized")
        for operator, source, result in (("QuantizeLinear", real, stored), ("DequantizeLinear", stored, out)):
            node = Node(operator, (source, scale, zero), (result,), {}, f"{result}/{operator}", version=self.version)
            self.nodes.append(node)
        if out != name:
            self.renamed[name] = out


def _role(node: Node, name: str) -> Role | None:
    return dict(find(node).roles(node)).get(name)


def _typed(graph: Graph, version: int) -> Graph:
    """Return a graph of a node with the element types that onnx infers."""
    known = {value.name: value for value in graph.outputs} | dict(graph.values)
    opsets = {"": version} | {node.domain: node.version for node in graph.nodes if node.domain}
    return with_inferred(replace(graph, values=known), graph_proto(graph), opsets)


def _reads_around(graph: Graph) -> set[str]:
    """Return what a graph reads and does not hold."""
    read = {name for node in graph.nodes for name in node.reads} | {value.name for value in graph.outputs}
    return read - graph.tensors()
