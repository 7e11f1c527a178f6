"""Linear operators with constant weights, in one form whatever the operator: filters of each group, over taps."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import UnsupportedError
from qengine.model.graph import Graph, Node

_WITH_BIAS = {"Conv", "ConvTranspose", "Gemm", "ScaleShift"}


@dataclass(frozen=True)
class Layer:
    """A Conv, ConvTranspose, Gemm, MatMul or BatchNormalization of its own whose weights are a constant.

    Attributes
    ----------
    node : the operator.
    shape : of the weights.
    groups : how many parts its channels are in that do not meet; of a depthwise one, as many as channels.
    """

    node: Node
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
        """The name of the bias, "" where there is none."""
        return self.node.inputs[2] if len(self.node.inputs) > 2 else ""

    @property
    def takes_bias(self) -> bool:
        """Whether the operator may have a bias."""
        return self.node.operator in _WITH_BIAS

    @property
    def size(self) -> tuple[int, int, int, int]:
        """The shape of its blocks: groups, outputs and inputs of a group, taps."""
        groups, outputs, inputs, taps = self.blocks(np.broadcast_to(0.0, self.shape)).shape
        return groups, outputs, inputs, taps

    @property
    def outputs(self) -> int:
        """The number of its output channels."""
        return self.size[0] * self.size[1]

    @property
    def inputs(self) -> int:
        """The number of its input channels."""
        return self.size[0] * self.size[2]

    def blocks(self, weights: NDArray[Any]) -> NDArray[Any]:
        """Return an array of the weights' shape as (groups, outputs, inputs, taps), channels being those of a group."""
        g = self.groups
        match self.node.operator:
            case "Conv":
                return weights.reshape(g, self.shape[0] // g, self.shape[1], prod(self.shape[2:]))
            case "ConvTranspose":
                return weights.reshape(g, self.shape[0] // g, self.shape[1], prod(self.shape[2:])).swapaxes(1, 2)
            case "ScaleShift":
                return weights.reshape(g, 1, 1, 1)
        matrix = weights if self._is_transposed else weights.T
        return matrix[None, :, :, None]

    def whole(self, blocks: NDArray[Any]) -> NDArray[Any]:
        """Return what `blocks` made into blocks."""
        if self.node.operator == "ConvTranspose":
            blocks = blocks.swapaxes(1, 2)
        elif self.node.operator in ("Gemm", "MatMul") and not self._is_transposed:
            return np.ascontiguousarray(blocks[0, :, :, 0].T)
        return np.ascontiguousarray(blocks).reshape(self.shape)

    @property
    def _is_transposed(self) -> bool:
        return bool(self.node.operator == "Gemm" and self.node.number("transB", 0))


def linear_layers(graph: Graph) -> list[Layer]:
    """Return the linear operators whose weights are constant real numbers, in the order in which they run."""
    found = []
    for node in graph.nodes:
        if len(node.inputs) > 1 and node.inputs[1] in graph.constants:
            weights = graph.constants[node.inputs[1]]
            groups = _groups(node, weights)
            if weights.dtype.kind == "f" and groups:
                found.append(Layer(node, weights.shape, groups))
    return found


def _groups(node: Node, weights: NDArray[Any]) -> int:
    """Return the number of groups; 0 of what is not a linear operator in the form of blocks."""
    match node.domain, node.operator:
        case "", "Conv" | "ConvTranspose":
            group = node.number("group", 1)
            return group if weights.ndim > 2 and group > 0 and weights.shape[0] % group == 0 else 0
        case "", "Gemm":
            plain = node.number("alpha", 1.0) == 1.0 and node.number("beta", 1.0) == 1.0
            return int(plain and weights.ndim == 2)
        case "", "MatMul":
            return int(weights.ndim == 2)
        case "qengine", "ScaleShift":
            return weights.size
    return 0


def check_real(graph: Graph) -> None:
    """Raise UnsupportedError where the model is quantized already: its constants are what they are meant to be."""
    if graph.formats or any(node.operator in ("QuantizeLinear", "DequantizeLinear") for node in graph.nodes):
        raise UnsupportedError(
            "the model is quantized already, and corrections are made on real numbers: give the one before quantization"
        )
