"""Folding of BatchNormalization with constant statistics into the linear operator before it.

Such a node computes x * scale + shift for each channel. A linear operator before it takes the factors into its filters
and the sums into its bias; where none can, the node becomes a linear operator of its own, ScaleShift.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Filters, find


def fold_batchnorm(graph: Graph, *, merge: bool = True) -> Graph:
    """Fold every BatchNormalization with constant statistics, in float64, and round the result once.

    Where the operator before it has other readers, or is not linear with constant weights, the
    BatchNormalization becomes a per-channel linear operator of its own.

    Parameters
    ----------
    graph
        The graph to rewrite.
    merge
        Whether it may go into the operator before it; otherwise it always becomes one of its own.
    """
    read_once = graph.tensors_read_once()
    constants = _Constants(graph, dict(graph.constants), dict(graph.derived))
    nodes: dict[int, Node] = {}  # by position in the graph
    producer: dict[str, int] = {}  # position of the node that computes a tensor
    for i, node in enumerate(graph.nodes):
        nodes[i] = node
        if is_constant_batchnorm(node, constants.arrays):
            scale, shift = _affine(node, constants.arrays)
            x = node.inputs[0]
            source = nodes[producer[x]] if merge and x in read_once and x in producer else None
            if source is not None and _can_take(source, constants.arrays, scale.size):
                del nodes[producer[x]]
                nodes[i] = _merged(source, node, scale, shift, constants)
            else:
                declared = graph.values.get(x)
                nodes[i] = _scale_shift(node, scale, shift, constants, declared.dtype if declared else None)
        producer.update(dict.fromkeys(node.outputs, i))
    return replace(graph, nodes=tuple(nodes.values()), constants=constants.arrays, derived=constants.derived)


@dataclass(frozen=True)
class _Constants:
    """The constants of the new graph.

    Attributes
    ----------
    graph : graph before the pass.
    arrays : constants by name.
    derived : name of the constant of the model that a new one was computed from.
    """

    graph: Graph
    arrays: dict[str, NDArray[Any]]
    derived: dict[str, str]

    def add(self, source: str, node: Node, values: NDArray[np.float64], dtype: np.dtype[Any]) -> str:
        """Add the values that folding `node` gave the constant `source`; return their name."""
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
    """Whether it is a constant of floating-point numbers; the operator itself refuses others."""
    return name in constants and constants[name].dtype.kind == "f"


def _affine(node: Node, constants: dict[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (scale, shift) in float64 such that the node computes x * scale + shift."""
    gamma, beta, mean, var = (constants[name].astype(np.float64).ravel() for name in node.inputs[1:])
    if not gamma.size == beta.size == mean.size == var.size:
        raise ModelError(f"{node}: its parameters have {gamma.size}, {beta.size}, {mean.size} and {var.size} channels")
    epsilon = float(np.float32(node.number("epsilon", 1e-5)))
    if not (var + epsilon > 0).all():
        raise ModelError(f"{node}: the variance '{node.inputs[4]}' is not positive")
    with np.errstate(over="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(var + epsilon)
        return scale, beta - mean * scale


def _filters(node: Node) -> Filters | None:
    """Return the layout of the weights of an operator of ONNX with a bias; None for any other operator."""
    operator = find(node)
    return operator.facts.filters if operator.takes_bias and not node.domain else None


def _can_take(linear: Node, constants: dict[str, NDArray[Any]], channels: int) -> bool:
    """Whether the operator is linear with constant weights and bias of shapes that fit."""
    filters = _filters(linear)
    if filters is None or len(linear.outputs) != 1 or len(linear.inputs) < 2:
        return False
    if not all(_is_real(name, constants) for name in linear.inputs[1:] if name) or not linear.inputs[1]:
        return False
    weights = constants[linear.inputs[1]]
    groups = filters.groups(linear, weights.shape)
    if not groups:
        return False
    bias = _bias(linear, constants)
    outputs = groups * filters.blocks(linear, weights, groups).shape[1]
    return outputs == channels and (bias.ndim == 0 or bias.shape[-1] in (1, channels))


def _bias(linear: Node, constants: dict[str, NDArray[Any]]) -> NDArray[Any]:
    name = linear.inputs[2] if len(linear.inputs) > 2 else ""
    return constants[name] if name else np.zeros(())


def _merged(
    linear: Node, node: Node, scale: NDArray[np.float64], shift: NDArray[np.float64], constants: _Constants
) -> Node:
    """Return the linear operator with the factors in its filters and the sums in its bias."""
    weights_name, dtype = linear.inputs[1], constants.arrays[linear.inputs[1]].dtype
    # Without a bias, the new one is derived from that of the normalization.
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
    """Return the weights with every filter multiplied by the factor of its output channel."""
    filters = _filters(linear)
    assert filters is not None
    groups = filters.groups(linear, weights.shape)
    blocks = filters.blocks(linear, weights, groups)
    return filters.from_blocks(linear, blocks * scale.reshape(groups, -1, 1, 1), weights.shape)


def _scale_shift(
    node: Node,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    constants: _Constants,
    dtype: np.dtype[Any] | None,
) -> Node:
    """Return the normalization as a linear operator of its own, its constants in the element type of x."""
    # From opset 14 on the constants of the model may have another element type than x.
    dtype = dtype or constants.arrays[node.inputs[1]].dtype
    names = (
        constants.add(node.inputs[1], node, scale, dtype),
        constants.add(node.inputs[2], node, shift, dtype),
    )
    return Node("ScaleShift", (node.inputs[0], *names), node.outputs[:1], {}, node.name, "qengine", 1)
