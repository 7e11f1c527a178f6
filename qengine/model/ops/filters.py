"""Layouts of the weights of linear operators, with all that depends on the layout.

A linear operator sums products of inputs and weights. Each operator stores its weights in an order of its own; code
that works on filters (corrections, equalization, the count of products) uses one common form, blocks:
an array (groups, outputs, inputs, taps). A group is a part of the channels that does not meet the others; outputs and
inputs are the channels of one group; taps are the positions of a kernel. A matrix is one group with one tap.

An operator names its layout where it is declared: `@operator("Conv", filters=ConvFilters())`. A new linear operator
uses one of the classes below or adds one in the file of its handler.
"""

from abc import ABC, abstractmethod
from collections.abc import Container
from enum import Enum
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Node

Shape = tuple[int, ...]
Array = NDArray[Any]


class Channels(Enum):
    """Place of the channels in a tensor."""

    IMAGE = "axis 1 of an image"
    LAST = "the last axis"


class Filters(ABC):
    """Layout of the weights of a linear operator.

    Attributes
    ----------
    channels : place of the channels in the operator's input and output.
    """

    channels: ClassVar[Channels]

    @abstractmethod
    def channel_axis(self, node: Node, ndim: int) -> int | None:
        """Return the axis of weights with `ndim` axes that counts the output channels of a group, if there is one."""

    @abstractmethod
    def groups(self, node: Node, shape: Shape) -> int:
        """Return the number of groups of weights of a shape; 0 where the weights have no form in blocks."""

    @abstractmethod
    def blocks(self, node: Node, weights: Array, groups: int) -> Array:
        """Return weights, or an array of their shape, as (groups, outputs, inputs, taps)."""

    @abstractmethod
    def from_blocks(self, node: Node, blocks: Array, shape: Shape) -> Array:
        """Return blocks in the layout of weights of a shape; the inverse of `blocks`."""

    @abstractmethod
    def macs(self, node: Node, x: Shape, w: Shape | None, y: Shape) -> int | None:
        """Return the number of products that a node sums, padding included.

        Parameters
        ----------
        node
            The operator.
        x, w, y
            Shapes of the input, the weights (None where unknown) and the output.

        Returns
        -------
        int or None
            Number of products. None where the shape of the weights is needed and unknown.
        """

    def reads_transposed(self, node: Node) -> bool:  # noqa: ARG002
        """Whether the operator transposes its input first, so that the last axis holds no channels."""
        return False

    def factor(self, node: Node, names: Container[str]) -> str:  # noqa: ARG002
        """Return the tensor that a node multiplies by weights of some names."""
        return node.inputs[0]

    def addends(self, node: Node, bias: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """Return what a node adds to its sums, from its constant bias."""
        return bias

    def input_stride(self, node: Node) -> int:  # noqa: ARG002
        """Return the number of positions that a filter sees for each input element, zeros between elements included."""
        return 1


class ConvFilters(Filters):
    """Weights (outputs, inputs of a group, kernel...) of a convolution with the attribute `group`."""

    channels = Channels.IMAGE

    def channel_axis(self, node: Node, ndim: int) -> int:  # noqa: ARG002
        """Return the first axis."""
        return 0

    def groups(self, node: Node, shape: Shape) -> int:
        """Return `group`, or 0 where it does not fit the weights."""
        group = node.number("group", 1)
        return group if len(shape) > 2 and group > 0 and shape[0] % group == 0 else 0

    def blocks(self, node: Node, weights: Array, groups: int) -> Array:  # noqa: ARG002
        """Return the weights with the outputs of each group apart."""
        shape = weights.shape
        return weights.reshape(groups, shape[0] // groups, shape[1], prod(shape[2:]))

    def from_blocks(self, node: Node, blocks: Array, shape: Shape) -> Array:  # noqa: ARG002
        """Return the blocks as weights."""
        return np.ascontiguousarray(blocks).reshape(shape)

    def macs(self, node: Node, x: Shape, w: Shape | None, y: Shape) -> int | None:  # noqa: ARG002
        """Return the size of a filter for each output element."""
        return None if w is None else prod(y) * prod(w[1:])


class TransposedConvFilters(ConvFilters):
    """Weights (inputs, outputs of a group, kernel...) of a transposed convolution with the attribute `group`."""

    def channel_axis(self, node: Node, ndim: int) -> int:  # noqa: ARG002
        """Return the second axis."""
        return 1

    def blocks(self, node: Node, weights: Array, groups: int) -> Array:
        """Return the weights with the inputs of each group apart, outputs first."""
        return super().blocks(node, weights, groups).swapaxes(1, 2)

    def from_blocks(self, node: Node, blocks: Array, shape: Shape) -> Array:
        """Return the blocks as weights."""
        return super().from_blocks(node, blocks.swapaxes(1, 2), shape)

    def macs(self, node: Node, x: Shape, w: Shape | None, y: Shape) -> int | None:  # noqa: ARG002
        """Return the size of a filter for each input element."""
        return None if w is None else prod(x) * prod(w[1:])

    def addends(self, node: Node, bias: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """Return what a node adds to its sums, from its constant bias."""
        return bias

    def input_stride(self, node: Node) -> int:
        """Return the product of the strides, which a transposed convolution spreads its input by."""
        return prod(node.attributes.get("strides", (1,)))  # type: ignore[arg-type]


class MatrixFilters(Filters):
    """Weights (..., inputs, outputs) of a matrix product, or (outputs, inputs) where the node has `transB`.

    Only a single matrix has a form in blocks; a Gemm with a factor other than 1 has none, as it is not a plain product.
    """

    channels = Channels.LAST

    def channel_axis(self, node: Node, ndim: int) -> int | None:
        """Return the axis of the outputs; None for a vector, which gives one output without an axis."""
        if self._is_transposed(node):
            return 0
        return -1 if ndim > 1 else None

    def groups(self, node: Node, shape: Shape) -> int:
        """Return 1 for a plain product with a matrix and 0 otherwise."""
        is_plain = node.number("alpha", 1.0) == 1.0 and node.number("beta", 1.0) == 1.0
        return int(is_plain and len(shape) == 2)

    def blocks(self, node: Node, weights: Array, groups: int) -> Array:  # noqa: ARG002
        """Return the matrix as one group with one tap."""
        matrix = weights if self._is_transposed(node) else weights.T
        return matrix[None, :, :, None]

    def from_blocks(self, node: Node, blocks: Array, shape: Shape) -> Array:
        """Return the blocks as a matrix."""
        matrix = blocks[0, :, :, 0]
        return np.ascontiguousarray(matrix if self._is_transposed(node) else matrix.T).reshape(shape)

    def macs(self, node: Node, x: Shape, w: Shape | None, y: Shape) -> int:  # noqa: ARG002
        """Return the length of a row of the input for each output element."""
        return prod(y) * (x[0] if self.reads_transposed(node) else x[-1])

    def reads_transposed(self, node: Node) -> bool:
        """Whether the node has `transA`."""
        return bool(node.number("transA", 0))

    def _is_transposed(self, node: Node) -> bool:
        return bool(node.number("transB", 0))


class ScaleFilters(Filters):
    """Weights (channels,): one factor for each channel of an image."""

    channels = Channels.IMAGE

    def channel_axis(self, node: Node, ndim: int) -> int:  # noqa: ARG002
        """Return the only axis."""
        return 0

    def groups(self, node: Node, shape: Shape) -> int:  # noqa: ARG002
        """Return the number of channels, as no two meet."""
        return prod(shape)

    def blocks(self, node: Node, weights: Array, groups: int) -> Array:  # noqa: ARG002
        """Return one filter with one tap for each channel."""
        return weights.reshape(groups, 1, 1, 1)

    def from_blocks(self, node: Node, blocks: Array, shape: Shape) -> Array:  # noqa: ARG002
        """Return the factors."""
        return np.ascontiguousarray(blocks).reshape(shape)

    def macs(self, node: Node, x: Shape, w: Shape | None, y: Shape) -> int:  # noqa: ARG002
        """Return one product for each output element."""
        return prod(y)


class RowScaleFilters(ScaleFilters):
    """Weights (channels,): one factor for each place of the last axis."""

    channels = Channels.LAST
