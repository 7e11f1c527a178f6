"""Pairs of QuantizeLinear and DequantizeLinear where a run in fixed point rounds, and stored integers for constants.

It is the way back from `qengine.passes.read_quantized`: what is written is read as the same formats and gives the same
bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError, UnsupportedError
from qengine.graph import Attribute, Graph, Node, Value
from qengine.kernels.reference.requantize import quantize
from qengine.ops.operator import Role, find
from qengine.qformat import ChannelFormats, Format, QFormat, fraction_bits_of

_BIAS = np.iinfo(np.int32)


def with_pairs(graph: Graph, formats: Mapping[str, Format], rounded: frozenset[str], version: int) -> Graph:
    """Return the graph with pairs around tensors, and with constants as stored integers.

    Parameters
    ----------
    graph
        Of operators that ONNX defines, BatchNormalization folded.
    formats
        Of activations and, by the model's own names, of constants.
    rounded
        The activations that a run brings to their formats.
    version
        Opset of the nodes that are made.

    Raises
    ------
    FormatError
        If a tensor has a word length that no stored integer has.
    UnsupportedError
        If a graph inside of a node reads a tensor around it that would have to be two.
    """
    writer = _Writer(graph, formats, version)
    for value in graph.inputs:
        if value.name in rounded:
            writer.enter(value)
    for node in graph.nodes:
        writer.add(node, rounded)
    return writer.finish()


@dataclass
class _Writer:
    graph: Graph
    formats: Mapping[str, Format]
    version: int
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    _made: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _own: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.answered = {value.name for value in self.graph.outputs}
        self.taken = self.graph.tensors() | self.graph.inner_tensors()

    def enter(self, value: Value) -> None:
        """Put a pair behind an input."""
        self._pair(value.name, value.name, self._name(f"{value.name}_dequantized"))

    def add(self, node: Node, rounded: frozenset[str]) -> None:
        """Add a node, with a pair behind each output that is rounded."""
        roles = dict(find(node).roles(node))
        bias_bits = self._bias_bits(node)
        plain = self._taken_as_a_number(node)
        inputs = [name if name in ("", plain) else self._read(name, roles.get(name), bias_bits) for name in node.inputs]
        # What the model answers with keeps its name, so that the tensor before its pair gets another.
        answered = rounded & self.answered
        outputs = [self._name(f"{name}_real") if name in answered else name for name in node.outputs]
        attributes = {
            key: self._inner(value) if isinstance(value, Graph) else value for key, value in node.attributes.items()
        }
        captures = tuple(self.renamed.get(name, name) for name in node.captures)
        self.nodes.append(
            replace(node, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes, captures=captures)
        )
        for name, real in zip(node.outputs, outputs, strict=True):
            if name in rounded:
                self._pair(name, real, name if real != name else self._name(f"{name}_dequantized"))

    def finish(self) -> Graph:
        """Return the graph."""
        read = {name for node in self.nodes for name in (*node.reads, *_read_inside(node))} | self.answered
        read -= {name for node in self.nodes for name in node.outputs}
        kept = {name: array for name, array in self.graph.constants.items() if name in read}
        return replace(
            self.graph,
            nodes=tuple(self.nodes),
            constants={**kept, **self.constants},
            overridable=tuple(value for value in self.graph.overridable if value.name in kept),
        )

    def _inner(self, graph: Graph) -> Graph:
        """Return a graph inside of a node that reads the dequantized tensors around it."""
        nodes = []
        for node in graph.nodes:
            inputs = tuple(self.renamed.get(name, name) for name in node.inputs)
            attributes = {k: self._inner(v) if isinstance(v, Graph) else v for k, v in node.attributes.items()}
            nodes.append(replace(node, inputs=inputs, attributes=attributes))
        if missing := [value.name for value in graph.outputs if value.name in self.renamed]:
            raise UnsupportedError(f"a graph inside of a node answers with '{missing[0]}', a tensor around it")
        return replace(graph, nodes=tuple(nodes))

    def _taken_as_a_number(self, node: Node) -> str | None:
        """Return a constant that is part of a table's function, and so is not quantized: the one slope of a PRelu."""
        slope = node.inputs[1] if node.operator == "PRelu" and not node.domain else ""
        return slope if slope in self.graph.constants and self.graph.constants[slope].size == 1 else None

    def _read(self, name: str, role: Role | None, bias_bits: NDArray[np.int64] | None) -> str:
        """Return what a node reads in the place of a tensor."""
        array = self.graph.constants.get(name)
        if array is None or array.dtype.kind != "f":
            return self.renamed.get(name, name)
        if role is Role.BIAS and bias_bits is not None:
            return self._bias(name, array, bias_bits)
        form = self.formats.get(self.graph.derived.get(name, name))
        if role not in (Role.DATA, Role.WEIGHTS) or form is None:
            return name
        if name not in self.renamed:
            self.renamed[name] = self._stored(name, array, form)
        return self.renamed[name]

    def _stored(self, name: str, array: NDArray[Any], form: Format) -> str:
        """Store a constant as integers; what dequantizes them has the name that the model gives it."""
        codes = quantize(array, fraction_bits_of(form, array.ndim), form.word())
        axis = form.axis if isinstance(form, ChannelFormats) else None
        each = form.formats if isinstance(form, ChannelFormats) else (form,)
        out = self._own_name(name)
        stored = self._constant(f"{out}_quantized", codes)
        return self._dequantize(stored, out, [one.fraction_bits for one in each], axis, codes.dtype)

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

    def _bias(self, name: str, array: NDArray[Any], bits: NDArray[np.int64]) -> str:
        key = (name, bits.tobytes())
        if key not in self._made:
            n = bits
            if bits.size > 1:  # channels are the last axis of a bias, which has as many for each group of them
                channels = max(bits.size, array.shape[-1] if array.ndim else 1)
                array = np.broadcast_to(array, (*array.shape[:-1], channels))
                n = np.tile(bits, channels // bits.size)
            scaled = np.rint(np.ldexp(array.astype(np.float64), n))
            codes = np.clip(scaled, _BIAS.min, _BIAS.max).astype(np.int32)
            out = self._own_name(name)
            stored = self._constant(f"{out}_quantized", codes)
            axis = None if n.size == 1 else array.ndim - 1
            self._made[key] = self._dequantize(stored, out, n.tolist(), axis, codes.dtype)
        return self._made[key]

    def _dequantize(self, stored: str, out: str, bits: list[int], axis: int | None, dtype: np.dtype[Any]) -> str:
        scale = np.exp2(-np.array(bits, np.float64)).astype(np.float32)
        if not scale.all():
            raise FormatError(f"'{out}' has {max(bits)} fraction bits, and float32 has no scale that is so small")
        scale_name = self._constant(f"{stored}_scale", scale if axis is not None else scale.reshape(()))
        zero = self._constant(f"{stored}_zero_point", np.zeros(len(bits) if axis is not None else (), dtype))
        attributes = {} if axis is None else {"axis": axis}
        self.nodes.append(
            Node(
                "DequantizeLinear",
                (stored, scale_name, zero),
                (out,),
                attributes,
                f"{out}_dequantize",
                version=self.version,
            )
        )
        return out

    def _pair(self, name: str, real: str, out: str) -> None:
        form = self.formats[name]
        assert isinstance(form, QFormat)
        if form.bits not in (8, 16):
            raise FormatError(
                f"'{name}' is {form}, of {form.bits} bits; a quantized model stores activations in 8 or 16 bits"
            )
        scale = self._constant(f"{name}_scale", np.array(form.step, np.float32))
        zero = self._constant(f"{name}_zero_point", np.zeros((), form.dtype))
        stored = self._name(f"{name}_quantized")
        self._add("QuantizeLinear", (real, scale, zero), stored)
        self._add("DequantizeLinear", (stored, scale, zero), out)
        if out != name:
            self.renamed[name] = out

    def _add(
        self,
        operator: str,
        inputs: tuple[str, ...],
        out: str,
        attributes: Mapping[str, Attribute] = MappingProxyType({}),
    ) -> None:
        self.nodes.append(Node(operator, inputs, (out,), attributes, f"{out}/{operator}", version=self.version))

    def _constant(self, wanted: str, array: NDArray[Any]) -> str:
        name = self._name(wanted)
        self.constants[name] = array
        return name

    def _own_name(self, constant: str) -> str:
        """Return the model's own name of a constant, or another where a second tensor needs it."""
        name = self.graph.derived.get(constant, constant)
        if name in self._own:
            return self._name(f"{name}_dequantized")
        self._own.add(name)
        self.taken.add(name)
        return name

    def _name(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name


def _read_inside(node: Node) -> set[str]:
    """Return what the graphs inside of a node read."""
    found: set[str] = set()
    for held in node.graphs.values():
        found |= {value.name for value in held.outputs}
        for each in held.nodes:
            found |= {*each.inputs, *_read_inside(each)}
    return found
