"""A model with QuantizeLinear and DequantizeLinear is read as the fixed-point model that it stands for.

Where all scales are powers of two and all zero points 0, or the middle of an unsigned type, integers in the model are
codes of Qm.n formats. The pairs go, the tensors before them get the formats, and what the model computes between two
pairs is computed on codes. Where one of them is not, nothing is changed, and a note says why.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import quantize
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Number, find
from qengine.model.ops.quantization import default_dtype, stored_format
from qengine.model.passes.constants import fold_constants
from qengine.model.passes.requantize import merge_requantize, roots
from qengine.model.qlinear import spell_out
from qengine.qformat import ChannelFormats, Format, QFormat, fraction_bits_of, holds

_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})


def read_quantized(graph: Graph) -> Graph:
    """Return the fixed-point model that a quantized one stands for; any other graph as it is, with a note."""
    if graph.formats is not None:
        return graph
    spelled = spell_out(graph)
    if not any(_is(node, operator) for node in spelled.nodes for operator in _PAIR):
        return graph
    try:
        found = _Reader(fold_constants(spelled, but=_PAIR)).read()
        _check_numbers(found)
        return merge_requantize(found)
    except _OtherwiseError as why:
        note = f"the model is quantized, but not in fixed point: {why}; it runs as ONNX defines it"
        return replace(graph, notes=(*graph.notes, note))


class _OtherwiseError(Exception):
    """The model is not one in fixed point."""


def _is(node: Node, operator: str) -> bool:
    return node.operator == operator and not node.domain


@dataclass(frozen=True)
class _Stored:
    """A tensor of integers that are codes.

    Attributes
    ----------
    real : the tensor of the numbers that they stand for.
    form, zero_point : what they mean.
    quantizer : the node that makes them of `real`, should somebody read the integers themselves.
    """

    real: str
    form: QFormat
    zero_point: int
    quantizer: Node


class _Reader:
    """Every pair becomes a tensor of its own with a format, computed by `qengine.Requantize`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.nodes: list[Node] = []
        self.formats: dict[str, Format] = {}
        self.stored: dict[str, _Stored] = {}
        self.aliases: dict[str, str] = {}
        self.made: set[str] = set()
        self.constant_codes: dict[str, str] = {}
        readers = graph.readers()
        self.dequantized = {
            name: next((n.outputs[0] for n in found if _is(n, "DequantizeLinear")), None)
            for name, found in readers.items()
        }

    def read(self) -> Graph:
        for node in self.graph.nodes:
            one = replace(node, inputs=tuple(self._renamed(n) for n in node.inputs)) if self.aliases else node
            if _is(node, "QuantizeLinear"):
                self._quantize(one)
            elif _is(node, "DequantizeLinear"):
                self._dequantize(one)
            elif not self._moves_codes(one):
                for name in one.reads:
                    self._store(name)
                self.nodes.append(one)
        for value in self.graph.outputs:
            self._store(value.name)
        return replace(
            self.graph,
            nodes=tuple(self.nodes),
            constants=self.constants,
            formats=self.formats,
            aliases=self.aliases,
            stored={name: stored.real for name, stored in self.stored.items()} | self.constant_codes,
        )

    def _renamed(self, name: str) -> str:
        return self.aliases.get(name, name)

    def _format(self, node: Node, dtype: np.dtype[Any] | None) -> tuple[QFormat, int]:
        """Return the format and zero point of a node with one scale for the whole tensor."""
        scale, zero_point = self._parameters(node)
        dtype = zero_point.dtype if zero_point is not None else dtype
        if dtype is None:
            raise _OtherwiseError(f"the type of the integers that {node} reads is not known")
        if scale.size != 1:
            raise _OtherwiseError(f"{node} has a scale for each channel of what is no constant")
        offset = _offset(node, zero_point)
        return _one_format(node, dtype, float(scale.item()), offset), offset

    def _parameters(self, node: Node) -> tuple[NDArray[Any], NDArray[Any] | None]:
        if node.attributes.get("block_size") or node.attributes.get("precision"):
            raise _OtherwiseError(f"{node} has blocks or a precision")
        found = [self.constants.get(name) if name else None for name in node.inputs[1:3]]
        missing = [name for name, array in zip(node.inputs[1:3], found, strict=True) if name and array is None]
        if missing or not found or found[0] is None:
            raise _OtherwiseError(f"scale or zero point of {node} is computed by the model")
        return found[0], found[1] if len(found) > 1 else None

    def _quantize(self, node: Node) -> None:
        (source, *_), stored = node.inputs, node.outputs[0]
        if source in self.constants:
            self._quantize_constant(node)
            return
        form, zero_point = self._format(node, default_dtype(node.number("output_dtype", 0)))
        real = self._real(stored)
        self.nodes.append(Node("Requantize", (source,), (real,), {}, node.name, "qengine"))
        self.formats[real] = form
        quantizer = replace(node, inputs=(real, *node.inputs[1:]))
        self.stored[stored] = _Stored(real, form, zero_point, quantizer)

    def _quantize_constant(self, node: Node) -> None:
        """Quantize a constant as the model would."""
        source, stored = node.inputs[0], node.outputs[0]
        scale, zero_point = self._parameters(node)
        dtype = default_dtype(node.number("output_dtype", 0)) if zero_point is None else zero_point.dtype
        if dtype is None:
            raise _OtherwiseError(f"{node} gives no integers that are codes")
        value = self.constants[source]
        offset = _offset(node, zero_point)
        form = self._of_channels(node, dtype, scale, zero_point, value)
        if np.isnan(value).any():
            raise _OtherwiseError(f"{node} quantizes NaN")
        codes = quantize(value, fraction_bits_of(form, value.ndim), form.word())
        self.constants[stored] = (codes.astype(np.int64) + offset).astype(dtype)

    def _dequantize(self, node: Node) -> None:
        (source, *_), out = node.inputs, node.outputs[0]
        if source in self.constants:
            self._dequantize_constant(node)
            return
        if source not in self.stored:
            value = self.graph.values.get(source) or next((v for v in self.graph.inputs if v.name == source), None)
            form, _ = self._format(node, None if value is None else value.dtype)
            self.formats[out] = form
            self.nodes.append(node)
            return
        stored = self.stored[source]
        if self._format(node, self._dtype(stored)) != (stored.form, stored.zero_point):
            raise _OtherwiseError(f"{node} reads integers of {stored.form} as codes of another format")
        if out != stored.real:
            self.aliases[out] = stored.real

    def _dtype(self, stored: _Stored) -> np.dtype[Any] | None:
        zero_point = stored.quantizer.inputs[2:3]
        if zero_point and zero_point[0]:
            return self.constants[zero_point[0]].dtype
        return np.dtype(f"{'int' if stored.form.signed else 'uint'}{stored.form.bits}")

    def _dequantize_constant(self, node: Node) -> None:
        """Turn stored integers into the real numbers that they are the codes of."""
        source, out = node.inputs[0], node.outputs[0]
        scale, zero_point = self._parameters(node)
        codes = self.constants[source]
        offset = _offset(node, zero_point)
        if codes.dtype in (np.int32, np.int64) and not offset:
            n = _whole_exponents(node, scale)
            _check_channels(node, scale, codes)
            exact = np.ldexp(codes.astype(np.float64), -_spread(n, codes.ndim, node))
            rounded = exact.astype(scale.dtype)
            # A bias of 32 bits may hold more than float32 does, and its codes are to stay what they are.
            self.constants[out] = rounded if np.array_equal(rounded, exact) else exact
            return
        form = self._of_channels(node, codes.dtype, scale, zero_point, codes)
        self.constant_codes[source] = out
        whole = (codes.astype(np.int64) - offset).astype(scale.dtype)
        self.constants[out] = np.ldexp(whole, -np.asarray(fraction_bits_of(form, codes.ndim)))
        self.formats[out] = form

    def _of_channels(
        self,
        node: Node,
        dtype: np.dtype[Any],
        scale: NDArray[Any],
        zero_point: NDArray[Any] | None,
        array: NDArray[Any],
    ) -> Format:
        """Return the format of a constant: one, or one for each channel."""
        _check_channels(node, scale, array)
        offset = _offset(node, zero_point)
        found = [_one_format(node, dtype, float(one), offset) for one in scale.reshape(-1)]
        axis = node.attributes.get("axis")
        is_one_channel = isinstance(axis, int) and scale.ndim == 1 and array.ndim and array.shape[axis] == 1
        if len(found) == 1 and not is_one_channel:
            return found[0]
        return ChannelFormats(tuple(found), node.number("axis", 1) % array.ndim)

    def _moves_codes(self, node: Node) -> bool:
        """Take a node that moves stored integers as one that moves the numbers that they stand for."""
        read = [name for name in node.inputs if name in self.stored]
        if not read or node.captures:
            return False
        stored = self.stored[read[0]]
        moves = find(node).preserves_format(node) and not find(node).facts.numbers
        if not moves or read != [node.inputs[0]] or (stored.zero_point and _is(node, "Relu")):
            return False
        outputs = []
        for name in node.outputs:
            real = self._real(name) if name else ""
            outputs.append(real)
            if name:
                quantizer = replace(stored.quantizer, inputs=(real, *stored.quantizer.inputs[1:]), outputs=(name,))
                self.stored[name] = replace(stored, real=real, quantizer=quantizer)
        self.nodes.append(replace(node, inputs=(stored.real, *node.inputs[1:]), outputs=tuple(outputs)))
        return True

    def _store(self, name: str) -> None:
        """Compute the integers themselves, for a node or a caller that reads them."""
        stored = self.stored.get(name)
        if stored is not None and name not in self.made:
            self.made.add(name)
            self.nodes.append(replace(stored.quantizer, outputs=(name,)))

    def _real(self, stored: str) -> str:
        """Return the tensor of the numbers that stored integers stand for: what dequantizes them, or a new one."""
        if dequantized := self.dequantized.get(stored):
            return dequantized
        taken = {output for node in self.nodes for output in node.outputs}
        return self.graph.fresh_name(f"{stored} as real numbers", taken)


def _one_format(node: Node, dtype: np.dtype[Any], scale: float, zero_point: int) -> QFormat:
    """Return the format of integers that share a scale and a zero point."""
    form = stored_format(dtype, scale, zero_point)
    if form is not None:
        return form
    if stored_format(dtype, 1.0, 0) is None:
        raise _OtherwiseError(f"{node} has {dtype} elements, which are no codes of up to 16 bits")
    if zero_point:
        raise _OtherwiseError(f"{node} has scale {scale:g} and zero point {zero_point} in {dtype}")
    raise _OtherwiseError(f"{node} has scale {scale:g} in {dtype}, and no Qm.n has that step")


def _check_numbers(graph: Graph) -> None:
    """Raise where a Clip or Pad has a number that is no code of the format that it keeps.

    Before one rounding of what the operator gives it would not matter; where the format is that of what it reads, it
    does.
    """
    assert graph.formats is not None
    root = roots(graph)
    for node in graph.nodes:
        form = graph.formats.get(root.get(node.inputs[0], "")) if node.inputs else None
        op = find(node)
        if not isinstance(form, QFormat) or node.attributes.get("mode", "constant") != "constant":
            continue
        for name, number in op.numbers(node, graph.constants).items():
            if number is None or not _is_code(number, form, is_bound=op.facts.numbers[name] is Number.BOUND):
                raise _OtherwiseError(f"{node} holds {number or 'a number'}, which is no code of {form}")


def _is_code(number: float, form: QFormat, *, is_bound: bool) -> bool:
    """Whether a number is a code of a format; a bound may also lie beyond all of them."""
    beyond = not form.min <= number <= form.max
    return is_bound if beyond else holds(form, np.asarray(number))


def _offset(node: Node, zero_point: NDArray[Any] | None) -> int:
    """Return what 0 is stored as."""
    if zero_point is None:
        return 0
    found = np.unique(zero_point.astype(np.int64))
    if found.size != 1:
        raise _OtherwiseError(f"{node} has several zero points")
    return int(found[0])


def _check_channels(node: Node, scale: NDArray[Any], array: NDArray[Any]) -> None:
    """Raise where there is not one scale, nor one for each channel; the error is told where the node runs."""
    axis = node.number("axis", 1)
    if scale.size != 1 and not (-array.ndim <= axis < array.ndim and scale.shape == (array.shape[axis],)):
        raise _OtherwiseError(f"{node} has {scale.size} scales for a tensor of shape {list(array.shape)}")


def _whole_exponents(node: Node, scale: NDArray[Any]) -> NDArray[np.int64]:
    """Return n of scales 2^-n."""
    fraction, exponent = np.frexp(scale.astype(np.float64))
    if np.any(fraction != 0.5):
        worst = scale.reshape(-1)[int(np.argmax(fraction.reshape(-1) != 0.5))]
        raise _OtherwiseError(f"{node} has scale {float(worst):g}, which is no power of two")
    return np.asarray(1 - exponent.astype(np.int64))


def _spread(n: NDArray[np.int64], ndim: int, node: Node) -> NDArray[np.int64]:
    """Return one number for each channel, to broadcast against a tensor."""
    if n.size == 1:
        return n.reshape(())
    shape = [1] * ndim
    shape[node.number("axis", 1) % ndim] = n.size
    return n.reshape(shape)
