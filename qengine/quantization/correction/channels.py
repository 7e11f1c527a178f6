"""The way of a layer's channels to the next layer, past operators that are positively homogeneous in each channel.

Such an operator gives a positive factor times its result where a channel is multiplied by the factor, so that a layer
may divide its channels by factors which the next layer multiplies again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import Channels, NumberKind, find
from qengine.quantization.correction.layers import Layer


@dataclass(frozen=True)
class Link:
    """A layer whose output channels reach the inputs of one other layer, and nothing else.

    Attributes
    ----------
    first, second : the layers.
    tensors : names of the tensors from the output of the first to the input of the second.
    repeat : number of consecutive inputs of the second that are one channel of the first: a Flatten lies between.
    """

    first: Layer
    second: Layer
    tensors: tuple[str, ...]
    repeat: int


@dataclass(frozen=True)
class NoLink:
    """Result of `follow` for a layer whose output channels reach no single layer, with the reason."""

    reason: str


def follow(layer: Layer, graph: Graph, layers: Mapping[str, Layer]) -> Link | NoLink:
    """Return the layer that reads the output channels of a layer, past operators that are positively homogeneous.

    Parameters
    ----------
    layer
        The layer to begin at.
    graph
        The graph of the layer.
    layers
        All layers of the graph, by the names of their outputs.
    """
    once, readers = graph.tensors_read_once(), graph.readers()
    name, channels, tensors = layer.node.outputs[0], layer.filters.channels, [layer.node.outputs[0]]
    outputs = {value.name for value in graph.outputs}
    while True:
        if name in outputs:
            return NoLink(f"'{name}' is an output of the model")
        if name not in once:
            return NoLink(f"'{name}' is read {len(readers.get(name, []))} times")
        (node,) = readers[name]
        second = layers.get(node.outputs[0])
        if second is not None and node.inputs[0] == name:
            return _link(layer, second, tensors, channels)
        after = _channels_after(node, name, channels, graph)
        if isinstance(after, NoLink):
            return after
        channels, name = after, node.outputs[0]
        tensors.append(name)


def _link(first: Layer, second: Layer, tensors: list[str], channels: Channels) -> Link | NoLink:
    if second.filters.reads_transposed(second.node):
        return NoLink(f"{second} reads its channels as rows")
    if channels is Channels.IMAGE and second.filters.channels is not Channels.IMAGE:
        return NoLink(f"{second} does not read axis 1 of an image as channels")
    if channels is not Channels.IMAGE and second.filters.channels is Channels.IMAGE:
        return NoLink(f"{second} reads channels of an image, and {first} makes none")
    if second.inputs % first.outputs:
        return NoLink(f"{second} has {second.inputs} inputs for {first.outputs} channels")
    return Link(first, second, tuple(tensors), second.inputs // first.outputs)


def _channels_after(node: Node, name: str, channels: Channels, graph: Graph) -> Channels | NoLink:
    """Return the place of the channels of tensor `name` after the node that reads it."""
    if node.domain or node.inputs[0] != name:
        return NoLink(f"{node} reads '{name}' and is not positive-homogeneous in it alone")
    if any(node.outputs[1:]):
        return NoLink(f"{node} has several outputs")
    operator = find(node)
    shape = graph.values[name].shape if name in graph.values else None
    after = operator.channels_after(node, channels, shape, graph.constants)
    if after is not None:
        return after
    if NumberKind.BOUND in operator.facts.numbers.values():
        return NoLink(f"{node} has bounds, which would have to be others for each channel")
    return NoLink(f"{node} is not known to keep channels apart and to be positive-homogeneous")


__all__ = ["Link", "NoLink", "follow"]
