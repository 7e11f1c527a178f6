"""Reading of a QONNX model: Quant, BipolarQuant and Trunc nodes become formats and rules of tensors.

Brevitas, QKeras and FINN write a network in float32 and put a node after each tensor that was rounded in training. A
node tells a scale, a number of bits, and a rounding of its own. Where all scales are powers of two, these are formats
and rules: `Graph.formats` and `Graph.rules`, which a run takes without an option. What has none is an error: the model
would compute other numbers than those it was trained for.

- A constant is rounded here, as its node says, and has the format of the node.
- A tensor that a run computes is rounded by `qengine.Requantize`, which `requantize` merges into the operator before it
  if possible.
- Integers that a format has, but not the node (the greatest of an unsigned narrow range), are cut off by a Clip.
- BipolarQuant rounds down to whole numbers of two bits, and is a table of them.
- Trunc is two roundings, the first of which is exact where the tensor has the scale that the node says.

What moves or reshapes a constant moves its format too, so that weights keep their integers.
"""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.graph import Graph, Names, Node
from qengine.model.ops.operator import find
from qengine.model.ops.qonnx import BIPOLAR, OPERATORS, TRUNC, is_rounding
from qengine.model.passes.constants import fold_constants
from qengine.model.passes.qonnx_nodes import Quantization, quantization_of, truncation_of
from qengine.model.rules import Modes
from qengine.qformat import ChannelFormats, Format, QFormat, Rounding

_OPSET = 13  # of the operators of ONNX that the reader adds
_WHOLE = QFormat(1, 0)
"""Format of the numbers whose sign a BipolarQuant takes: rounded down, all have the sign that they had."""


def has_roundings(graph: Graph) -> bool:
    """Whether a graph has nodes that this pass reads."""
    return any(map(is_rounding, graph.nodes))


def read_roundings(graph: Graph) -> Graph:
    """Return a QONNX graph with a Requantize for each node that rounds, with formats and with rules.

    Raises
    ------
    QEngineError
        If a node is malformed, or says what fixed point cannot say; the message names it.
    """
    return _Reader(fold_constants(graph, keep=OPERATORS)).read()


class _Reader:
    """Conversion of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = Names(graph.tensors() | graph.inner_tensors())
        self.constants = dict(graph.constants)
        self.nodes: list[Node] = []
        self.formats: dict[str, Format] = {}
        self.rules: dict[str, Modes] = {}
        self.added: set[str] = set()

    def read(self) -> Graph:
        """Return the graph after the conversion."""
        for node in self.graph.nodes:
            if is_rounding(node):
                with node.errors_named():
                    self._round(node)
            elif not self._move_constant(node):
                self.nodes.append(node)
        return replace(
            self.graph,
            nodes=tuple(self.nodes),
            constants=self.constants,
            formats=self.formats,
            rules=self.rules,
            added=self.graph.added | self.added,
            unrounded_biases=True,
        )

    def _round(self, node: Node) -> None:
        """Replace a node that rounds."""
        if node.operator == TRUNC:
            self._truncate(node)
            return
        quantization = quantization_of(node, self.constants)
        source, out = node.inputs[0], node.outputs[0]
        if source in self.constants:
            self._round_constant(quantization, source, out)
        else:
            self._requantize(quantization, source, out)

    def _round_constant(self, quantization: Quantization, source: str, out: str) -> None:
        array = self.constants[source]
        if array.dtype.kind != "f":
            raise ModelError(f"it rounds '{source}', whose elements are {array.dtype}; export the model again")
        self.constants[out] = quantization.of_constant(array)
        fmt = quantization.constant_format(array.ndim)
        if fmt is not None:
            self.formats[out] = fmt

    def _requantize(self, quantization: Quantization, source: str, out: str) -> None:
        """Add the nodes that round a tensor which a run computes."""
        fmt = quantization.activation_format()
        self._check_axes(quantization, source)
        if quantization.is_bipolar:
            self._take_sign(quantization, fmt, source, out)
            return
        if quantization.bound is None:
            self._add(quantization.node, source, out, fmt, quantization.modes)
            return
        rounded, high = self._new(f"{out} unbounded"), self._new(f"{out} bound")
        self._add(quantization.node, source, rounded, fmt, quantization.modes)
        self.constants[high] = np.asarray(quantization.bound * fmt.step, np.float32)
        self.nodes.append(Node("Clip", (rounded, "", high), (out,), {}, quantization.node.name, version=_OPSET))

    def _take_sign(self, quantization: Quantization, fmt: QFormat, source: str, out: str) -> None:
        node = quantization.node
        whole, scale = self._new(f"{out} rounded down"), self._new(f"{out} scale")
        self.constants[scale] = np.asarray(fmt.step, np.float32)
        self._add(node, source, whole, _WHOLE, Modes(Rounding.FLOOR))
        self.nodes.append(Node(BIPOLAR, (whole, scale), (out,), {}, node.name, node.domain, node.version))
        self.formats[out] = fmt

    def _truncate(self, node: Node) -> None:
        """Add the two roundings of a Trunc."""
        truncation = truncation_of(node, self.constants)
        source, out = node.inputs[0], node.outputs[0]
        if source in self.constants:
            rounded = truncation.first.of_constant(self.constants[source])
            scaled = np.ldexp(rounded, -truncation.factor_bits)
            self.constants[out] = truncation.second.of_constant(scaled)
            self.formats[out] = truncation.second.activation_format()
            return
        first, factor = self._new(f"{out} before"), self._new(f"{out} factor")
        self._requantize(truncation.first, source, first)
        if truncation.factor_bits:
            scaled_down = self._new(f"{out} scaled")
            self.constants[factor] = np.asarray(2.0**-truncation.factor_bits, np.float32)
            self.nodes.append(Node("Mul", (first, factor), (scaled_down,), {}, scaled_down, version=_OPSET))
            first = scaled_down
        self._requantize(truncation.second, first, out)

    def _add(self, node: Node, source: str, out: str, fmt: QFormat, modes: Modes) -> None:
        self.nodes.append(Node("Requantize", (source,), (out,), {}, node.name, "qengine"))
        self.formats[out] = fmt
        if modes != Modes():
            self.rules[out] = modes

    def _new(self, wanted: str) -> str:
        """Return the name of a tensor that the file does not have."""
        name = self.names.fresh(wanted)
        self.added.add(name)
        return name

    def _check_axes(self, quantization: Quantization, source: str) -> None:
        value = self.graph.values.get(source)
        if value is None or value.shape is None:
            return
        if quantization.exponents.ndim > len(value.shape):
            raise ModelError(
                f"its scale has the shape {list(quantization.exponents.shape)} for '{source}' of {len(value.shape)} "
                "axes; export the model again"
            )
        if value.dtype is not None and value.dtype.kind != "f":
            raise ModelError(f"it rounds '{source}', whose elements are {value.dtype}; export the model again")

    def _move_constant(self, node: Node) -> bool:
        """Compute a node that moves elements of a constant, and move its format; return whether it is such a node."""
        if not node.inputs or len(node.outputs) != 1 or not find(node).preserves_format(node):
            return False
        fmt = self.formats.get(node.inputs[0])
        if fmt is None or not all(name in self.constants for name in node.reads):
            return False
        alone = fold_constants(replace(self.graph, nodes=(node,), constants=self.constants))
        source, out = node.inputs[0], node.outputs[0]
        moved = None if alone.nodes else _moved(fmt, node, self.constants[source], alone.constants[out])
        if moved is None:
            return False
        self.constants[out] = alone.constants[out]
        self.formats[out] = moved
        return True


def _moved(fmt: Format, node: Node, before: NDArray[Any], after: NDArray[Any]) -> Format | None:
    """Return the format of a constant after a node that moves its elements; None where channels are taken apart."""
    if isinstance(fmt, QFormat):
        return fmt
    if not isinstance(fmt, ChannelFormats):
        return None
    axis = fmt.axis
    if node.operator == "Transpose":
        order = node.attributes.get("perm", tuple(reversed(range(before.ndim))))
        assert isinstance(order, tuple)
        return ChannelFormats(fmt.formats, [int(i) % before.ndim for i in order].index(axis))
    if before.size != after.size:
        return None
    outer = prod(before.shape[:axis])
    places = [i for i in range(after.ndim) if prod(after.shape[:i]) == outer and after.shape[i] == before.shape[axis]]
    return ChannelFormats(fmt.formats, places[-1]) if places else None
