"""What is folded into constants before they are corrected, and the same without folding, to be compared with it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from qengine.model.graph import Graph, Node, Value
from qengine.model.passes import fold_batchnorm, fold_constants, fold_gemm_factors, remove_dead

_NEWEST = 13


def folded(graph: Graph) -> Graph:
    """Return the graph with dead code, constants, Gemm's factors and BatchNormalization folded.

    A constant that folding changed keeps the model's own name, unless it became several different ones: then they have
    names of their own, and `Graph.derived` tells what they stand for. So formats by the model's own names fit both. An
    initializer that folding used is no longer one that a run may feed instead.

    A BatchNormalization with constant statistics that no operator could take in is a Conv of each channel with one
    weight; of tensors that are not known to be images it is the linear operator ScaleShift of the domain qengine.
    """
    return _finished(graph, fold_batchnorm(_without_factors(graph)))


def keep_batchnorm(graph: Graph) -> Graph:
    """Return the graph with every BatchNormalization as a linear operator of its own, which nothing folds.

    It is `folded`, but for that: what the one gives beyond the other is what folding gives.
    """
    return _finished(graph, fold_batchnorm(_without_factors(graph), merge=False))


def _without_factors(graph: Graph) -> Graph:
    return fold_gemm_factors(fold_constants(remove_dead(graph)))


def _finished(model: Graph, graph: Graph) -> Graph:
    """Return what folding made of a model, with Convs, the model's own names, and constants that are read."""
    constants = dict(graph.constants)
    nodes = [_as_conv(node, graph, constants) for node in graph.nodes]
    read = _reads(replace(graph, nodes=tuple(nodes)))
    names = _own_names(graph.derived, read)
    nodes = [replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)) for node in nodes]
    kept = {names.get(name, name): array for name, array in constants.items() if name in read}
    before, after = _reads(remove_dead(model)), {names.get(name, name): count for name, count in read.items()}
    # What is fed instead must reach every place that reads it.
    overridable = tuple(
        value
        for value in model.overridable
        if kept.get(value.name) is model.constants[value.name] and before[value.name] == after[value.name]
    )
    derived = {name: source for name, source in graph.derived.items() if name in kept and name not in names.values()}
    values = {name: value for name, value in graph.values.items() if name not in names.values()}
    return replace(graph, nodes=tuple(nodes), constants=kept, derived=derived, overridable=overridable, values=values)


def _reads(graph: Graph) -> dict[str, int]:
    """Return how often each tensor is read, an answer of the model being one time."""
    found: dict[str, int] = {}
    for name in (*(name for node in graph.nodes for name in node.reads), *(value.name for value in graph.outputs)):
        found[name] = found.get(name, 0) + 1
    return found


def _own_names(derived: Mapping[str, str], read: Mapping[str, int]) -> dict[str, str]:
    """Return the model's own names of constants that alone stand for one."""
    stand: dict[str, list[str]] = {}
    for name, source in derived.items():
        if name in read:
            stand.setdefault(source, []).append(name)
    return {names[0]: source for source, names in stand.items() if len(names) == 1 and source not in read}


def _as_conv(node: Node, graph: Graph, constants: dict[str, NDArray[Any]]) -> Node:
    """Return a BatchNormalization that stays an operator of its own as a Conv, where its tensor is an image."""
    if (node.operator, node.domain) != ("ScaleShift", "qengine"):
        return node
    value = graph.values.get(node.inputs[0], Value(node.inputs[0]))
    if value.shape is None or len(value.shape) < 3:
        return node
    scale = constants[node.inputs[1]]
    constants[node.inputs[1]] = scale.reshape(scale.size, *(1,) * (len(value.shape) - 1))
    version = max((one.version for one in graph.nodes if not one.domain), default=_NEWEST)
    return replace(node, operator="Conv", domain="", version=version, attributes={"group": scale.size})
