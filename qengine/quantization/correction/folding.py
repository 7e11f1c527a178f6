"""Folding: operators with constant inputs become part of the weights and biases of the layer before them.

A BatchNormalization with constant statistics computes y = (x - mean) gamma / sqrt(var + epsilon) + beta for each
channel. After a linear layer it is part of the layer: the weights are multiplied by gamma / sqrt(var + epsilon), and
the bias becomes (bias - mean) gamma / sqrt(var + epsilon) + beta (Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2). Constant factors and addends next
to a linear layer become part of it in the same way. Every run folds; here it is done to the graph, so that corrections
see the constants that a run reads. To show what folding gives, a recipe may leave it out: then each BatchNormalization
becomes a linear operator of its own, which no pass folds.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from qengine.model.graph import Graph, Node, Value
from qengine.model.passes import (
    fold_affine,
    fold_constants,
    fold_gemm_factors,
    fold_pads,
    join_affine,
    remove_dead,
)
from qengine.quantization.correction.registry import RecipeState, correction
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry

_DEFAULT_OPSET = 13  # for a Conv in a model that has no operator of ONNX


def fold_graph(graph: Graph) -> Graph:
    """Return the graph without dead code, with constants, factors and addends, Pad and BatchNormalization folded.

    A constant that folding changed keeps the model's own name, unless it became several different ones: then they have
    names of their own, and `Graph.derived` maps them to the model's. So formats by the model's own names fit both. An
    initializer that folding used can no longer be fed by a run.

    A BatchNormalization with constant statistics that could not be folded into an operator becomes a Conv of each
    channel with one weight; for tensors that are not known to be images it becomes the linear operator ScaleShift of
    the domain qengine.
    """
    return _named(graph, join_affine(fold_affine(_fold_constants(graph))))


def fold_all_but_batchnorm(graph: Graph) -> Graph:
    """Return the graph as `fold_graph` does, but with every BatchNormalization as a linear operator of its own."""
    return _named(graph, fold_affine(_fold_constants(graph), merge=False))


@correction("fold", order=10, in_best=True, otherwise=fold_all_but_batchnorm)
def _fold(state: RecipeState) -> RecipeState:
    before = _fold_constants(state.graph)
    after = fold_affine(before)
    count = _count(before, "BatchNormalization") - _count(after, "BatchNormalization")
    left = _count(after, "ScaleShift") - _count(before, "ScaleShift")
    text = f"{count - left} BatchNormalization folded, {left} left"
    if others := len(before.nodes) - len(after.nodes) - (count - left):
        text += f"; {others} with constant factors and addends folded"
    return state.after(CorrectedModel(fold_graph(state.graph), (CorrectionEntry("fold", "the model", True, text),)))


def _count(graph: Graph, operator: str) -> int:
    return sum(node.operator == operator for node in graph.nodes)


def _fold_constants(graph: Graph) -> Graph:
    return fold_gemm_factors(fold_pads(fold_constants(remove_dead(graph))))


def _named(model: Graph, graph: Graph) -> Graph:
    """Return a folded graph with the model's own names, Convs for images, and only constants that are read."""
    constants = dict(graph.constants)
    nodes = [_as_conv(node, graph, constants) for node in graph.nodes]
    read = _reads(replace(graph, nodes=tuple(nodes)))
    names = _own_names(graph.derived, read)
    nodes = [replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)) for node in nodes]
    kept = {names.get(name, name): array for name, array in constants.items() if name in read}
    before, after = _reads(remove_dead(model)), {names.get(name, name): count for name, count in read.items()}
    # An initializer stays overridable only if every operator that read it in the model still does.
    overridable = tuple(
        value
        for value in model.overridable
        if kept.get(value.name) is model.constants[value.name] and before[value.name] == after[value.name]
    )
    derived = {name: source for name, source in graph.derived.items() if name in kept and name not in names.values()}
    values = {name: value for name, value in graph.values.items() if name not in names.values()}
    return replace(graph, nodes=tuple(nodes), constants=kept, derived=derived, overridable=overridable, values=values)


def _reads(graph: Graph) -> Counter[str]:
    """Return how often each tensor is read; an output of the model counts as one reader."""
    reads = Counter(name for node in graph.nodes for name in node.reads)
    reads.update(value.name for value in graph.outputs)
    return reads


def _own_names(derived: Mapping[str, str], read: Mapping[str, int]) -> dict[str, str]:
    """Return the model's own names for constants that are the only one derived from a constant of the model."""
    by_source: dict[str, list[str]] = {}
    for name, source in derived.items():
        if name in read:
            by_source.setdefault(source, []).append(name)
    return {names[0]: source for source, names in by_source.items() if len(names) == 1 and source not in read}


def _as_conv(node: Node, graph: Graph, constants: dict[str, NDArray[Any]]) -> Node:
    """Return a ScaleShift of an image as a Conv of each channel with one weight; any other node unchanged."""
    if (node.operator, node.domain) != ("ScaleShift", "qengine"):
        return node
    value = graph.values.get(node.inputs[0], Value(node.inputs[0]))
    if value.shape is None or len(value.shape) < 3:
        return node
    scale = constants[node.inputs[1]]
    constants[node.inputs[1]] = scale.reshape(scale.size, *(1,) * (len(value.shape) - 1))
    version = max((one.version for one in graph.nodes if not one.domain), default=_DEFAULT_OPSET)
    return replace(node, operator="Conv", domain="", version=version, attributes={"group": scale.size})
