"""BatchNormalization with constant statistics goes into the linear operator before it, or becomes one itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.graph import Graph, Node

# For each operator that takes one in: the axis of the weights that counts the channels of a group.
_FOLDS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1}


def fold_batchnorm(graph: Graph, *, merge: bool = True) -> Graph:
    """Fold every BatchNormalization with constant statistics, in float64, the result rounded once.

    Where the operator before it has other readers, or is not linear with constant weights, the
    BatchNormalization becomes a per-channel linear operator of its own.

    Parameters
    ----------
    merge
        Whether it may go into the operator before it; otherwise it always becomes one of its own.
    """
    read_once = graph.read_once()
    constants = _Constants(graph, dict(graph.constants), dict(graph.derived))
    nodes: dict[int, Node] = {}  # by place in the graph
    place: dict[str, int] = {}  # of the node that computes a tensor
    for i, node in enumerate(graph.nodes):
        nodes[i] = node
        if is_constant_batchnorm(node, constants.arrays):
            scale, shift = _affine(node, constants.arrays)
            x = node.inputs[0]
            if merge and x in read_once and x in place and _takes(nodes[place[x]], constants.arrays, scale.size):
                nodes[i] = _merged(nodes.pop(place[x]), node, scale, shift, constants)
            else:
                declared = graph.values.get(x)
                nodes[i] = _alone(node, scale, shift, constants, declared.dtype if declared else None)
        place.update(dict.fromkeys(node.outputs, i))
    return replace(graph, nodes=tuple(nodes.values()), constants=constants.arrays, derived=constants.derived)


@dataclass(frozen=True)
class _Constants:
    """The constants of the new graph, and which of the model's own each stands for."""

    graph: Graph
    arrays: dict[str, NDArray[Any]]
    derived: dict[str, str]

    def add(self, source: str, node: Node, values: NDArray[np.float64], dtype: np.dtype[Any]) -> str:
        """Add what became of the constant `source` when `node` was folded; return its name."""
        name = self.graph.fresh_name(f"{source} with {node.outputs[0]}", self.arrays)
        with np.errstate(over="ignore"):
            self.arrays[name] = values.astype(dtype)
        self.derived[name] = self.derived.get(source, source)
        return name


def is_constant_batchnorm(node: Node, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether the node is a BatchNormalization whose statistics are constants."""
    if node.operator != "BatchNormalization" or node.domain or len(node.inputs) != 5:
        return False
    plain = not node.number("training_mode", 0) and node.number("spatial", 1)
    return bool(plain) and not any(node.outputs[1:]) and all(_is_real(name, constants) for name in node.inputs[1:])


def _is_real(name: str, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether it is a constant of floating-point numbers; others are the operator's own error."""
    return name in constants and constants[name].dtype.kind == "f"


def _affine(node: Node, constants: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (s, t) in float64 such that the node computes x * s + t."""
    gamma, beta, mean, var = (constants[name].astype(np.float64).ravel() for name in node.inputs[1:])
    if not gamma.size == beta.size == mean.size == var.size:
        raise ModelError(f"{node}: its parameters have {gamma.size}, {beta.size}, {mean.size} and {var.size} channels")
    epsilon = float(np.float32(node.number("epsilon", 1e-5)))
    if not (var + epsilon > 0).all():
        raise ModelError(f"{node}: the variance '{node.inputs[4]}' is not positive")
    with np.errstate(over="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(var + epsilon)
        return scale, beta - mean * scale


def _takes(linear: Node, constants: dict[str, NDArray[Any]], channels: int) -> bool:
    """Whether the operator is linear with constant weights and bias of fitting shapes."""
    if linear.operator not in _FOLDS or linear.domain or len(linear.outputs) != 1 or len(linear.inputs) < 2:
        return False
    if "alpha" in linear.attributes or "beta" in linear.attributes:
        return False  # a Gemm that is an island
    if not all(_is_real(name, constants) for name in linear.inputs[1:] if name) or not linear.inputs[1]:
        return False
    weights, group = constants[linear.inputs[1]], linear.number("group", 1)
    groups = group if linear.operator == "ConvTranspose" else 1
    if weights.ndim < 2 or group < 1 or weights.shape[0] % groups:
        return False
    bias = _bias(linear, constants)
    fits = bias.ndim == 0 or bias.shape[-1] in (1, channels)
    return fits and weights.shape[_channel_axis(linear)] * groups == channels


def _channel_axis(linear: Node) -> int:
    return 0 if linear.number("transB", 0) else _FOLDS[linear.operator]


def _bias(linear: Node, constants: dict[str, NDArray[Any]]) -> NDArray[Any]:
    name = linear.inputs[2] if len(linear.inputs) > 2 else ""
    return constants[name] if name else np.zeros(())


def _merged(
    linear: Node, node: Node, scale: NDArray[np.float64], shift: NDArray[np.float64], constants: _Constants
) -> Node:
    weights_name, dtype = linear.inputs[1], constants.arrays[linear.inputs[1]].dtype
    # Without a bias, the new one stands for that of the normalization.
    bias_name = (linear.inputs[2] if len(linear.inputs) > 2 else "") or node.inputs[2]
    with np.errstate(over="ignore", invalid="ignore"):
        weights = _scaled(linear, constants.arrays[weights_name].astype(np.float64), scale)
        bias = _bias(linear, constants.arrays).astype(np.float64) * scale + shift
    names = (
        constants.add(weights_name, node, weights, dtype),
        constants.add(bias_name, node, bias, dtype),
    )
    return replace(linear, inputs=(linear.inputs[0], *names), outputs=node.outputs[:1])


def _scaled(linear: Node, weights: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    if linear.operator != "ConvTranspose":
        column = [1] * weights.ndim
        column[_channel_axis(linear)] = -1
        return weights * scale.reshape(column)
    # Weights (C, M/group, kernel...): the filters of each group follow one another.
    group = linear.number("group", 1)
    grouped = weights.reshape(group, weights.shape[0] // group, *weights.shape[1:])
    factors = scale.reshape(group, 1, weights.shape[1], *(1,) * (weights.ndim - 2))
    return np.asarray((grouped * factors).reshape(weights.shape))


def _alone(
    node: Node,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    constants: _Constants,
    dtype: np.dtype[Any] | None,
) -> Node:
    # From opset 14 on the parameters may be of another element type than x.
    dtype = dtype or constants.arrays[node.inputs[1]].dtype
    names = (
        constants.add(node.inputs[1], node, scale, dtype),
        constants.add(node.inputs[2], node, shift, dtype),
    )
    return Node("ScaleShift", (node.inputs[0], *names), node.outputs[:1], {}, node.name, "qengine", 1)
