"""Linear operators with constant weights, their weights in blocks: the filters of each group, over taps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Filters, find


@dataclass(frozen=True)
class Layer:
    """A linear operator whose weights are a constant.

    Attributes
    ----------
    node : the operator.
    filters : layout of its weights.
    shape : shape of its weights.
    groups : number of parts of its channels that do not meet; a depthwise layer has as many as channels.
    """

    node: Node
    filters: Filters
    shape: tuple[int, ...]
    groups: int

    def __str__(self) -> str:
        return str(self.node)

    @property
    def weights(self) -> str:
        """The name of the weights."""
        return self.node.inputs[1]

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
    def layout(self) -> tuple[str, str, int, int | None]:
        """A key that layers have in common if they read weights of one shape in the same way."""
        axis = self.filters.channel_axis(self.node, len(self.shape))
        return self.node.operator, self.node.domain, self.groups, axis

    def blocks(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return an array of the weights' shape as (groups, outputs, inputs, taps); channels are those of a group."""
        return self.filters.blocks(self.node, weights, self.groups)

    def from_blocks(self, blocks: NDArray[Any]) -> NDArray[Any]:
        """Return blocks in the layout of the weights; the inverse of `blocks`."""
        return self.filters.from_blocks(self.node, blocks, self.shape)


def linear_layers(graph: Graph) -> list[Layer]:
    """Return the linear operators whose weights are constant real numbers, in the order in which they run."""
    layers = []
    for node in graph.nodes:
        filters = find(node).facts.filters
        weights = graph.constants.get(node.inputs[1]) if filters and len(node.inputs) > 1 else None
        if filters is None or weights is None or weights.dtype.kind != "f":
            continue
        groups = filters.groups(node, weights.shape)
        if groups:
            layers.append(Layer(node, filters, weights.shape, groups))
    return layers


def check_real(graph: Graph) -> None:
    """Raise UnsupportedError for a model that is quantized already: its constants must not change."""
    if graph.formats or any(node.operator in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes):
        raise UnsupportedError(
            "the model is quantized already, and corrections are made on real numbers: give the one before quantization"
        )
