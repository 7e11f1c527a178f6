"""Folding of a Pad into the `pads` of the operator that reads it. No bit changes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Attribute, Graph, Node
from qengine.model.ops.operator import find


def fold_pads(graph: Graph) -> Graph:
    """Fold a Pad with known widths that one operator alone reads, if it pads spatial axes only.

    The operator must itself put cells of the same value around images: a Conv or AveragePool puts zeros, a MaxPool
    minus infinity. An AveragePool then counts its padding.
    """
    read_once = graph.tensors_read_once(rounded=True)
    nodes: dict[int, Node] = {}  # by position in the graph
    producer: dict[str, int] = {}  # position of the node that computes a tensor
    for i, node in enumerate(graph.nodes):
        nodes[i] = node
        source = node.inputs[0] if node.inputs else ""
        if source in producer and source in read_once and _can_take(node):
            pad = nodes[producer[source]]
            widths = _widths(pad, graph)
            attributes = _attributes(node, widths, _fill(pad, graph.constants)) if widths else None
            if attributes is not None:
                del nodes[producer[source]]
                nodes[i] = replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes=attributes)
        producer.update(dict.fromkeys(node.outputs, i))
    return replace(graph, nodes=tuple(nodes.values()))


def _can_take(node: Node) -> bool:
    """Whether the node pads images by widths that do not depend on their size."""
    if find(node).facts.padding_value is None or len(node.outputs) != 1 or node.number("ceil_mode", 0):
        return False
    return node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")


def _widths(pad: Node, graph: Graph) -> tuple[int, ...] | None:
    """Return the widths before, then after, the spatial axes; None for any other node, or if other axes are padded."""
    if pad.operator != "Pad" or pad.domain or pad.attributes.get("mode", "constant") != "constant":
        return None
    given = pad.attributes.get("pads") if pad.version < 11 else _constant(pad, 1, graph.constants)
    if not isinstance(given, tuple | np.ndarray):
        return None
    widths = np.array(given, np.int64).reshape(2, -1)
    if len(pad.inputs) > 3 and pad.inputs[3]:
        axes, x = _constant(pad, 3, graph.constants), graph.values.get(pad.inputs[0])
        if axes is None or x is None or x.shape is None:
            return None
        given, widths = widths, np.zeros((2, len(x.shape)), np.int64)
        widths[:, axes.ravel()] = given
    if widths.shape[1] < 3 or widths[:, :2].any() or widths.min() < 0:
        return None
    return tuple(widths[:, 2:].ravel().tolist())


def _fill(pad: Node, constants: Mapping[str, NDArray[Any]]) -> float | None:
    """Return the value of the new cells; None where the model computes it."""
    return next(iter(find(pad).numbers(pad, constants).values()), 0.0)


def _constant(node: Node, index: int, constants: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    return constants.get(node.inputs[index]) if index < len(node.inputs) else None


def _attributes(node: Node, widths: tuple[int, ...], fill: float | None) -> dict[str, Attribute] | None:
    """Return the node's attributes with wider pads; None where its own padding has other values than the Pad's."""
    own = np.zeros(len(widths), np.int64)
    if "pads" in node.attributes and node.attributes.get("auto_pad", "NOTSET") == "NOTSET":
        own = np.array(node.attributes["pads"])
    operator = find(node)
    if own.shape != (len(widths),) or fill != operator.facts.padding_value:
        return None
    pads = tuple((own + widths).tolist())
    if operator.facts.filters is None and _is_too_wide(node, pads):
        return None
    attributes = {**node.attributes, "auto_pad": "NOTSET", "pads": pads}
    if "count_include_pad" in operator.attributes:
        if own.any() and not node.number("count_include_pad", 0):
            return None
        attributes["count_include_pad"] = 1
    return attributes


def _is_too_wide(node: Node, pads: tuple[int, ...]) -> bool:
    """Whether pads are as wide as the window of a pool, which refuses them."""
    spatial = len(pads) // 2
    kernel, dilations = node.attributes.get("kernel_shape", ()), node.attributes.get("dilations", (1,) * spatial)
    if not isinstance(kernel, tuple) or not isinstance(dilations, tuple) or len(kernel) != spatial:
        return True  # the pool refuses the attribute
    extents = (np.array(kernel, np.int64) - 1) * np.array(dilations, np.int64) + 1
    return bool((np.array(pads).reshape(2, spatial) >= extents).any())
