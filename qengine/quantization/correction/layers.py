"""Linear operators with constant weights, their weights in blocks: the filters of each group, over taps.

Most layers have the layout that their operator declares, see `qengine.model.ops.filters`. Products of matrices have two
more: a stack of matrices is one group for each matrix, and constant weights that stand first, y = W x, are those of
the transposed product, y^T = x^T W^T. Such layers are rounded and their biases corrected like all others; only where
channels must be followed from layer to layer they are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.model.graph import Graph, Node
from qengine.model.ops.filters import MatrixFilters, Shape
from qengine.model.ops.operator import Filters, find


class StackFilters(MatrixFilters):
    """Weights of a matrix product in any number of axes: a vector, a matrix, or a stack of matrices."""

    def groups(self, node: Node, shape: Shape) -> int:
        """Return the number of matrices, or 0 where the node has a factor of its own."""
        is_plain = node.number("alpha", 1.0) == 1.0 and node.number("beta", 1.0) == 1.0
        return prod(shape[:-2]) if is_plain and shape else 0

    def blocks(self, node: Node, weights: NDArray[Any], groups: int) -> NDArray[Any]:
        """Return each matrix as a group with one tap."""
        stack = weights[:, None] if weights.ndim == 1 else weights
        if not self._is_turned(node):
            stack = stack.swapaxes(-1, -2)
        return stack.reshape(groups, *stack.shape[-2:], 1)

    def from_blocks(self, node: Node, blocks: NDArray[Any], shape: Shape) -> NDArray[Any]:
        """Return the blocks as weights."""
        stack = blocks[..., 0] if self._is_turned(node) else blocks[..., 0].swapaxes(1, 2)
        return np.ascontiguousarray(stack).reshape(shape)

    def _is_turned(self, node: Node) -> bool:
        """Whether the outputs are the first axis of a matrix."""
        return self._is_transposed(node)


class FirstFilters(StackFilters):
    """Weights that are the first operand of a matrix product: (..., outputs, inputs), or turned by `transA`."""

    def blocks(self, node: Node, weights: NDArray[Any], groups: int) -> NDArray[Any]:
        """Return each matrix as a group with one tap."""
        return super().blocks(node, weights, groups) if weights.ndim > 1 else weights.reshape(1, 1, -1, 1)

    def _is_turned(self, node: Node) -> bool:
        return not self.reads_transposed(node)


@dataclass(frozen=True)
class Layer:
    """A linear operator whose weights are a constant.

    Attributes
    ----------
    node : the operator.
    filters : layout of its weights.
    shape : shape of its weights.
    groups : number of parts of its channels that do not meet; a depthwise layer has as many as channels.
    place : index of the weights among the inputs of the operator: 1, or 0 where they stand first.
    """

    node: Node
    filters: Filters
    shape: tuple[int, ...]
    groups: int
    place: int = 1

    def __str__(self) -> str:
        return str(self.node)

    @property
    def weights(self) -> str:
        """The name of the weights."""
        return self.node.inputs[self.place]

    @property
    def reads(self) -> str:
        """The name of the tensor that the weights are multiplied with."""
        return self.node.inputs[1 - self.place]

    @property
    def is_stack(self) -> bool:
        """Whether its weights are a stack of matrices, a vector, or stand first; then nothing follows its channels."""
        return isinstance(self.filters, StackFilters)

    @property
    def bias(self) -> str:
        """The name of the bias; "" where there is none."""
        return self.node.inputs[2] if len(self.node.inputs) > 2 else ""

    @property
    def takes_bias(self) -> bool:
        """Whether the operator may have a bias."""
        return find(self.node).takes_bias

    @property
    def block_shape(self) -> tuple[int, int, int, int]:
        """The shape of the blocks: groups, outputs and inputs of a group, taps."""
        groups, outputs, inputs, taps = self.blocks(np.broadcast_to(0.0, self.shape)).shape
        return groups, outputs, inputs, taps

    @property
    def outputs(self) -> int:
        """The number of output channels."""
        return self.block_shape[0] * self.block_shape[1]

    @property
    def inputs(self) -> int:
        """The number of input channels."""
        return self.block_shape[0] * self.block_shape[2]

    @property
    def layout(self) -> tuple[str, str, int, int, bool, bool]:
        """A key that layers have in common if they read weights of one shape in the same way."""
        turned = (bool(self.node.number(name, 0)) for name in ("transA", "transB"))
        turns = (next(turned) and not self.place, next(turned) and bool(self.place))
        return self.node.operator, self.node.domain, self.groups, self.place, *turns

    def blocks(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return an array of the weights' shape as (groups, outputs, inputs, taps); channels are those of a group."""
        return self.filters.blocks(self.node, weights, self.groups)

    def from_blocks(self, blocks: NDArray[Any]) -> NDArray[Any]:
        """Return blocks in the layout of the weights; the inverse of `blocks`."""
        return self.filters.from_blocks(self.node, blocks, self.shape)

    def as_bias(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a number for each filter, (groups, outputs), in a shape that broadcasts to the output."""
        if not self.is_stack:
            return each.ravel()
        if len(self.shape) == 1:
            return each.reshape(1)
        return each.reshape(*self.shape[:-2], *((1, -1) if self.place else (-1, 1)))


def linear_layers(graph: Graph) -> list[Layer]:
    """Return the linear operators whose weights are constant real numbers, in the order in which they run."""
    return [layer for node in graph.nodes for layer in _layers_of(node, graph)]


def _layers_of(node: Node, graph: Graph) -> Iterator[Layer]:
    """Yield the layer that a node is, if it is one."""
    filters = find(node).facts.filters
    if filters is None or len(node.inputs) < 2:
        return
    for place in (1, 0):
        weights = graph.constants.get(node.inputs[place])
        if weights is None or weights.dtype.kind != "f":
            continue
        layout, is_matrix = filters, isinstance(filters, MatrixFilters)
        if place == 0:
            layout = FirstFilters()
        elif is_matrix and weights.ndim != 2:
            layout = StackFilters()
        groups = layout.groups(node, weights.shape) if place or is_matrix else 0
        if groups:
            yield Layer(node, layout, weights.shape, groups, place)
        return


INNER = "it is in a graph inside of a node, where nothing is corrected"
"""Reason why a layer that `inner_layers` returns is left."""


def inner_layers(graph: Graph) -> list[str]:
    """Return the linear operators with constant weights in the graphs inside of nodes, as error messages name them."""
    found = []
    for node in graph.nodes:
        for inner in node.graphs.values():
            constants = {**graph.constants, **inner.constants}
            found += [str(layer) for layer in linear_layers(replace(inner, constants=constants))] + inner_layers(inner)
    return found


def check_real(graph: Graph) -> None:
    """Raise UnsupportedError for a model that is quantized already: its constants must not change."""
    if graph.formats or any(node.operator in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes):
        raise UnsupportedError(
            "the model is quantized already, and corrections are made on real numbers: give the one before quantization"
        )
