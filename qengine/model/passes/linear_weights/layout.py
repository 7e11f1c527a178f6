"""Interface of a layout of weights: factors of the weights, and biases, for constants before or after an operator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Node
from qengine.model.ops.operator import find

Reals = NDArray[np.float64]
Shape = tuple[int, ...]


class NoFold(Exception):  # noqa: N818 - no error: the graph is left unchanged
    """A constant cannot go into the weights or the bias."""


@dataclass(frozen=True)
class LinearWeights(ABC):
    """A linear operator with constant weights.

    Attributes
    ----------
    node : the operator.
    shape : shape of its weights.
    x : lengths of the axes of its input, None where not known; None for an unknown rank.
    place : place of the weights among its inputs.
    """

    node: Node
    shape: Shape
    x: tuple[int | None, ...] | None
    place: int = 1

    @property
    def weights(self) -> str:
        """The name of the weights."""
        return self.node.inputs[self.place]

    @property
    def source(self) -> str:
        """The name of the input that is not the weights."""
        return self.node.inputs[1 - self.place]

    @property
    def bias(self) -> str:
        """The name of the bias; "" where there is none."""
        return self.node.inputs[2] if len(self.node.inputs) > 2 else ""

    @property
    def may_have_bias(self) -> bool:
        """Whether the operator has a bias, or one of qengine does that is the same otherwise."""
        return self.node.operator == "MatMul" or find(self.node).takes_bias

    @property
    @abstractmethod
    def is_whole(self) -> bool:
        """Whether shapes and attributes are such as the operator takes, which refuses others itself, and are known."""

    @property
    @abstractmethod
    def summed(self) -> tuple[int, ...]:
        """The axes of the weights along which a filter lies."""

    @abstractmethod
    def takes_bias(self, shape: Shape) -> bool:
        """Whether a bias of a shape fits the operator, which refuses others itself."""

    @abstractmethod
    def after(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return the factors of the weights where the output is multiplied by k; raise NoFold if there are none."""

    @abstractmethod
    def added(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return a bias where k is added to the output; raise NoFold if there is none."""

    @abstractmethod
    def before(self, k: Reals, *, by_channel: bool = False) -> Reals:
        """Return the factors of the weights where the input is multiplied by k; raise NoFold if there are none."""

    @abstractmethod
    def response(self, k: Reals, weights: Reals, *, by_channel: bool = False) -> Reals:
        """Return the bias that adding k to the input amounts to; raise NoFold if it differs between positions."""

    def with_constants(self, weights: str, bias: str) -> Node:
        """Return the node with other weights and another bias; "" for none."""
        inputs = [*self.node.inputs[:2], bias] if bias else list(self.node.inputs[:2])
        inputs[self.place] = weights
        if bias and self.node.operator == "MatMul":  # ONNX's has none
            return replace(self.node, inputs=tuple(inputs), domain="qengine", version=1)
        return replace(self.node, inputs=tuple(inputs))
