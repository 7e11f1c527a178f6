"""Absorption of high biases: what a channel always has at least moves into the next bias, and its range shrinks.

A channel that is far above 0 everywhere spends its codes on an offset. With c not above any value before the Relu,
r(x - c) = r(x) - c, so that the bias of the layer may be smaller by c, and the next layer, which reads the channel less
c, gets w2 c more bias:

    w2 r(w1 x + b1) + b2 = w2 r(w1 x + b1 - c) + (b2 + w2 c).

Equalization makes such channels where a bias is large for the weights of its filter (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1.3). As there, c is
max(0, beta - 3 gamma) of the BatchNormalization before the Relu, below which a normally distributed channel lies with a
probability of 0.14 %. Where the next layer pads its input, its zeros would have to be -c: such layers are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Graph, Node
from qengine.quantization.correction.biases import OwnBias, own_biases, shifted, with_own_biases
from qengine.quantization.correction.channels import Link, NoLink, follow
from qengine.quantization.correction.folding import fold_graph
from qengine.quantization.correction.layers import Layer, check_real, linear_layers
from qengine.quantization.correction.registry import RecipeState, correction
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry
from qengine.quantization.correction.statistics import Normal, channel_normals

_NAME = "absorb"
_DEVIATIONS = 3.0


def absorb(
    graph: Graph, normals: Mapping[str, Normal], factors: Mapping[str, NDArray[np.float64]] | None = None
) -> CorrectedModel:
    """Move what channels have at least from the bias of a layer to that of the next one.

    Parameters
    ----------
    graph
        The model; `fold_graph` is applied first.
    normals
        Distribution of the channels of tensors by name, as `channel_normals` returns them.
    factors
        Factors by which the channels of a tensor have been divided since, by tensor name.

    Raises
    ------
    UnsupportedError
        If the model is quantized already.
    """
    check_real(graph)
    graph = with_own_biases(fold_graph(graph))
    biases, layers = own_biases(graph), linear_layers(graph)
    plain = {layer.node.outputs[0]: layer for layer in layers if not layer.is_stack}
    constants, entries = dict(graph.constants), []
    for out, layer in plain.items():
        link = follow(layer, graph, plain)
        reason = _obstacle(link, graph, biases, normals)
        if reason or isinstance(link, NoLink):
            entries.append(CorrectionEntry(_NAME, str(layer), False, reason))
            continue
        normal, divisors = normals[out], np.asarray((factors or {}).get(out, 1.0))
        least = np.maximum(0.0, (normal.mean - _DEVIATIONS * normal.deviation) / divisors)
        first, second = biases[out].name, biases[link.second.node.outputs[0]].name
        if not least.any() or least.size != layer.outputs:
            entries.append(CorrectionEntry(_NAME, str(layer), False, "no channel stays far above 0"))
            continue
        constants[first] = shifted(layer, constants[first], _by_filter(layer, least))
        constants[second] = shifted(link.second, constants[second], -_carried(link, constants, least))
        text = f"{np.count_nonzero(least)} channels less by up to {least.max():.3g}, with {link.second}"
        entries.append(CorrectionEntry(_NAME, str(layer), True, text))
    return CorrectedModel(replace(graph, constants=constants), tuple(entries))


@correction(_NAME, order=25, in_best=True)
def _absorb(state: RecipeState) -> RecipeState:
    return state.after(absorb(state.graph, channel_normals(state.original), state.factors))


def _pads(node: Node) -> bool:
    """Whether an operator adds zeros to its input."""
    pads, auto_pad = node.attributes.get("pads", ()), node.attributes.get("auto_pad", "NOTSET")
    return node.operator == "ConvTranspose" or bool(np.any(np.asarray(pads))) or auto_pad not in ("NOTSET", "VALID")


def _obstacle(link: Link | NoLink, graph: Graph, biases: Mapping[str, OwnBias], normals: Mapping[str, Normal]) -> str:
    """Return the reason why nothing can be moved between two layers; "" if it can."""
    if isinstance(link, NoLink):
        return link.reason
    first, second = link.first.node.outputs[0], link.second
    relu = graph.readers()[first][0]
    if link.tensors[1:] != tuple(relu.outputs[:1]) or relu.operator != "Relu":
        return f"there is more than a Relu before {second}"
    if first not in normals:
        return f"no BatchNormalization determines '{first}'"
    if first not in biases or second.node.outputs[0] not in biases:
        return "a bias is computed"
    return f"{second} pads its input" if _pads(second.node) else ""


def _by_filter(layer: Layer, channels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers of output channels as (groups, outputs)."""
    return channels.reshape(layer.block_shape[:2])


def _carried(
    link: Link, constants: Mapping[str, NDArray[np.float64]], least: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what the second layer computes of the channels' least values, (groups, outputs)."""
    second = link.second
    inputs = np.repeat(least, link.repeat).reshape(second.groups, second.block_shape[2])
    blocks = second.blocks(constants[second.weights].astype(np.float64))
    return np.asarray(np.einsum("goit,gi->go", blocks, inputs))


__all__ = ["absorb"]
