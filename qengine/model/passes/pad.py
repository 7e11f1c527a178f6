"""What a Pad puts around an image goes into the pads of the Conv or pool that reads it. No bit changes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Attribute, Graph, Node


def fold_pads(graph: Graph) -> Graph:
    """Fold a Pad with known widths that only a Conv, AveragePool or MaxPool reads, if it pads spatial axes alone.

    A Conv takes zeros, as does an AveragePool that counts its padding; a MaxPool what is below every number.
    """
    read_once = graph.read_once(rounded=True)
    nodes: dict[int, Node] = {}  # by place in the graph
    place: dict[str, int] = {}  # of the node that computes a tensor
    for i, node in enumerate(graph.nodes):
        nodes[i] = node
        source = node.inputs[0] if node.inputs else ""
        if source in place and source in read_once and _takes(node):
            pad = nodes[place[source]]
            widths = _widths(pad, graph)
            attributes = _attributes(node, widths, _fill(pad, graph.constants)) if widths else None
            if attributes is not None:
                del nodes[place[source]]
                nodes[i] = replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes=attributes)
        place.update(dict.fromkeys(node.outputs, i))
    return replace(graph, nodes=tuple(nodes.values()))


def _takes(node: Node) -> bool:
    """Whether it has pads, and they are numbers that no size decides."""
    kinds = ("Conv", "AveragePool", "MaxPool")
    if node.operator not in kinds or node.domain or len(node.outputs) != 1 or node.number("ceil_mode", 0):
        return False
    return node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")


def _widths(pad: Node, graph: Graph) -> tuple[int, ...] | None:
    """Return the widths before, then after, the spatial axes; None where other axes change, or it is no such Pad."""
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
    """Return what the new cells hold; None where only a run knows it."""
    if pad.version < 11:
        return pad.number("value", 0.0)
    if len(pad.inputs) < 3 or not pad.inputs[2]:
        return 0.0
    value = _constant(pad, 2, constants)
    return float(value.item()) if value is not None and value.size == 1 else None


def _constant(node: Node, index: int, constants: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    return constants.get(node.inputs[index]) if index < len(node.inputs) else None


def _attributes(node: Node, widths: tuple[int, ...], fill: float | None) -> dict[str, Attribute] | None:
    """Return the node's attributes with wider pads; None where its own padding is not what the Pad fills in."""
    own = np.zeros(len(widths), np.int64)
    if "pads" in node.attributes and node.attributes.get("auto_pad", "NOTSET") == "NOTSET":
        own = np.array(node.attributes["pads"])
    if own.shape != (len(widths),) or fill != (-np.inf if node.operator == "MaxPool" else 0.0):
        return None
    attributes = {**node.attributes, "auto_pad": "NOTSET", "pads": tuple((own + widths).tolist())}
    if node.operator == "AveragePool":
        if own.any() and not node.number("count_include_pad", 0):
            return None
        attributes["count_include_pad"] = 1
    return attributes
