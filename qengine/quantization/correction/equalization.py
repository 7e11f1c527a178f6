"""Cross-layer equalization: the channels between two layers are scaled so that both use the range of their weights.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph
from qengine.quantization.correction.channels import Broken, Link, follow
from qengine.quantization.correction.folding import folded
from qengine.quantization.correction.layers import check_real, linear_layers
from qengine.quantization.correction.result import Corrected, Entry

_NAME = "equalize"


@dataclass(frozen=True)
class Equalized(Corrected):
    """An equalized model.

    Attributes
    ----------
    factors : for each tensor between layers, what its channels were divided by.
    rounds : how often all pairs were equalized until nothing changed.
    """

    factors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    rounds: int = 0


def equalize(graph: Graph, *, most_rounds: int = 1000, tolerance: float = 1e-4) -> Equalized:
    """Give channel i of two layers, r1 and r2 being the ranges of what makes it and reads it, sqrt(r1 r2) for both.

    r1 and r2 are the largest weights. Where a bias is larger than all weights of its filter together, r1 is larger by
    that ratio: a channel that is hardly more than its bias would become huge otherwise, and the others would have to
    fit beside it.

    The first layer's channel and its bias are divided by s = sqrt(r1 / r2), and what the second reads of it is
    multiplied by s: with a positive-homogeneous function between them the model computes the same. Pairs are
    equalized in turn until no factor is further from 1 than the tolerance. Everything is computed in float64
    from the weights as they were, and rounded once.

    Parameters
    ----------
    graph
        The model; it is `folded` first.
    most_rounds
        When to stop at the latest.
    tolerance
        Of the largest |log s| of a round.

    Raises
    ------
    UnsupportedError
        If the model is quantized already.
    """
    check_real(graph)
    graph = folded(graph)
    links, entries = _links(graph)
    layers = {layer.node.outputs[0]: layer for link in links for layer in (link.first, link.second)}
    blocks = {out: layer.blocks(graph.constants[layer.weights].astype(np.float64)) for out, layer in layers.items()}
    biases = {out: _bias_range(graph.constants.get(layer.bias), layer.outputs) for out, layer in layers.items()}
    # What outputs are divided by, and inputs multiplied by, so far.
    made = {out: np.ones(layer.outputs) for out, layer in layers.items()}
    read = {out: np.ones(layer.inputs) for out, layer in layers.items()}
    rounds, largest = 0, np.inf
    while largest > tolerance and rounds < most_rounds:
        rounds, largest = rounds + 1, 0.0
        for link in links:
            first, second = link.first.node.outputs[0], link.second.node.outputs[0]
            makes = np.abs(_scaled(blocks[first], made, read, first))
            r1 = makes.max(axis=(2, 3)).ravel()
            together = makes.sum(axis=(2, 3)).ravel()
            r1 *= np.maximum(1.0, biases[first] / made[first] / np.where(together > 0, together, np.inf))
            step = _step(r1, _scaled(blocks[second], made, read, second), link)
            made[first] *= step
            read[second] *= np.repeat(step, link.repeat)
            largest = max(largest, float(np.abs(np.log(step)).max(initial=0.0)))
    constants = dict(graph.constants)
    for out, layer in layers.items():
        dtype = constants[layer.weights].dtype
        constants[layer.weights] = layer.from_blocks(_scaled(blocks[out], made, read, out)).astype(dtype)
        if layer.bias:
            # Channels are the last axis of every bias.
            constants[layer.bias] = (constants[layer.bias].astype(np.float64) / made[out]).astype(dtype)
    factors = {name: made[link.first.node.outputs[0]] for link in links for name in link.tensors}
    done = [
        Entry(_NAME, str(link.first), True, f"{_span(made[link.first.node.outputs[0]])}, with {link.second}")
        for link in links
    ]
    return Equalized(replace(graph, constants=constants), (*done, *entries), factors=factors, rounds=rounds)


def _links(graph: Graph) -> tuple[list[Link], list[Entry]]:
    """Return the pairs to equalize, and why others are none."""
    layers = {layer.node.outputs[0]: layer for layer in linear_layers(graph)}
    reads = Counter(name for node in graph.nodes for name in node.reads)
    reads.update(value.name for value in graph.outputs)
    links, entries = [], []
    for layer in layers.values():
        found = follow(layer, graph, layers)
        if isinstance(found, Link):
            found = _owned(found, graph, reads) or found
        if isinstance(found, Broken):
            entries.append(Entry(_NAME, str(layer), False, found.why))
        else:
            links.append(found)
    return links, entries


def _owned(link: Link, graph: Graph, reads: Mapping[str, int]) -> Broken | None:
    """Return why the constants of a pair cannot be scaled."""
    for name in filter(None, (link.first.weights, link.first.bias, link.second.weights)):
        if name not in graph.constants:
            return Broken(f"its bias '{name}' is computed")
        if reads[name] > 1:
            return Broken(f"'{name}' is read {reads[name]} times")
        if not np.isfinite(graph.constants[name]).all():
            return Broken(f"'{name}' holds an infinity or NaN")
    return None


def _scaled(
    blocks: NDArray[np.float64],
    made: Mapping[str, NDArray[np.float64]],
    read: Mapping[str, NDArray[np.float64]],
    name: str,
) -> NDArray[np.float64]:
    groups, outputs, inputs, _ = blocks.shape
    columns, rows = read[name].reshape(groups, 1, inputs, 1), made[name].reshape(groups, outputs, 1, 1)
    return np.asarray(blocks * columns / rows)


def _bias_range(bias: NDArray[Any] | None, outputs: int) -> NDArray[np.float64]:
    """Return the largest magnitude of the bias of each channel, which is its last axis."""
    if bias is None:
        return np.zeros(outputs)
    each = np.abs(bias.astype(np.float64)).reshape(-1, bias.shape[-1] if bias.ndim else 1).max(axis=0)
    return np.broadcast_to(each, (outputs,))


def _step(r1: NDArray[np.float64], second: NDArray[np.float64], link: Link) -> NDArray[np.float64]:
    """Return sqrt(r1 / r2) for each channel; 1 where one of them is 0, and the channel of no use."""
    r2 = np.abs(second).max(axis=(1, 3)).reshape(-1, link.repeat).max(axis=1)
    used = (r1 > 0) & (r2 > 0)
    return np.where(used, np.sqrt(np.where(used, r1, 1.0) / np.where(used, r2, 1.0)), 1.0)


def _span(factors: NDArray[np.float64]) -> str:
    return f"channels divided by {factors.min():.3g} to {factors.max():.3g}"


__all__ = ["Equalized", "equalize"]
