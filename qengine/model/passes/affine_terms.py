"""Operators that multiply by constants and add constants: y = x * scale + shift, element by element.

Mul, Div, Add, Sum, Sub and Neg are such operators, and so is BatchNormalization with constant statistics. Scale and
shift are float64 arrays that broadcast against x as the constants of the operator do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.graph import Graph, Node
from qengine.model.ops.functions import LARGEST

Reals = NDArray[np.float64]
Constants = Mapping[str, NDArray[Any]]

_SAME = ("Identity", "Dropout")


@dataclass(frozen=True, eq=False)
class Affine:
    """A node that computes y = x * scale + shift.

    Attributes
    ----------
    node : the node.
    x : name of its input.
    scale, shift : constants that broadcast against x, aligned at the last axis.
    factor, addend : names of the constants that scale and shift are derived from; "" where there is none.
    dtype : element type of its constants; None where it has none.
    by_channel : whether scale and shift count the channels of axis 1, of any number of axes.
    """

    node: Node
    x: str
    scale: Reals = field(default_factory=lambda: np.ones(()))
    shift: Reals = field(default_factory=lambda: np.zeros(()))
    factor: str = ""
    addend: str = ""
    dtype: np.dtype[Any] | None = None
    by_channel: bool = False

    @property
    def y(self) -> str:
        """The name of the output."""
        return self.node.outputs[0]

    @property
    def only_adds(self) -> bool:
        """Whether every factor is 1."""
        return bool((self.scale == 1.0).all())

    @property
    def only_multiplies(self) -> bool:
        """Whether every addend is 0."""
        return not self.shift.any()

    @property
    def is_finite(self) -> bool:
        """Whether no constant is infinite, NaN, or so large that it stands for infinity, as in an attention mask."""
        largest = LARGEST if self.dtype is None else min(LARGEST, float(np.finfo(self.dtype).max))
        return bool((np.abs(self.scale) < LARGEST).all() and (np.abs(self.shift) < largest).all())


def affine_of(node: Node, constants: Constants) -> Affine | None:
    """Return what a node multiplies by and adds; None for a node that does something else.

    Raises
    ------
    ModelError
        If a BatchNormalization has a variance that is not positive, or parameters of different lengths.
    """
    if is_constant_batchnorm(node, constants):
        scale, shift = _normalization(node, constants)
        x, gamma, beta = node.inputs[:3]
        return Affine(node, x, scale, shift, gamma, beta, by_channel=True)
    if node.domain or node.activation is not None or any(node.outputs[1:]) or not node.outputs:
        return None
    if node.operator in _SAME and _is_the_same(node, constants):
        return Affine(node, node.inputs[0])
    if node.operator == "Neg" and len(node.inputs) == 1:
        return Affine(node, node.inputs[0], -np.ones(()))
    if node.operator in _RULES and len(node.inputs) == 2:
        return _of_two(node, constants)
    return None


def _of_two(node: Node, constants: Constants) -> Affine | None:
    """Return what an operator with two inputs does to the one that is not constant."""
    a, b = node.inputs
    if "broadcast" in node.attributes or "axis" in node.attributes or (a in constants) == (b in constants):
        return None
    x, k = (b, a) if a in constants else (a, b)
    if not is_real(k, constants):
        return None
    with np.errstate(all="ignore"):
        found = _RULES[node.operator](constants[k].astype(np.float64), a in constants)
    if found is None:
        return None
    scale, shift = found
    factor, addend = (k, "") if node.operator in ("Mul", "Div") else ("", k)
    return Affine(node, x, scale, shift, factor, addend, constants[k].dtype)


def _divided(k: Reals, is_first: bool) -> tuple[Reals, Reals] | None:
    return None if is_first else (1.0 / k, np.zeros(k.shape))


_RULES: Mapping[str, Any] = {
    "Mul": lambda k, _: (k, np.zeros(k.shape)),
    "Div": _divided,
    "Add": lambda k, _: (np.ones(k.shape), k),
    "Sum": lambda k, _: (np.ones(k.shape), k),
    "Sub": lambda k, is_first: (-np.ones(k.shape), k) if is_first else (np.ones(k.shape), -k),
}
"""By operator, the scale and shift of a constant and whether the constant is the first input."""


def _is_the_same(node: Node, constants: Constants) -> bool:
    """Whether the output equals the input; a Dropout in training does not."""
    if node.operator == "Identity":
        return True
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    return not training or (training in constants and not constants[training].any())


def is_constant_batchnorm(node: Node, constants: Constants) -> bool:
    """Whether the node is a BatchNormalization whose statistics are constants."""
    if node.operator != "BatchNormalization" or node.domain or len(node.inputs) != 5:
        return False
    plain = not node.number("training_mode", 0) and node.number("spatial", 1)
    return bool(plain) and not any(node.outputs[1:]) and all(is_real(name, constants) for name in node.inputs[1:])


def is_real(name: str, constants: Constants) -> bool:
    """Whether it is a constant of floating-point numbers; the operator itself refuses others."""
    return name in constants and constants[name].dtype.kind == "f"


def _normalization(node: Node, constants: Constants) -> tuple[Reals, Reals]:
    """Return scale and shift of a BatchNormalization, one number for each channel."""
    gamma, beta, mean, var = (constants[name].astype(np.float64).ravel() for name in node.inputs[1:])
    if not gamma.size == beta.size == mean.size == var.size:
        raise ModelError(f"{node}: its parameters have {gamma.size}, {beta.size}, {mean.size} and {var.size} channels")
    epsilon = float(np.float32(node.number("epsilon", 1e-5)))
    if not (var + epsilon > 0).all():
        raise ModelError(f"{node}: the variance '{node.inputs[4]}' is not positive")
    with np.errstate(over="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(var + epsilon)
        return scale, beta - mean * scale


def shape_of(name: str, graph: Graph) -> tuple[int | None, ...] | None:
    """Return the lengths of the axes of a tensor, None where they are not known; None for an unknown rank."""
    if name in graph.constants:
        return graph.constants[name].shape
    value = graph.values.get(name) or next((one for one in graph.inputs if one.name == name), None)
    if value is None or value.shape is None:
        return None
    return tuple(n if isinstance(n, int) else None for n in value.shape)
