"""Exact formats of tensors that a QONNX model does not round, where a word of 16 bits holds what they can be.

A network trained in few bits leaves some tensors unrounded: the sums of its last layer, an addition of two branches.
Without a format they are real numbers, and the operators around them islands in float32. But the codes and weights that
go in bound what comes out: a sum of 30 products of 4 bits has no more than 13. Where all possible results are codes of
one format, the tensor has that format, and nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log2, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.model.graph import Graph, Node
from qengine.model.passes.requantize import roots
from qengine.qformat import ChannelFormats, Format, QFormat, exact_format

_MAX_BITS = 16
_WITH_CONSTANTS = frozenset({"Add", "Sub", "Sum", "Mul", "Div"})


@dataclass(frozen=True)
class Span:
    """Numbers k * 2^-n with integers k from `least` to `most`."""

    n: int
    least: int
    most: int

    @classmethod
    def of(cls, fmt: QFormat) -> Span:
        """Return the numbers of a format."""
        word = fmt.word()
        return cls(fmt.fraction_bits, word.least, word.most)

    def finer(self, n: int) -> Span:
        """Return the same numbers with more fraction bits."""
        factor = 1 << (n - self.n)
        return Span(n, self.least * factor, self.most * factor)

    def with_zero(self) -> Span:
        """Return the numbers, and 0."""
        return Span(self.n, min(self.least, 0), max(self.most, 0))

    def format(self) -> QFormat | None:
        """Return the shortest word with all of the numbers; None where it has more than 16 bits."""
        signed = self.least < 0
        magnitude = max(self.most, -self.least - 1)
        bits = max(magnitude.bit_length() + signed, 2)
        if bits > _MAX_BITS:
            return None
        try:
            return QFormat(bits - signed - self.n, self.n, signed)
        except FormatError:
            return None


def with_exact_formats(graph: Graph) -> Graph:
    """Return a QONNX graph with formats of tensors that it does not round but whose numbers a format has."""
    return _Spans(graph).graph_with_formats()


class _Spans:
    """The numbers that the tensors of a graph may have."""

    def __init__(self, graph: Graph) -> None:
        assert graph.formats is not None
        self.graph, self.formats = graph, dict(graph.formats)
        self.root = roots(graph)
        self.readers = graph.readers()
        rounded = {self.root.get(name, name): fmt for name, fmt in self.formats.items()}
        self.spans = {name: Span.of(fmt) for name, fmt in rounded.items() if isinstance(fmt, QFormat)}

    def graph_with_formats(self) -> Graph:
        """Return the graph with further formats."""
        for node in self.graph.nodes:
            rule = None if node.domain or len(node.outputs) != 1 else _RULES.get(node.operator)
            if rule is None or node.outputs[0] in self.spans or self.root.get(node.outputs[0]) != node.outputs[0]:
                continue
            span = rule(self, node)
            fmt = None if span is None else span.format()
            if span is None or fmt is None:
                continue
            self.spans[node.outputs[0]] = span
            if not self._may_be_folded(node.outputs[0]):
                self.formats[node.outputs[0]] = fmt
        return replace(self.graph, formats=self.formats)

    def _may_be_folded(self, name: str) -> bool:
        """Whether all readers add or multiply constants, which may go into the operator that computes the tensor."""
        found = self.readers.get(name, [])
        return bool(found) and all(
            node.operator in _WITH_CONSTANTS and any(n in self.graph.constants for n in node.inputs) for node in found
        )

    def span(self, name: str) -> Span | None:
        """Return the numbers of a tensor; None where they are not known."""
        if name in self.graph.constants:
            return _of_constant(self.graph.constants[name])
        return self.spans.get(self.root.get(name, name))

    def linear(self, node: Node) -> Span | None:
        """Return the sums of products with constant weights, and a constant bias."""
        x, weights = self.span(node.inputs[0]), self.graph.constants.get(node.inputs[1])
        axes = _summed(node, weights)
        if x is None or weights is None or axes is None or node.inputs[0] in self.graph.constants:
            return None
        n_w = _fraction_bits(self.graph.formats, node.inputs[1])
        bias = self.graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1)
        if n_w is None or bias is None or bias.ndim > 1:
            return None
        grid = _of_constant(bias)
        if grid is None:
            return None
        x, n = x.with_zero(), max(x.n + n_w, grid.n)
        codes = np.ldexp(weights.astype(np.float64), n_w)
        up, down = (np.maximum(sign * codes, 0).sum(axis=axes) for sign in (1, -1))
        factor, added = 2.0 ** (n - x.n - n_w), np.ldexp(bias.astype(np.float64), n)
        most = (x.most * up - x.least * down) * factor + added
        least = (x.least * up - x.most * down) * factor + added
        return Span(n, int(least.min(initial=0)), int(most.max(initial=0)))

    def total(self, node: Node) -> Span | None:
        """Return sums and differences."""
        found = [self.span(name) for name in node.inputs]
        spans = [one for one in found if one is not None]
        if len(spans) < len(found):
            return None
        n = max(one.n for one in spans)
        first, *rest = (one.finer(n) for one in spans)
        for one in rest:
            other = Span(n, -one.most, -one.least) if node.operator == "Sub" else one
            first = Span(n, first.least + other.least, first.most + other.most)
        return first

    def product(self, node: Node) -> Span | None:
        """Return products."""
        one, other = (self.span(name) for name in node.inputs)
        if one is None or other is None:
            return None
        ends = [a * b for a in (one.least, one.most) for b in (other.least, other.most)]
        return Span(one.n + other.n, min(ends), max(ends))

    def mean(self, node: Node) -> Span | None:
        """Return means of a number of elements that is a power of two."""
        x = self.span(node.inputs[0])
        count = self._count(node)
        if x is None or count is None or count & (count - 1):
            return None
        return x.with_zero().finer(x.n + int(log2(count)))

    def _count(self, node: Node) -> int | None:
        """Return the number of elements of each mean; None where they differ or are not known."""
        if node.operator == "GlobalAveragePool":
            value = self.graph.values.get(node.inputs[0])
            lengths = None if value is None or value.shape is None else value.shape[2:]
            return None if not lengths or not all(isinstance(n, int) for n in lengths) else prod(lengths)  # type: ignore[arg-type]
        kernel, pads = node.attributes.get("kernel_shape"), node.attributes.get("pads", ())
        is_whole = not node.number("ceil_mode", 0) and node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
        is_even = isinstance(pads, tuple) and (not any(pads) or node.number("count_include_pad", 0) == 1)
        return prod(map(int, kernel)) if isinstance(kernel, tuple) and is_whole and is_even else None


_RULES: Mapping[str, Callable[[_Spans, Node], Span | None]] = {
    "Conv": _Spans.linear,
    "Gemm": _Spans.linear,
    "MatMul": _Spans.linear,
    "Add": _Spans.total,
    "Sub": _Spans.total,
    "Sum": _Spans.total,
    "Mul": _Spans.product,
    "AveragePool": _Spans.mean,
    "GlobalAveragePool": _Spans.mean,
}


def _of_constant(array: NDArray[Any]) -> Span | None:
    """Return the numbers of a constant."""
    fmt = exact_format(array) if array.dtype.kind == "f" and array.size else None
    if fmt is None:
        return None
    codes = np.ldexp(array.astype(np.float64), fmt.fraction_bits)
    return Span(fmt.fraction_bits, int(codes.min()), int(codes.max()))


def _summed(node: Node, weights: NDArray[Any] | None) -> tuple[int, ...] | None:
    """Return the axes of weights that are summed over; None for an operator that does more than sum."""
    if weights is None or weights.dtype.kind != "f" or weights.ndim < 2:
        return None
    if node.operator == "Conv":
        return tuple(range(1, weights.ndim))
    if weights.ndim > 2:
        return None
    if node.operator == "MatMul":
        return (0,)
    is_plain = node.number("alpha", 1.0) == 1.0 and node.number("beta", 1.0) == 1.0
    return (1 if node.number("transB", 0) else 0,) if is_plain else None


def _fraction_bits(formats: Mapping[str, Format] | None, name: str) -> int | None:
    """Return the most fraction bits of weights."""
    fmt = (formats or {}).get(name)
    if isinstance(fmt, QFormat):
        return fmt.fraction_bits
    return max(one.fraction_bits for one in fmt.formats) if isinstance(fmt, ChannelFormats) else None
