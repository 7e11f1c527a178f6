"""Which operators keep channels apart, and give factor times the result where a channel is multiplied by a factor."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.quantization.correction.layers import Layer

_ELEMENTWISE = {"Relu", "LeakyRelu", "PRelu", "Identity", "Dropout"}
_POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
_FIRST, _MATRIX, _LAST = "axis 1 of an image", "columns of a matrix", "the last axis"
_AXES = {"Conv": _FIRST, "ConvTranspose": _FIRST, "ScaleShift": _FIRST, "Gemm": _MATRIX, "MatMul": _LAST}


@dataclass(frozen=True)
class Link:
    """A layer whose output channels reach the inputs of one other layer, and nothing else.

    Attributes
    ----------
    first, second : the layers.
    tensors : from the output of the first to the input of the second.
    repeat : how many inputs of the second one after the other are one channel of the first: a Flatten lies between.
    """

    first: Layer
    second: Layer
    tensors: tuple[str, ...]
    repeat: int


@dataclass(frozen=True)
class Broken:
    """Why a layer's output channels cannot be followed."""

    why: str


def follow(layer: Layer, graph: Graph, layers: Mapping[str, Layer]) -> Link | Broken:
    """Return the layer that reads the output channels of a layer, past operators that are positive-homogeneous.

    Parameters
    ----------
    layer
        Where to begin.
    graph
        What it is of.
    layers
        All layers, by the names of their outputs.
    """
    once, readers = graph.read_once(), graph.readers()
    name, axis, tensors = layer.node.outputs[0], _AXES[layer.node.operator], [layer.node.outputs[0]]
    outputs = {value.name for value in graph.outputs}
    while True:
        if name in outputs:
            return Broken(f"'{name}' is an output of the model")
        if name not in once:
            return Broken(f"'{name}' is read {len(readers.get(name, []))} times")
        (node,) = readers[name]
        second = layers.get(node.outputs[0])
        if second is not None and node.inputs[0] == name:
            return _link(layer, second, tensors, axis)
        found = _beyond(node, name, axis, graph)
        if isinstance(found, Broken):
            return found
        axis, name = found, node.outputs[0]
        tensors.append(name)


def _link(first: Layer, second: Layer, tensors: list[str], axis: str) -> Link | Broken:
    if second.node.number("transA", 0):
        return Broken(f"{second} reads its channels as rows")
    if axis == _FIRST and _AXES[second.node.operator] != _FIRST:
        return Broken(f"{second} does not read axis 1 of an image as channels")
    if axis != _FIRST and _AXES[second.node.operator] == _FIRST:
        return Broken(f"{second} reads channels of an image, and {first} makes none")
    if second.inputs % first.outputs:
        return Broken(f"{second} has {second.inputs} inputs for {first.outputs} channels")
    return Link(first, second, tuple(tensors), second.inputs // first.outputs)


def _beyond(node: Node, name: str, axis: str, graph: Graph) -> str | Broken:
    """Return where the channels are behind an operator."""
    if node.domain or node.inputs[0] != name:
        return Broken(f"{node} reads '{name}' and is not positive-homogeneous in it alone")
    if any(node.outputs[1:]):
        return Broken(f"{node} has several outputs")
    if node.operator in _ELEMENTWISE or (node.operator == "Clip" and _is_relu(node, graph.constants)):
        return axis
    if node.operator == "Clip":
        return Broken(f"{node} has bounds, which would have to be others for each channel")
    if node.operator in _POOLS and axis == _FIRST:
        return axis
    if node.operator == "Flatten" and axis == _FIRST and node.number("axis", 1) == 1:
        return _MATRIX
    shape = graph.values[name].shape if name in graph.values else None
    if node.operator == "Reshape" and axis == _FIRST and _is_flatten(node, shape, graph.constants):
        return _MATRIX
    if node.operator in ("ReduceMean", "Squeeze") and axis == _FIRST:
        axes = _axes(node, graph.constants)
        rank = len(shape) if shape is not None else None
        if axes and all(a >= 2 or (rank is not None and a < 0 and a + rank >= 2) for a in axes):
            gone = node.operator == "Squeeze" or not node.number("keepdims", 1)
            if not gone:
                return axis
            if rank is not None and len(axes) == rank - 2:
                return _MATRIX
    return Broken(f"{node} is not known to keep channels apart and to be positive-homogeneous")


def _is_relu(node: Node, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a Clip has no other bounds than 0."""
    bounds: list[Any] = [node.attributes[key] for key in ("min", "max") if key in node.attributes]
    for name in filter(None, node.inputs[1:]):
        if name not in constants:
            return False
        bounds.append(constants[name])
    beyond = float(np.finfo(np.float32).max)  # what exporters write for no bound
    return all(float(bound) == 0.0 or abs(float(bound)) >= beyond for bound in bounds)


def _is_flatten(node: Node, shape: Any, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a Reshape keeps the batch, and makes one axis of all others."""
    wanted = constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if wanted is None or wanted.size != 2 or node.number("allowzero", 0):
        return False
    batch, features = (int(n) for n in wanted)
    if batch == 0:
        return True
    known = shape is not None and all(isinstance(n, int) for n in shape[1:])
    return bool(known and features == prod(shape[1:])) or bool(known and shape[0] == batch and features == -1)


def _axes(node: Node, constants: Mapping[str, NDArray[Any]]) -> list[int]:
    given: Any = node.attributes.get("axes")
    if given is None and len(node.inputs) > 1 and node.inputs[1]:
        given = constants.get(node.inputs[1])
    return [] if given is None else [int(a) for a in given]


__all__ = ["Broken", "Link", "follow"]
