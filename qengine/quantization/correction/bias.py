"""Biases corrected by what rounding the weights adds to a layer's outputs on average.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qengine.errors import ModelError, OptionError
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph
from qengine.qformat import Format
from qengine.quantization.correction.folding import folded
from qengine.quantization.correction.layers import Layer, check_real, linear_layers
from qengine.quantization.correction.moments import key_of, observe
from qengine.quantization.correction.result import Corrected, Data, Entry
from qengine.quantization.correction.weights import fixed_session, on_grid
from qengine.runtime.session import InferenceSession

_NAME = "bias"
Reals = NDArray[np.float64]


def correct_bias(
    graph: Graph,
    formats: FormatsByName,
    data: Data | None = None,
    *,
    means: Mapping[str, ArrayLike] | None = None,
    reference: Graph | None = None,
) -> Corrected:
    """Subtract from each bias what the error of the quantized weights adds to the outputs on average.

    That is the mean of product(x, dW) for each output channel, dW being the quantized weights less the weights. x comes
    from runs in float32 on data or, of each channel, from `means`. A layer without a bias gets one.

    Parameters
    ----------
    graph
        The model; it is `folded` first.
    formats
        Of every tensor that a run computes, as a session takes them.
    data
        Feeds, read once. Either data or means are given.
    means
        For tensors by name the mean of each channel, as `expected_means` finds it: padding is not taken into account.
    reference
        The graph before its weights were rounded, with the same operators; by default the graph itself.

    Returns
    -------
    Corrected
        Its `formats` are those that were given.

    Raises
    ------
    QEngineError
        If both data and means are given or neither, the model is quantized already, the reference is of another
        model, a format is missing, or there are no feeds.
    """
    if (data is None) == (means is None):
        raise OptionError("bias correction takes either data or the means of channels")
    check_real(graph)
    graph, reference = folded(graph), folded(graph if reference is None else reference)
    _check_alike(graph, reference)
    session = fixed_session(graph, formats)
    ours, theirs = _with_own_biases(graph), _with_own_biases(reference)
    layers = linear_layers(ours)
    able = [layer for layer in layers if layer.bias in ours.constants]
    seen = _seen(theirs, able, data) if data is not None else _told(able, means or {})
    changed: dict[str, Layer] = {}
    constants, entries = dict(graph.constants), []
    for layer in layers:
        form = session.formats.get(graph.derived.get(layer.weights, layer.weights))
        why = _why_left(layer, form, seen, ours, from_data=data is not None)
        if why or form is None:
            entries.append(Entry(_NAME, str(layer), False, why))
            continue
        error = layer.blocks(on_grid(ours.constants[layer.weights], form) - theirs.constants[layer.weights])
        shift = np.einsum("goi,gi->go", error.reshape(*error.shape[:2], -1), seen[layer.node.outputs[0]]).ravel()
        before = ours.constants[layer.bias]
        constants[layer.bias] = (before.astype(np.float64) - shift).astype(before.dtype)
        changed[layer.node.outputs[0]] = layer
        largest = np.abs(shift).max(initial=0.0)
        entries.append(Entry(_NAME, str(layer), True, f"outputs were off by up to {largest:.2g} on average"))
    nodes = tuple(changed[n.outputs[0]].node if n.outputs and n.outputs[0] in changed else n for n in graph.nodes)
    return Corrected(replace(graph, nodes=nodes, constants=constants), tuple(entries), dict(formats))


def _check_alike(graph: Graph, reference: Graph) -> None:
    """Raise ModelError where the two do not have the same operators and constants."""

    def told(one: Graph) -> list[tuple[object, ...]]:
        return [(node.operator, node.inputs, node.outputs) for node in one.nodes]

    same = {name: a.shape for name, a in graph.constants.items()} == {
        n: a.shape for n, a in reference.constants.items()
    }
    if told(graph) != told(reference) or not same:
        raise ModelError(
            "the reference of a bias correction is another model than the one to correct: give its graph "
            "before its weights were rounded, folded alike"
        )


def _with_own_biases(graph: Graph) -> Graph:
    """Return the graph with a bias of its own for each layer that may have one; one that is computed stays."""
    reads = Counter(name for node in graph.nodes for name in node.reads)
    reads.update(value.name for value in graph.outputs)
    constants, nodes = dict(graph.constants), {node.outputs[:1]: node for node in graph.nodes}
    for layer in linear_layers(graph):
        bias, weights = layer.bias, graph.constants[layer.weights]
        if not layer.takes_bias or (bias and (bias not in constants or reads[bias] == 1)):
            continue
        name = graph.fresh_name(bias or f"{layer.node.outputs[0]}.bias", constants)
        constants[name] = constants[bias].copy() if bias else np.zeros(layer.outputs, weights.dtype)
        nodes[layer.node.outputs[:1]] = replace(layer.node, inputs=(*layer.node.inputs[:2], name))
    return replace(graph, nodes=tuple(nodes[node.outputs[:1]] for node in graph.nodes), constants=constants)


def _seen(graph: Graph, layers: list[Layer], data: Data) -> dict[str, Reals]:
    """Return for layers by output what each tap sees on average: (groups, inputs x taps)."""
    found = observe(InferenceSession(graph, isa="reference"), layers, data)
    keys = {layer.node.outputs[0]: key_of(layer, graph) for layer in layers}
    return {out: found[key].sums / max(found[key].count, 1) for out, key in keys.items() if key in found}


def _told(layers: list[Layer], means: Mapping[str, ArrayLike]) -> dict[str, Reals]:
    """Return the same from the means of channels."""
    found = {}
    for layer in layers:
        groups, _, inputs, taps = layer.size
        mean = np.asarray(means.get(layer.node.inputs[0], ()), np.float64).ravel()
        if not mean.size or groups * inputs % mean.size:
            continue
        # Behind a Flatten several inputs one after the other are of one channel.
        each = np.repeat(mean, groups * inputs // mean.size).reshape(groups, inputs)
        if layer.node.operator == "ConvTranspose":  # an output sees one tap of so many
            each = each / prod(layer.node.attributes.get("strides", (1,)))  # type: ignore[arg-type]
        found[layer.node.outputs[0]] = np.repeat(each, taps, axis=1)
    return found


def _why_left(layer: Layer, form: Format | None, seen: Mapping[str, Reals], graph: Graph, *, from_data: bool) -> str:
    """Return why a layer cannot be corrected; "" where it can."""
    if not layer.takes_bias:
        return f"a {layer.node.operator} has no bias"
    if layer.bias not in graph.constants:
        return f"its bias '{layer.bias}' is computed"
    if form is None:
        return "its weights have no format"
    if layer.node.outputs[0] not in seen:
        name = layer.node.inputs[0]
        return "no run computes it" if from_data else f"no BatchNormalization tells the means of '{name}'"
    finite = np.isfinite(graph.constants[layer.weights]).all() and np.isfinite(seen[layer.node.outputs[0]]).all()
    return "" if finite else "its weights or what it reads are not all finite"
