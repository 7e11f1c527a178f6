"""Formats of a model that a device does not have: words, signs, channels, shifts, and formats that must be equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qengine.analysis.target_check.operators import operators_of
from qengine.kernels.reference.requantize import quantize
from qengine.model.formats.assign import FormatTable
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Role, find
from qengine.model.rules import Rules
from qengine.model.steps import Linear
from qengine.qformat import ChannelFormats, Format, QFormat, fraction_bits_of
from qengine.quantization.calibration.options import listed_bits
from qengine.targets import Constraints, Violation

_CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class FormatCheck:
    """The formats of a graph, and the constraints that they are to keep.

    Attributes
    ----------
    graph : graph after the passes.
    nodes : nodes of it that compute data.
    table : format of every tensor.
    rules : rules of the run.
    constraints : constraints of the target.
    """

    graph: Graph
    nodes: list[Node]
    table: FormatTable
    rules: Rules
    constraints: Constraints

    def violations(self) -> Iterator[Violation]:
        """Yield what breaks the constraints, input by input and node by node."""
        for value in self.graph.inputs:
            fmt = self.table.activations.get(value.name)
            if fmt is not None:
                yield from self._words(value.name, "", fmt)
        seen = set[str]()
        for node in self.nodes:
            yield from self._results(node)
            for name, role in find(node).roles(node):
                if name in self.graph.constants and name not in seen:
                    seen.add(name)
                    yield from self._constant(node, name, role)
            if Linear in find(node).kinds:
                yield from self._linear(node)
            yield from self._equal(node)

    def _format(self, name: str) -> Format | None:
        return self.table.activations.get(name) or self.table.constants.get(name)

    def _model_name(self, name: str) -> str:
        return self.graph.derived.get(name, name)

    def _words(self, name: str, operator: str, fmt: QFormat) -> Iterator[Violation]:
        constraints, bits = self.constraints, self.constraints.activation_bits
        if bits is not None and fmt.bits not in bits:
            yield Violation("activation_bits", name, operator, str(fmt), f"words of {listed_bits(bits)}", _WORD)
        if constraints.signed_only and not fmt.signed:
            yield Violation("signed_only", name, operator, str(fmt), "signed formats only", "give it a signed format")

    def _results(self, node: Node) -> Iterator[Violation]:
        """Yield the results of a node, and its operand, in formats that the device does not have there."""
        constraints = self.constraints
        if find(node).preserves_format(node) and not constraints.output_formats.get(node.operator):
            return  # the format is that of the tensor before
        for name in filter(None, node.outputs):
            fmt, allowed = self.table.activations.get(name), constraints.output_formats.get(node.operator)
            if fmt is None:
                continue
            if allowed is None:
                yield from self._words(name, node.operator, fmt)
            elif fmt not in allowed:
                yield Violation("output_formats", name, node.operator, str(fmt), _either(allowed), _ONE_OF)
        allowed = constraints.input_formats.get(node.operator)
        fmt = self.table.activations.get(node.inputs[0]) if node.inputs else None
        if allowed is not None and fmt is not None and fmt not in allowed:
            yield Violation("input_formats", node.inputs[0], node.operator, str(fmt), _either(allowed), _ONE_OF)

    def _constant(self, node: Node, name: str, role: Role) -> Iterator[Violation]:
        fmt, own = self.table.constants.get(name), self._model_name(name)
        if fmt is None:
            return
        if role is Role.BIAS:
            yield from self._bias(node, own, fmt)
            return
        if role is not Role.WEIGHTS:
            if isinstance(fmt, QFormat):
                yield from self._words(own, node.operator, fmt)
            return
        constraints, operator = self.constraints, (*operators_of(node), node.operator)[0]
        if constraints.weight_bits is not None and fmt.bits not in constraints.weight_bits:
            words = f"words of {listed_bits(constraints.weight_bits)}"
            yield Violation("weight_bits", own, operator, str(fmt), words, _WORD)
        if constraints.signed_only and not fmt.signed:
            yield Violation("signed_only", own, operator, str(fmt), "signed formats only", "give it a signed format")
        if isinstance(fmt, ChannelFormats) and len(set(fmt.formats)) > 1 and not self._has_channels(operator):
            where = "only Conv and ConvTranspose" if constraints.per_channel == "conv" else "no operator"
            allowed = f"formats per channel in {where}"
            yield Violation("per_channel", own, operator, str(fmt), allowed, "give the weights one format")
        if constraints.symmetric_weights and (least := self._least_codes(name, own, fmt)):
            allowed = f"codes from {-(1 << (fmt.bits - 1)) + 1} on"
            found = f"the code {-(1 << (fmt.bits - 1))} in {least:,} of {self.graph.constants[name].size:,} weights"
            yield Violation("symmetric_weights", own, operator, found, allowed, "give it a fraction bit less")

    def _has_channels(self, operator: str) -> bool:
        allowed = self.constraints.per_channel
        return allowed == "all" or (allowed == "conv" and operator in _CONVOLUTIONS)

    def _least_codes(self, name: str, own: str, fmt: Format) -> int:
        """Return how often a constant has the least code of two's complement."""
        modes, array = self.rules.modes("constants", own), self.graph.constants[name]
        codes = quantize(array, fraction_bits_of(fmt, array.ndim), fmt.word(*_strings(modes.rounding, modes.overflow)))
        return int(np.count_nonzero(codes == -(1 << (fmt.bits - 1)))) if fmt.signed else 0

    def _bias(self, node: Node, own: str, fmt: Format) -> Iterator[Violation]:
        """Yield a bias of a longer word than that of the device, or with more fraction bits than the sums."""
        bits = self.rules.bias.bits
        if fmt.bits > bits:
            yield Violation("bias.bits", own, node.operator, str(fmt), f"biases of {bits} bits", _WORD)
        sums = self._sums(node)
        if sums is not None and _most(fmt) > int(sums.min()):
            found = f"{fmt}, of {_most(fmt)} fraction bits"
            allowed = f"biases with at most the {int(sums.min())} of the sums"
            yield Violation("bias.fraction_bits", own, node.operator, found, allowed, "give it fewer fraction bits")

    def _sums(self, node: Node) -> NDArray[np.int64] | None:
        """Return the fraction bits of the sums of a linear operator, one or one for each channel."""
        x, w = (self._format(name) for name in node.inputs[:2])
        if not isinstance(x, QFormat) or w is None:
            return None
        each = (w,) if isinstance(w, QFormat) else w.formats
        return np.array([x.fraction_bits + one.fraction_bits for one in each])

    def _linear(self, node: Node) -> Iterator[Violation]:
        """Yield shifts that the device does not have, and weights of another word length than the operand."""
        if len(node.inputs) < 2 or not node.outputs:
            return
        constraints, operator = self.constraints, (*operators_of(node), node.operator)[0]
        (x, w), y = (self._format(name) for name in node.inputs[:2]), self.table.activations.get(node.outputs[0])
        if constraints.equal_bits and x is not None and w is not None and x.bits != w.bits:
            found = f"{w} for an operand in {x}"
            name = self._model_name(node.inputs[1])
            yield Violation("equal_bits", name, operator, found, "operands of one word length", _WORD)
        sums = self._sums(node)
        if constraints.shifts is None or sums is None or y is None:
            return
        (least, most), shifts = constraints.shifts, sums - y.fraction_bits
        if shifts.min() < least or shifts.max() > most:
            shift = int(shifts.min() if shifts.min() < least else shifts.max())
            found = f"{y}, a shift {'right' if shift >= 0 else 'left'} by {abs(shift)}"
            remedy = "give the result fewer fraction bits" if shift < least else "give the weights fewer fraction bits"
            name = node.outputs[0]
            yield Violation("shifts", name, operator, found, f"shifts to the right by {least} to {most}", remedy)

    def _equal(self, node: Node) -> Iterator[Violation]:
        """Yield operators around which tensors have different formats, where the device has one format."""
        constraints, operator = self.constraints, node.operator
        operands = [name for name, role in find(node).roles(node) if role is Role.DATA]
        if operator in constraints.equal_formats:
            names, allowed, field = (
                (*operands, *node.outputs[:1]),
                "one format for operands and result",
                "equal_formats",
            )
        elif operator in constraints.equal_operands:
            names, allowed, field = tuple(operands), "one format for all operands", "equal_operands"
        else:
            return
        formats = {self._model_name(name): str(fmt) for name in names if (fmt := self._format(name)) is not None}
        if len(set(formats.values())) > 1:
            found = ", ".join(f"'{name}' {fmt}" for name, fmt in formats.items())
            yield Violation(field, node.outputs[0], operator, found, allowed, "give them one format")


_WORD = "give it a format of such a word"
_ONE_OF = "give it one of these formats"


def _either(formats: tuple[QFormat, ...]) -> str:
    return " or ".join(map(str, formats)) or "no format"


def _most(fmt: Format) -> int:
    return fmt.fraction_bits if isinstance(fmt, QFormat) else max(one.fraction_bits for one in fmt.formats)


def _strings(*modes: object) -> tuple[str, ...]:
    return tuple(map(str, modes))
