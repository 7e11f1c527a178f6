"""Cross-layer equalization: channels between two layers are scaled so that both use the range of their weights.

One format serves all channels of an activation, and often all weights of a layer. If a channel is a hundred times
smaller than another, it keeps a few codes only. But its scale is free: with a positively homogeneous function f between
two layers (f(s x) = s f(x) for s > 0, as a Relu is) the first may make channel i smaller by s_i, and the second may
multiply what it reads of it by s_i; the model computes the same:

    w2 f(w1 x + b1) = (w2 s) f((w1 / s) x + b1 / s).

With r1 and r2 the ranges of what makes channel i and what reads it, s_i = sqrt(r1 / r2) gives both the range
sqrt(r1 r2), which is optimal for the product of their precisions (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, section 4.1). In a chain of layers each pair changes the next, so that
the pairs are equalized in turn until nothing changes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph
from qengine.quantization.correction.channels import Link, NoLink, follow
from qengine.quantization.correction.folding import fold_graph
from qengine.quantization.correction.layers import INNER, check_real, inner_layers, linear_layers
from qengine.quantization.correction.registry import RecipeState, correction
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry

_NAME = "equalize"


@dataclass(frozen=True)
class EqualizedModel(CorrectedModel):
    """An equalized model.

    Attributes
    ----------
    factors : factors (channels,) that the channels of a tensor between two layers were divided by, by tensor name.
    rounds : number of times that all pairs were equalized.
    """

    factors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    rounds: int = 0


def equalize(graph: Graph, *, most_rounds: int = 1000, tolerance: float = 1e-4) -> EqualizedModel:
    """Scale the channels between every two layers that are linked, until both layers have the same range for each.

    The range r1 of what makes a channel is its largest weight; where the bias is larger than all weights of the filter
    together, r1 is larger by that ratio. Otherwise a channel that is hardly more than its bias would become huge, and
    all other channels of the tensor would have to fit the same format. The range r2 of what reads it is the largest
    weight. Everything is computed in float64 from the given weights, and rounded once.

    Parameters
    ----------
    graph
        The model; `fold_graph` is applied first.
    most_rounds
        Number of rounds after which it stops at the latest.
    tolerance
        Largest |log s| of a round with which it stops.

    Raises
    ------
    UnsupportedError
        If the model is quantized already.
    """
    check_real(graph)
    graph = fold_graph(graph)
    links, entries = _links(graph)
    layers = {layer.node.outputs[0]: layer for link in links for layer in (link.first, link.second)}
    blocks = {out: layer.blocks(graph.constants[layer.weights].astype(np.float64)) for out, layer in layers.items()}
    biases = {out: _bias_range(graph.constants.get(layer.bias), layer.outputs) for out, layer in layers.items()}
    # Factors so far by which the output channels of a layer are divided, and its input channels multiplied.
    divisors = {out: np.ones(layer.outputs) for out, layer in layers.items()}
    multipliers = {out: np.ones(layer.inputs) for out, layer in layers.items()}
    rounds, largest = 0, np.inf
    while largest > tolerance and rounds < most_rounds:
        rounds, largest = rounds + 1, 0.0
        for link in links:
            first, second = link.first.node.outputs[0], link.second.node.outputs[0]
            filters = np.abs(_scaled(blocks[first], multipliers[first], divisors[first]))
            r1 = filters.max(axis=(2, 3)).ravel()
            total = filters.sum(axis=(2, 3)).ravel()
            r1 *= np.maximum(1.0, biases[first] / divisors[first] / np.where(total > 0, total, np.inf))
            factors = _factors(r1, _scaled(blocks[second], multipliers[second], divisors[second]), link)
            divisors[first] *= factors
            multipliers[second] *= np.repeat(factors, link.repeat)
            largest = max(largest, float(np.abs(np.log(factors)).max(initial=0.0)))
    constants = dict(graph.constants)
    for out, layer in layers.items():
        dtype = constants[layer.weights].dtype
        constants[layer.weights] = layer.from_blocks(_scaled(blocks[out], multipliers[out], divisors[out])).astype(
            dtype
        )
        if layer.bias:
            # The last axis of every bias counts channels.
            constants[layer.bias] = (constants[layer.bias].astype(np.float64) / divisors[out]).astype(dtype)
    by_tensor = {name: divisors[link.first.node.outputs[0]] for link in links for name in link.tensors}
    done = [
        CorrectionEntry(_NAME, str(link.first), True, f"{_span(by_tensor[link.tensors[0]])}, with {link.second}")
        for link in links
    ]
    return EqualizedModel(replace(graph, constants=constants), (*done, *entries), factors=by_tensor, rounds=rounds)


@correction(_NAME, order=20, in_best=True)
def _equalize(state: RecipeState) -> RecipeState:
    equalized = equalize(state.graph)
    return replace(state.after(equalized), factors=equalized.factors)


def _links(graph: Graph) -> tuple[list[Link], list[CorrectionEntry]]:
    """Return the pairs of layers to equalize, and an entry for each layer that begins none."""
    found = linear_layers(graph)
    layers = {layer.node.outputs[0]: layer for layer in found if not layer.is_stack}
    reads = Counter(name for node in graph.nodes for name in node.reads)
    reads.update(value.name for value in graph.outputs)
    links, entries = [], []
    for layer in found:
        if layer.is_stack:
            entries.append(
                CorrectionEntry(_NAME, str(layer), False, "its weights are a stack, a vector, or stand first")
            )
            continue
        link = follow(layer, graph, layers)
        if isinstance(link, Link):
            link = _obstacle(link, graph, reads) or link
        if isinstance(link, NoLink):
            entries.append(CorrectionEntry(_NAME, str(layer), False, link.reason))
        else:
            links.append(link)
    entries += [CorrectionEntry(_NAME, one, False, INNER) for one in inner_layers(graph)]
    return links, entries


def _obstacle(link: Link, graph: Graph, reads: Mapping[str, int]) -> NoLink | None:
    """Return the reason why the constants of a pair cannot be scaled; None if they can."""
    for name in filter(None, (link.first.weights, link.first.bias, link.second.weights)):
        if name not in graph.constants:
            return NoLink(f"its bias '{name}' is computed")
        if reads[name] > 1:
            return NoLink(f"'{name}' is read {reads[name]} times")
        if not np.isfinite(graph.constants[name]).all():
            return NoLink(f"'{name}' holds an infinity or NaN")
    return None


def _scaled(
    blocks: NDArray[np.float64], multipliers: NDArray[np.float64], divisors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weights of a layer in blocks with its inputs multiplied and its outputs divided by factors."""
    groups, outputs, inputs, _ = blocks.shape
    return np.asarray(blocks * multipliers.reshape(groups, 1, inputs, 1) / divisors.reshape(groups, outputs, 1, 1))


def _bias_range(bias: NDArray[Any] | None, outputs: int) -> NDArray[np.float64]:
    """Return the largest magnitude of the bias of each channel, (outputs,); 0 without a bias."""
    if bias is None:
        return np.zeros(outputs)
    each = np.abs(bias.astype(np.float64)).reshape(-1, bias.shape[-1] if bias.ndim else 1).max(axis=0)
    return np.broadcast_to(each, (outputs,))


def _factors(r1: NDArray[np.float64], second: NDArray[np.float64], link: Link) -> NDArray[np.float64]:
    """Return sqrt(r1 / r2) for each channel; 1 where r1 or r2 is 0."""
    r2 = np.abs(second).max(axis=(1, 3)).reshape(-1, link.repeat).max(axis=1)
    used = (r1 > 0) & (r2 > 0)
    return np.where(used, np.sqrt(np.where(used, r1, 1.0) / np.where(used, r2, 1.0)), 1.0)


def _span(factors: NDArray[np.float64]) -> str:
    return f"channels divided by {factors.min():.3g} to {factors.max():.3g}"


__all__ = ["EqualizedModel", "equalize"]
