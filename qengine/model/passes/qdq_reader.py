"""Reading of a quantized ONNX model as a fixed-point model.

Quantization tools write a model in float32 and put a pair of nodes after each tensor: QuantizeLinear, which rounds it
to integers, and DequantizeLinear, which turns them back into real numbers. If every scale is a power of two, 2^-n, and
every zero point is 0 or the middle of an unsigned type, these integers are the codes of a Qm.n format. Then this pass
removes the pairs and writes the formats into `Graph.formats`; a run computes on codes between two pairs, and the result
has the bits that ONNX defines. If a scale or zero point has no format, the graph is not changed and gets a note.

For each pair there are two tensors in the file and one afterwards:

- the *stored* tensor holds integers, between the two nodes. It is computed only if something else reads it, such as an
  output of the model; `Graph.decoded` maps its name to that of the real tensor.
- the *real* tensor holds the numbers that these integers represent. An operator `qengine.Requantize` computes it, which
  `requantize` merges into the operator before it if possible. Operators between the two nodes that only move integers
  (Reshape, Transpose) move the real tensor instead.

Where a Clip stands between the two nodes (Brevitas calls this QCDQ), the integers have fewer bits than their type: the
format has the bits of the Clip, and a range without the least integer is a rule, symmetric overflow. A bias of sums
of so few bits is not rounded to them; see `Graph.unrounded_biases`.

Constants are decoded here: the integers of quantized weights become real numbers that their format holds exactly.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import quantize
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find
from qengine.model.ops.quantization import default_dtype
from qengine.model.passes.clipped_integers import IntegerRange, clip_range
from qengine.model.passes.constants import fold_constants
from qengine.model.passes.scales import (
    NotFixedPointError,
    check_channels,
    code_of_zero,
    per_channel,
    scale_format,
    whole_exponents,
)
from qengine.model.rules import Modes
from qengine.qformat import ChannelFormats, Format, QFormat, fraction_bits_of

_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})


def has_pairs(graph: Graph) -> bool:
    """Whether a graph has one of the nodes of a pair."""
    return any(_is(node, operator) for node in graph.nodes for operator in _PAIR)


def read_pairs(graph: Graph) -> Graph:
    """Return a graph with a Requantize in place of each pair, and with formats.

    Raises
    ------
    NotFixedPointError
        If a pair has no format.
    """
    folded = fold_constants(graph, keep=_PAIR)
    spans = {node.outputs[0]: clip_range(node, folded.constants) for node in graph.nodes if _is(node, "Clip")}
    clipped = {name: span for name, span in spans.items() if span is not None and name in folded.constants}
    return _PairReader(folded, clipped).read()


def _is(node: Node, operator: str) -> bool:
    return node.operator == operator and not node.domain


@dataclass(frozen=True)
class _Stored:
    """A tensor of integers that are codes of a format.

    Attributes
    ----------
    real : name of the tensor of the real numbers that the codes represent.
    format, zero_point : format of the codes, and the integer that stores the value 0.
    quantizer : node that computes the integers from `real`, for readers of the integers themselves.
    source : tensor that is rounded.
    wide : format of all integers of their type, where a Clip lets fewer pass.
    """

    real: str
    format: QFormat
    zero_point: int
    quantizer: Node
    source: str
    wide: QFormat


class _PairReader:
    """Conversion of one graph: every pair becomes a tensor with a format, computed by `qengine.Requantize`.

    Parameters
    ----------
    graph
        The graph, with its constants folded.
    clipped
        Ranges of the constants that a Clip gave.
    """

    def __init__(self, graph: Graph, clipped: dict[str, IntegerRange]) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.nodes: list[Node] = []
        self.formats: dict[str, Format] = {}
        self.rules: dict[str, Modes] = {}
        self.stored: dict[str, _Stored] = {}
        self.aliases: dict[str, str] = {}
        self.computed: set[str] = set()
        self.constant_codes: dict[str, str] = {}
        self.clipped = clipped
        self.has_clips = bool(clipped)
        self.readers = graph.readers()
        self.dequantized = {
            name: next((n.outputs[0] for n in nodes if _is(n, "DequantizeLinear")), None)
            for name, nodes in self.readers.items()
        }

    def read(self) -> Graph:
        """Return the graph with a Requantize in place of each pair, and with formats."""
        for node in self.graph.nodes:
            one = replace(node, inputs=tuple(self._renamed(n) for n in node.inputs)) if self.aliases else node
            if _is(node, "QuantizeLinear"):
                self._quantize(one)
            elif _is(node, "DequantizeLinear"):
                self._dequantize(one)
            elif not (self._clip(one) or self._move_real(one)):
                for name in one.reads:
                    self._compute_stored(name)
                self.nodes.append(one)
        for value in self.graph.outputs:
            self._compute_stored(value.name)
        return replace(
            self.graph,
            nodes=tuple(self.nodes),
            constants=self.constants,
            formats=self.formats,
            rules=self.rules,
            aliases=self.aliases,
            decoded={name: stored.real for name, stored in self.stored.items()} | self.constant_codes,
            unrounded_biases=self.has_clips,
        )

    def _renamed(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _format(self, node: Node, dtype: np.dtype[Any] | None) -> tuple[QFormat, int]:
        """Return the format and zero point of a node that has one scale for the whole tensor."""
        scale, zero_point = self._scales(node)
        dtype = zero_point.dtype if zero_point is not None else dtype
        if dtype is None:
            raise NotFixedPointError(f"the type of the integers that {node} reads is not known")
        if scale.size != 1:
            raise NotFixedPointError(f"{node} has one scale per channel for a tensor that is not constant")
        offset = code_of_zero(node, zero_point)
        return scale_format(node, dtype, float(scale.item()), offset), offset

    def _scales(self, node: Node) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return the constant scale and zero point of a node; the zero point is None if left out."""
        if node.attributes.get("block_size") or node.attributes.get("precision"):
            raise NotFixedPointError(f"{node} has blocks or a precision")
        arrays = [self.constants.get(name) if name else None for name in node.inputs[1:3]]
        missing = [name for name, array in zip(node.inputs[1:3], arrays, strict=True) if name and array is None]
        if missing or not arrays or arrays[0] is None:
            raise NotFixedPointError(f"scale or zero point of {node} is computed by the model")
        return arrays[0], arrays[1] if len(arrays) > 1 else None

    def _quantize(self, node: Node) -> None:
        """Replace a QuantizeLinear by a Requantize that computes the real tensor; remember the stored one."""
        (source, *_), stored = node.inputs, node.outputs[0]
        if source in self.constants:
            self._quantize_constant(node)
            return
        if source in self.stored:
            raise NotFixedPointError(f"{node} quantizes the integers '{source}'")
        fmt, zero_point = self._format(node, default_dtype(node.number("output_dtype", 0)))
        real = self._real(stored)
        quantizer = replace(node, inputs=(real, *node.inputs[1:]))
        self.stored[stored] = _Stored(real, fmt, zero_point, quantizer, source, fmt)
        readers = self.readers.get(stored, ())
        is_output = any(value.name == stored for value in self.graph.outputs)
        if is_output or not readers or not all(clip_range(reader, self.constants) for reader in readers):
            self._requantize(node, source, real, fmt)

    def _requantize(self, node: Node, source: str, real: str, fmt: QFormat) -> None:
        self.nodes.append(Node("Requantize", (source,), (real,), {}, node.name, "qengine"))
        self.formats[real] = fmt

    def _clip(self, node: Node) -> bool:
        """Read a Clip of stored integers as a rounding to fewer of them; return whether it is one."""
        span = clip_range(node, self.constants)
        if span is None:
            return False
        source, out = node.inputs[0], node.outputs[0]
        if source in self.constants:
            self.constants[out] = np.clip(self.constants[source], span.least, span.most)
            self.clipped[out] = span
            return True
        if source not in self.stored:
            return False
        stored, self.has_clips = self.stored[source], True
        real, word = self._real(out), span.word(stored.wide, stored.zero_point)
        fmt, modes = word or (stored.wide, Modes())
        rounded = real if word else self._fresh(f"{out} unbounded")
        self._requantize(node, stored.source, rounded, fmt)
        if modes != Modes():
            self.rules[rounded] = modes
        if word is None:  # no word has just these integers
            bounds = [self._fresh(f"{out} {end}") for end in ("least", "most")]
            self.constants |= dict(zip(bounds, span.bounds(fmt, stored.zero_point), strict=True))
            self.nodes.append(Node("Clip", (rounded, *bounds), (real,), {}, node.name, "", node.version))
        quantizer = replace(stored.quantizer, inputs=(real, *stored.quantizer.inputs[1:]), outputs=(out,))
        self.stored[out] = replace(stored, real=real, format=fmt, quantizer=quantizer)
        return True

    def _quantize_constant(self, node: Node) -> None:
        """Compute the QuantizeLinear of a constant, as a run of the model does."""
        source, stored = node.inputs[0], node.outputs[0]
        scale, zero_point = self._scales(node)
        dtype = default_dtype(node.number("output_dtype", 0)) if zero_point is None else zero_point.dtype
        if dtype is None:
            raise NotFixedPointError(f"{node} has an output type whose integers are not codes")
        value = self.constants[source]
        offset = code_of_zero(node, zero_point)
        fmt = self._constant_format(node, dtype, scale, zero_point, value)
        if np.isnan(value).any():
            raise NotFixedPointError(f"{node} quantizes NaN")
        codes = quantize(value, fraction_bits_of(fmt, value.ndim), fmt.word())
        self.constants[stored] = (codes.astype(np.int64) + offset).astype(dtype)

    def _dequantize(self, node: Node) -> None:
        """Make the output of a DequantizeLinear an alias of the real tensor; one of integers that are fed stays."""
        (source, *_), out = node.inputs, node.outputs[0]
        if source in self.constants:
            self._dequantize_constant(node)
            return
        if source not in self.stored:
            value = self.graph.values.get(source) or next((v for v in self.graph.inputs if v.name == source), None)
            fmt, _ = self._format(node, None if value is None else value.dtype)
            self.formats[out] = fmt
            self.nodes.append(node)
            return
        stored = self.stored[source]
        if self._format(node, self._dtype(stored)) != (stored.wide, stored.zero_point):
            raise NotFixedPointError(f"{node} reads integers of {stored.wide} as codes of another format")
        if out != stored.real:
            self.aliases[out] = stored.real

    def _dtype(self, stored: _Stored) -> np.dtype[Any] | None:
        """Return the integer type of a stored tensor: that of its zero point, else of its format."""
        zero_point = stored.quantizer.inputs[2:3]
        if zero_point and zero_point[0]:
            return self.constants[zero_point[0]].dtype
        return np.dtype(f"{'int' if stored.wide.signed else 'uint'}{stored.wide.bits}")

    def _dequantize_constant(self, node: Node) -> None:
        """Compute the DequantizeLinear of a constant: the real numbers that the codes represent."""
        source, out = node.inputs[0], node.outputs[0]
        scale, zero_point = self._scales(node)
        codes = self.constants[source]
        offset = code_of_zero(node, zero_point)
        if codes.dtype in (np.int32, np.int64) and not offset:
            n = whole_exponents(node, scale)
            check_channels(node, scale, codes)
            exact = np.asarray(np.ldexp(codes.astype(np.float64), -per_channel(n, codes.ndim, node)))
            rounded = exact.astype(scale.dtype)
            # float32 does not hold every bias of 32 bits; float64 keeps its codes.
            self.constants[out] = rounded if np.array_equal(rounded, exact) else exact
            return
        fmt = self._constant_format(node, codes.dtype, scale, zero_point, codes)
        if source in self.clipped:
            fmt = self.clipped[source].constant_format(fmt, offset)
        self.constant_codes[source] = out
        whole = (codes.astype(np.int64) - offset).astype(scale.dtype)
        self.constants[out] = np.asarray(np.ldexp(whole, -np.asarray(fraction_bits_of(fmt, codes.ndim))))
        self.formats[out] = fmt

    def _constant_format(
        self,
        node: Node,
        dtype: np.dtype[Any],
        scale: NDArray[Any],
        zero_point: NDArray[Any] | None,
        array: NDArray[Any],
    ) -> Format:
        """Return the format of a constant: one, or one per channel."""
        check_channels(node, scale, array)
        offset = code_of_zero(node, zero_point)
        formats = [scale_format(node, dtype, float(one), offset) for one in scale.reshape(-1)]
        axis = node.attributes.get("axis")
        if isinstance(axis, int) and array.ndim and not -array.ndim <= axis < array.ndim:
            raise NotFixedPointError(f"{node} has the axis {axis} for a tensor of {array.ndim}")
        is_one_channel = isinstance(axis, int) and scale.ndim == 1 and array.ndim and array.shape[axis] == 1
        if len(formats) == 1 and not is_one_channel:
            return formats[0]
        return ChannelFormats(tuple(formats), node.number("axis", 1) % array.ndim)

    def _move_real(self, node: Node) -> bool:
        """Let a node that moves stored integers move the real tensor instead; return whether it is such a node."""
        read = [name for name in node.inputs if name in self.stored]
        if not read or node.captures:
            return False
        stored = self.stored[read[0]]
        moves = find(node).preserves_format(node) and not find(node).facts.numbers
        if not moves or read != [node.inputs[0]] or (stored.zero_point and _is(node, "Relu")):
            return False
        outputs, kept = [], find(node).kept_outputs(node)
        for name in node.outputs:
            real = self._real(name) if name in kept and name else name
            outputs.append(real)
            if real != name:
                quantizer = replace(stored.quantizer, inputs=(real, *stored.quantizer.inputs[1:]), outputs=(name,))
                self.stored[name] = replace(stored, real=real, quantizer=quantizer)
        self.nodes.append(replace(node, inputs=(stored.real, *node.inputs[1:]), outputs=tuple(outputs)))
        return True

    def _compute_stored(self, name: str) -> None:
        """Add the node that computes the stored integers, once, for a node or a caller that reads them."""
        stored = self.stored.get(name)
        if stored is not None and name not in self.computed:
            self.computed.add(name)
            self.nodes.append(replace(stored.quantizer, outputs=(name,)))

    def _real(self, stored: str) -> str:
        """Return the name of the real tensor of stored integers: that of their DequantizeLinear, or a new name."""
        if dequantized := self.dequantized.get(stored):
            return dequantized
        return self._fresh(f"{stored} as real numbers")

    def _fresh(self, wanted: str) -> str:
        taken = {output for node in self.nodes for output in node.outputs} | self.constants.keys()
        return self.graph.fresh_name(wanted, taken)
