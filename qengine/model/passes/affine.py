"""Sums and products with numbers for each channel, one after the other, as one step: x * scale + shift.

Channels are shifted and scaled by learned or measured numbers, in Sub and Div or in Mul and Add, also where no linear
operator is near to take the numbers. In fixed point each operator would round. A linear operator, ScaleShift,
rounds once, like a BatchNormalization that stands alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.model.passes.function_recognition import recognise_functions

_REALS = (np.dtype(np.float32), np.dtype(np.float64))
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class _Affine:
    """Operators that compute x * scale + shift together.

    Attributes
    ----------
    x : tensor that they read.
    nodes : the operators.
    scale, shift : shape (channels,) or (1,).
    factor, addend : the first constant of the model that is a factor, and that is added; "" if there is none.
    """

    x: str
    nodes: tuple[Node, ...]
    scale: Reals
    shift: Reals
    factor: str
    addend: str

    def after(self, before: _Affine) -> _Affine:
        """Return both, `before` first."""
        return _Affine(
            before.x,
            (*before.nodes, *self.nodes),
            before.scale * self.scale,
            before.shift * self.scale + self.shift,
            before.factor or self.factor,
            before.addend or self.addend,
        )

    def is_needed(self, channels: int) -> bool:
        """Whether several operators become one that a table cannot be: some numbers differ by channel."""
        is_finite = np.isfinite(self.scale).all() and np.isfinite(self.shift).all()
        return len(self.nodes) > 1 and 1 < channels in (self.scale.size, self.shift.size) and bool(is_finite)


def join_affine(graph: Graph) -> Graph:
    """Make one ScaleShift of several sums and products with constants, some of which have a number for each channel."""
    read_once = graph.tensors_read_once()
    constants, derived = dict(graph.constants), dict(graph.derived)
    nodes: dict[int, Node] = dict(enumerate(graph.nodes))
    ends: dict[str, tuple[int, _Affine]] = {}  # by the tensor that it computes: its place in the graph
    runs: dict[int, _Affine] = {}
    plain = {id(node) for node in recognise_functions(graph).nodes}  # the others are parts of functions
    for i, node in enumerate(graph.nodes):
        affine = _affine(node, graph) if id(node) in plain else None
        if affine is None:
            continue
        if affine.x in ends and affine.x in read_once:
            place, before = ends.pop(affine.x)
            runs.pop(place, None)
            affine = affine.after(before)
        ends[node.outputs[0]] = i, affine
        runs[i] = affine
    places = {id(node): i for i, node in enumerate(graph.nodes)}
    for i, affine in runs.items():
        channels = _channels(affine.x, graph)
        if affine.is_needed(channels):
            for node in affine.nodes:
                del nodes[places[id(node)]]
            nodes[i] = _scale_shift(affine, channels, graph, constants, derived)
    return replace(graph, nodes=tuple(nodes[i] for i in sorted(nodes)), constants=constants, derived=derived)


def _channels(x: str, graph: Graph) -> int:
    """Return the length of axis 1; 0 where it is unknown or x has no channels."""
    value = graph.values.get(x)
    length = value.shape[1] if value and value.shape and len(value.shape) > 1 else None
    return length if isinstance(length, int) else 0


def _affine(node: Node, graph: Graph) -> _Affine | None:
    """Return an operator on a tensor and a constant as x * scale + shift; None for any other."""
    if node.domain or node.operator not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2 or node.activation:
        return None
    value = graph.values.get(node.outputs[0])
    x, k = node.inputs if node.inputs[1] in graph.constants else reversed(node.inputs)
    if value is None or value.dtype is None or value.dtype not in _REALS or x in graph.constants:
        return None
    number = _by_channel(k, x, graph)
    if number is None:
        return None
    one, zero, is_first = np.ones(1), np.zeros(1), node.inputs[0] == k
    match node.operator:
        case "Add":
            return _Affine(x, (node,), one, number, "", k)
        case "Sub":
            return _Affine(x, (node,), -one if is_first else one, number if is_first else -number, "", k)
        case "Mul":
            return _Affine(x, (node,), number, zero, k, "")
    if is_first:
        return None
    with np.errstate(divide="ignore"):
        return _Affine(x, (node,), 1.0 / number, zero, k, "")


def _by_channel(name: str, x: str, graph: Graph) -> Reals | None:
    """Return a constant that has a number for each channel of x, or one for all; None for any other."""
    array, value = graph.constants.get(name), graph.values.get(x)
    channels = _channels(x, graph)
    if array is None or value is None or value.shape is None or array.dtype.kind != "f" or not channels:
        return None
    if array.ndim > len(value.shape):
        return None
    shape = (1,) * (len(value.shape) - array.ndim) + array.shape
    is_each = shape == (1, channels, *(1,) * (len(shape) - 2))
    return array.astype(np.float64).ravel() if is_each or array.size == 1 else None


def _scale_shift(
    affine: _Affine, channels: int, graph: Graph, constants: dict[str, NDArray[Any]], derived: dict[str, str]
) -> Node:
    last = affine.nodes[-1]
    dtype = graph.values[last.outputs[0]].dtype
    names = []
    for source, values in ((affine.factor, affine.scale), (affine.addend, affine.shift)):
        name = graph.fresh_name(f"{source or affine.x} with {last.outputs[0]}", constants)
        constants[name] = np.broadcast_to(values, channels).astype(dtype)
        if source:
            derived[name] = derived.get(source, source)
        names.append(name)
    return Node("ScaleShift", (affine.x, *names), last.outputs, {}, last.name, "qengine", 1)
