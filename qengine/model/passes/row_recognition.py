"""Recognition of Softmax and of normalizations that a model writes as several operators.

Exporters write LayerNormalization as ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add, in several orders, and
so they write RMSNormalization, GroupNormalization and Softmax. One operator in their place is faster and, in fixed
point, rounds once: variances need no format of their own.

A *match* follows producers from the last operator to the input. It collects the nodes that it passes; they are replaced
only if nothing else reads what they compute. Gain and offset are operands of a Mul and an Add after the quotient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.model.passes.dead import remove_dead
from qengine.model.passes.function_recognition import recognise_functions

_LAST_OPERATORS = frozenset({"Div", "Mul", "Add", "Sub"})


class _NoMatchError(Exception):
    """A node is not the one that is looked for."""


@dataclass
class _Match:
    """Nodes that were passed from the last operator on.

    Attributes
    ----------
    nodes : the nodes, by their first outputs.
    """

    nodes: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True)
class _Standard:
    """A quotient (x - mean) / deviation.

    Attributes
    ----------
    x : name of the input.
    axes : axes of the statistics, in ascending order; negative where they count from the back.
    epsilon : number that is added to the variance.
    is_centred : whether the mean is subtracted.
    """

    x: str
    axes: tuple[int, ...]
    epsilon: float
    is_centred: bool


class _Recognizer:
    """State of the pass: what the graph computes and reads."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.producers, self.readers = graph, graph.producers(), graph.readers()
        self.kept = {value.name for value in graph.outputs} | set(graph.formats or {})

    def replacement(self, node: Node) -> Node | None:
        """Return the operator that computes the output of a node and of those before it."""
        if len(node.outputs) != 1 or node.activation is not None:
            return None
        for find in (self._softmax, self._log_softmax, self._group, self._scaled, self._composed):
            match = _Match()
            try:
                found = find(node, match)
            except _NoMatchError:
                continue
            if self._is_closed(match, node):
                return found
        return None

    def _is_closed(self, match: _Match, last: Node) -> bool:
        """Whether only matched nodes read what the matched nodes compute, but for the last one."""
        inside = set(match.nodes)
        for name in inside - {last.outputs[0]}:
            if name in self.kept or any(reader.outputs[0] not in inside for reader in self.readers.get(name, ())):
                return False
        return True

    # Parts

    def _made(self, name: str, match: _Match, *operators: str) -> Node:
        """Return the node that computes a tensor by one of some operators of ONNX."""
        node = self.producers.get(name)
        if node is None or node.domain or node.operator not in operators or node.activation is not None:
            raise _NoMatchError
        match.nodes[node.outputs[0]] = node
        return node

    def _number(self, name: str) -> float:
        """Return a constant of one real number."""
        array = self.graph.constants.get(name)
        if array is None or array.size != 1 or array.dtype.kind not in "fiu":
            raise _NoMatchError
        return float(array.item())

    def _constant(self, name: str) -> NDArray[Any]:
        array = self.graph.constants.get(name)
        if array is None or array.dtype.kind != "f":
            raise _NoMatchError
        return array

    def _with_number(self, node: Node) -> tuple[str, float]:
        """Return the tensor and the number that a node adds or multiplies."""
        for one, other in (node.inputs, node.inputs[::-1]):
            if one not in self.graph.constants and other in self.graph.constants:
                return one, self._number(other)
        raise _NoMatchError

    def _reduced(self, name: str, match: _Match, operator: str) -> tuple[str, tuple[int, ...]]:
        """Return the input and the axes of a reduction that keeps them."""
        node = self._made(name, match, operator)
        axes: Any = node.attributes.get("axes")
        if axes is None and len(node.inputs) > 1:
            axes = self.graph.constants.get(node.inputs[1])
        if axes is None or not node.number("keepdims", 1):
            raise _NoMatchError
        found = sorted(int(axis) for axis in np.asarray(axes).ravel())
        if not found or found[0] < 0 <= found[-1]:
            raise _NoMatchError
        return node.inputs[0], tuple(found)

    def _rank(self, name: str) -> int | None:
        value = self.graph.values.get(name)
        value = value or next((one for one in self.graph.inputs if one.name == name), None)
        return None if value is None or value.shape is None else len(value.shape)

    # Softmax

    def _softmax(self, node: Node, match: _Match) -> Node:
        """Match e / ReduceSum(e) with e = Exp(x - ReduceMax(x)) or Exp(x)."""
        if node.operator != "Div":
            raise _NoMatchError
        match.nodes[node.outputs[0]] = node
        powers, total = node.inputs
        summed, axes = self._reduced(total, match, "ReduceSum")
        if summed != powers or len(axes) != 1:
            raise _NoMatchError
        x = self._shifted(self._made(powers, match, "Exp").inputs[0], axes, match)
        return Node("Softmax", (x,), node.outputs, {"axis": axes[0]}, node.name, version=13)

    def _log_softmax(self, node: Node, match: _Match) -> Node:
        """Match d - Log(ReduceSum(Exp(d))) with d = x - ReduceMax(x)."""
        if node.operator != "Sub":
            raise _NoMatchError
        match.nodes[node.outputs[0]] = node
        shifted, logarithm = node.inputs
        summed, axes = self._reduced(self._made(logarithm, match, "Log").inputs[0], match, "ReduceSum")
        if self._made(summed, match, "Exp").inputs[0] != shifted or len(axes) != 1:
            raise _NoMatchError
        x = self._shifted(shifted, axes, match)
        return Node("LogSoftmax", (x,), node.outputs, {"axis": axes[0]}, node.name, version=13)

    def _shifted(self, name: str, axes: tuple[int, ...], match: _Match) -> str:
        """Return x of x - ReduceMax(x), or the tensor itself."""
        attempt = _Match()
        try:
            x, most = self._made(name, attempt, "Sub").inputs
            if self._reduced(most, attempt, "ReduceMax") != (x, axes):
                return name
        except _NoMatchError:
            return name
        match.nodes |= attempt.nodes
        return x

    # Normalizations

    def _scaled(self, node: Node, match: _Match) -> Node:
        """Match a quotient, times a gain, plus an offset; the last two may be left out."""
        gain = offset = ""
        current = node
        match.nodes[node.outputs[0]] = node
        if current.operator == "Add":
            current, offset = self._step_back(current, match, "Mul", "Div")
        if current.operator == "Mul" and any(name in self.graph.constants for name in current.inputs):
            current, gain = self._step_back(current, match, "Mul", "Div")
        found = self._quotient(current, match)
        return self._normalization(node, found, gain, offset)

    def _step_back(self, node: Node, match: _Match, *operators: str) -> tuple[Node, str]:
        """Return the node before an operator with a constant, and the constant."""
        for one, other in (node.inputs, node.inputs[::-1]):
            if other in self.graph.constants and one not in self.graph.constants:
                self._constant(other)
                return self._made(one, match, *operators), other
        raise _NoMatchError

    def _quotient(self, node: Node, match: _Match) -> _Standard:
        """Match c / root or c times 1 / root."""
        if len(node.inputs) != 2:
            raise _NoMatchError
        pairs = [node.inputs] if node.operator == "Div" else [node.inputs, node.inputs[::-1]]
        for above, below in pairs:
            attempt = _Match()
            try:
                root = below if node.operator == "Div" else self._reciprocal(below, attempt)
                found = self._standard(above, *self._variance(root, attempt), attempt)
            except _NoMatchError:
                continue
            match.nodes |= attempt.nodes
            return found
        raise _NoMatchError

    def _reciprocal(self, name: str, match: _Match) -> str:
        """Return the divisor of Reciprocal, or of 1 divided by it."""
        node = self._made(name, match, "Reciprocal", "Div")
        if node.operator == "Reciprocal":
            return node.inputs[0]
        if self._number(node.inputs[0]) != 1.0:
            raise _NoMatchError
        return node.inputs[1]

    def _variance(self, root: str, match: _Match) -> tuple[str, tuple[int, ...], float]:
        """Return what is squared under a root, the axes of the mean of the squares, and epsilon."""
        node = self._made(root, match, "Sqrt", "Pow")
        if node.operator == "Pow" and self._number(node.inputs[1]) != 0.5:
            raise _NoMatchError
        mean, epsilon = self._with_number(self._made(node.inputs[0], match, "Add"))
        squares, axes = self._reduced(mean, match, "ReduceMean")
        square = self._made(squares, match, "Pow", "Mul")
        if square.operator == "Pow" and self._number(square.inputs[1]) != 2.0:
            raise _NoMatchError
        if square.operator == "Mul" and square.inputs[0] != square.inputs[1]:
            raise _NoMatchError
        if epsilon < 0.0:
            raise _NoMatchError
        return square.inputs[0], axes, epsilon

    def _standard(self, above: str, squared: str, axes: tuple[int, ...], epsilon: float, match: _Match) -> _Standard:
        """Return the quotient of a numerator and the root of the mean of what is squared."""
        attempt = _Match()
        try:
            x = self._centred(squared, axes, attempt)
            if above != squared and self._centred(above, axes, attempt) != x:
                raise _NoMatchError
        except _NoMatchError:
            if above != squared:
                raise
            return _Standard(above, axes, epsilon, is_centred=False)
        match.nodes |= attempt.nodes
        return _Standard(x, axes, epsilon, is_centred=True)

    def _centred(self, name: str, axes: tuple[int, ...], match: _Match) -> str:
        """Return x of x - ReduceMean(x)."""
        x, mean = self._made(name, match, "Sub").inputs
        if self._reduced(mean, match, "ReduceMean") != (x, axes):
            raise _NoMatchError
        return x

    def _composed(self, node: Node, match: _Match) -> Node:
        """Match x f + (offset - mean f) with f = gain / root: the form of TensorFlow."""
        if node.operator != "Add":
            raise _NoMatchError
        match.nodes[node.outputs[0]] = node
        for one, other in (node.inputs, node.inputs[::-1]):
            attempt = _Match(dict(match.nodes))
            try:
                found = self._composed_of(node, one, other, attempt)
            except _NoMatchError:
                continue
            match.nodes |= attempt.nodes
            return found
        raise _NoMatchError

    def _composed_of(self, node: Node, product: str, rest: str, match: _Match) -> Node:
        offset, mean_product = self._made(rest, match, "Sub").inputs
        self._constant(offset)
        for mean, factor in _both_orders(self._made(mean_product, match, "Mul").inputs):
            attempt = _Match(dict(match.nodes))
            try:
                x, axes = self._reduced(mean, attempt, "ReduceMean")
                if set(self._made(product, attempt, "Mul").inputs) != {x, factor}:
                    raise _NoMatchError
                gain, root = "", factor
                times = self.producers.get(factor)
                if times is not None and times.operator == "Mul":
                    attempt.nodes[factor] = times
                    (gain,) = [name for name in times.inputs if name in self.graph.constants] or [""]
                    (root,) = [name for name in times.inputs if name not in self.graph.constants] or [""]
                    self._constant(gain)
                squared, own, epsilon = self._variance(self._reciprocal(root, attempt), attempt)
                if own != axes or self._centred(squared, axes, attempt) != x:
                    raise _NoMatchError
            except (_NoMatchError, ValueError):
                continue
            match.nodes |= attempt.nodes
            return self._normalization(node, _Standard(x, axes, epsilon, is_centred=True), gain, offset)
        raise _NoMatchError

    def _normalization(self, node: Node, found: _Standard, gain: str, offset: str) -> Node:
        """Return the operator of a quotient with its gain and offset."""
        if offset and not gain:
            raise _NoMatchError  # the Add stays
        rank, axes = self._rank(found.x), found.axes
        if rank is None and (axes[-1] != -1 or gain or offset):
            raise _NoMatchError  # what broadcasts to what is not known
        if rank is not None:
            axes = tuple(sorted(axis % rank - rank for axis in axes if -rank <= axis < rank))
            shapes = [self.graph.constants[name].shape for name in (gain, offset) if name]
            if len(set(axes)) != len(found.axes) or any(len(shape) > rank for shape in shapes):
                raise _NoMatchError
        is_last = axes == tuple(range(axes[0], 0))
        inputs = (found.x, *((gain, offset) if offset else (gain,) if gain else ()))
        if is_last and gain and (found.is_centred or not offset):
            operator, version = ("LayerNormalization", 17) if found.is_centred else ("RMSNormalization", 23)
            attributes: dict[str, Any] = {"axis": axes[0], "epsilon": found.epsilon}
            return Node(operator, inputs, node.outputs, attributes, node.name, version=version)
        if offset and self.graph.constants[gain].shape != self.graph.constants[offset].shape:
            raise _NoMatchError
        attributes = {"axes": axes, "epsilon": found.epsilon, "centred": int(found.is_centred)}
        return Node("Standardize", inputs, node.outputs, attributes, node.name, "qengine", 1)

    def _group(self, node: Node, match: _Match) -> Node:
        """Match Reshape, InstanceNormalization, Reshape, Mul and Add: a normalization of groups of channels."""
        if node.operator != "Add":
            raise _NoMatchError
        match.nodes[node.outputs[0]] = node
        times, offset = self._step_back(node, match, "Mul")
        back, gain = self._step_back(times, match, "Reshape")
        instance = self._made(back.inputs[0], match, "InstanceNormalization")
        split = self._made(instance.inputs[0], match, "Reshape")
        x = split.inputs[0]
        one, nothing = (self._constant(name) for name in instance.inputs[1:3])
        groups = one.size
        if not (one == 1).all() or nothing.any() or not self._has_shape_of(back.inputs[1], x):
            raise _NoMatchError
        lengths = self.graph.constants.get(split.inputs[1])
        rank = self._rank(x)
        if lengths is None or lengths.size != 3 or lengths[1] != groups or lengths[2] != -1 or rank is None:
            raise _NoMatchError
        if lengths[0] != 0 and lengths[0] != self._length(x, 0):
            raise _NoMatchError
        channels = self._length(x, 1)
        shape = (channels, *(1,) * (rank - 2))
        shapes = {self._constant(name).shape for name in (gain, offset)}
        if channels is None or len(shapes) > 1 or not shapes <= {shape, (1, *shape)}:
            raise _NoMatchError
        attributes: dict[str, Any] = {"axes": tuple(range(1 - rank, 0)), "groups": groups, "centred": 1}
        attributes["epsilon"] = instance.number("epsilon", 1e-5)
        return Node("Standardize", (x, gain, offset), node.outputs, attributes, node.name, "qengine", 1)

    def _length(self, name: str, axis: int) -> int | None:
        value = self.graph.values.get(name)
        value = value or next((one for one in self.graph.inputs if one.name == name), None)
        length = None if value is None or value.shape is None else value.shape[axis]
        return length if isinstance(length, int) else None

    def _has_shape_of(self, lengths: str, x: str) -> bool:
        """Whether a Reshape to some lengths gives the shape of a tensor."""
        node = self.producers.get(lengths)
        if node is not None and node.operator == "Shape" and not node.domain:
            return node.inputs[0] == x and not node.attributes
        array, rank = self.graph.constants.get(lengths), self._rank(x)
        if array is None or rank is None or array.size != rank:
            return False
        given = [self._length(x, axis) for axis in range(rank)]
        open_axes = [i for i in range(rank) if array[i] != given[i] and not (array[i] == 0 and i < rank)]
        return len(open_axes) <= 1 and all(array[i] == -1 for i in open_axes)


def _both_orders(names: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return names, names[::-1]


def recognise_rows(graph: Graph) -> Graph:
    """Replace the last operator of each Softmax or normalization in several operators, and remove the others."""
    if not any(node.operator in ("ReduceMean", "ReduceSum", "InstanceNormalization") for node in graph.nodes):
        return graph
    recognizer = _Recognizer(graph)
    replaced: Mapping[str, Node] = {
        node.outputs[0]: found
        for node in graph.nodes
        if node.operator in _LAST_OPERATORS and not node.domain and (found := recognizer.replacement(node)) is not None
    }
    if not replaced:
        return graph
    nodes = tuple(replaced.get(node.outputs[0], node) for node in graph.nodes)
    return remove_dead(replace(graph, nodes=nodes))


def spelled_nodes(graph: Graph) -> set[int]:
    """Return the `id` of each node that is a part of a function, a Softmax or a normalization in several operators."""
    kept = {id(node) for node in recognise_functions(recognise_rows(graph)).nodes}
    return {id(node) for node in graph.nodes if id(node) not in kept}
