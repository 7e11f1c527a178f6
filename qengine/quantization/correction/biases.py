"""Biases of layers: the constant that is added to the output of each, and nothing else.

A Conv, ConvTranspose or Gemm has a bias of its own, or gets one. A MatMul has none, but often an Add of a constant
reads its output and nothing else does: then this constant is its bias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.quantization.correction.layers import Layer, linear_layers


@dataclass(frozen=True)
class OwnBias:
    """The constant that is added to the output of a layer, and the operator that adds it.

    Attributes
    ----------
    name : name of the constant; no other operator reads it.
    node : the layer itself, or the Add after a product of matrices.
    place : index of the constant among the inputs of the operator.
    """

    name: str
    node: Node
    place: int


def own_biases(graph: Graph) -> dict[str, OwnBias]:
    """Return by the layer's output the bias of each layer that has one, a constant that nothing else reads."""
    reads, readers = _reads(graph), graph.readers()
    found = {}
    for layer in linear_layers(graph):
        bias = _bias_of(layer, graph, reads, readers)
        if bias is not None and bias.name in graph.constants and reads[bias.name] == 1:
            found[layer.node.outputs[0]] = bias
    return found


def _reads(graph: Graph) -> Counter[str]:
    """Return how often each tensor is read; an output of the model counts as one reader."""
    reads = Counter(name for node in graph.nodes for name in node.reads)
    reads.update(value.name for value in graph.outputs)
    return reads


def _bias_of(layer: Layer, graph: Graph, reads: Mapping[str, int], readers: Mapping[str, list[Node]]) -> OwnBias | None:
    """Return the bias of a layer, with an empty name where there is none yet; None where it can have none."""
    out = layer.node.outputs[0]
    if layer.takes_bias:
        return OwnBias(layer.bias, layer.node, 2)
    if reads[out] != 1 or len(readers.get(out, ())) != 1 or not _is_add(readers[out][0]):
        return None
    (add,) = readers[out]
    place = 1 - add.inputs.index(out)
    constant = graph.constants.get(add.inputs[place])
    if constant is None or constant.dtype.kind != "f" or not _fits(layer, constant.shape):
        return None
    return OwnBias(add.inputs[place], add, place)


def _is_add(node: Node) -> bool:
    return node.operator == "Add" and not node.domain and len(node.inputs) == 2


def _fits(layer: Layer, shape: tuple[int, ...]) -> bool:
    """Whether a constant that is added to the output of a layer can take a number for each filter."""
    own = layer.as_bias(np.zeros(layer.block_shape[:2])).shape
    axes = list(own)
    while axes and axes[0] == 1:
        del axes[0]
    if not layer.is_stack:
        return len(shape) <= 1 or shape[-1] in (1, axes[-1] if axes else 1)
    try:
        return np.broadcast_shapes(shape, tuple(axes)) == shape
    except ValueError:
        return False


def shifted(layer: Layer, bias: NDArray[Any], shift: NDArray[np.float64]) -> NDArray[Any]:
    """Return a bias less a number for each filter, (groups, outputs)."""
    own = layer.as_bias(shift)
    while own.ndim > max(1, bias.ndim) and own.shape[0] == 1:
        own = own[0]
    return np.asarray((bias.astype(np.float64) - own).astype(bias.dtype))


def with_own_biases(graph: Graph) -> Graph:
    """Return the graph with a bias of its own for each layer that may have one; a computed bias is not changed."""
    reads, readers = _reads(graph), graph.readers()
    constants, nodes = dict(graph.constants), {node.outputs[:1]: node for node in graph.nodes}
    for layer in linear_layers(graph):
        bias, weights = _bias_of(layer, graph, reads, readers), graph.constants[layer.weights]
        if bias is None or (bias.name and bias.name not in constants):
            continue
        if bias.name and reads[bias.name] == 1:
            if layer.takes_bias:  # one number for all filters may become one for each
                constants[bias.name] = shifted(layer, constants[bias.name], np.zeros(layer.block_shape[:2]))
            continue
        if not bias.name and layer.is_stack:  # a bias of this shape might not broadcast
            continue
        name = graph.fresh_name(bias.name or f"{layer.node.outputs[0]}.bias", constants)
        own = constants[bias.name] if bias.name else np.zeros(layer.outputs, weights.dtype)
        constants[name] = shifted(layer, own, np.zeros(layer.block_shape[:2])) if layer.takes_bias else own.copy()
        inputs = (*bias.node.inputs[: bias.place], name, *bias.node.inputs[bias.place + 1 :])
        nodes[bias.node.outputs[:1]] = replace(bias.node, inputs=inputs)
    return replace(graph, nodes=tuple(nodes[node.outputs[:1]] for node in graph.nodes), constants=constants)
