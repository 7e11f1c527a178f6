"""Moments of what a layer's filters read on data: sums of x, and of x x^T, over every position of every run.

A filter of a Conv reads one patch of the input per position: inputs x taps numbers, the vector x. Laid out as rows, the
patches of an image are the matrix of an im2col convolution (Chellapilla, Puri and Simard, "High Performance
Convolutional Neural Networks for Document Processing", 2006). Two sums over all rows tell what corrections need to
know of the data, in memory that does not depend on how much data there is:

    count and sum of x        the mean input of each tap, for bias correction
    H = sum of x x^T          the effect of any error e of the weights: e H e^T is the sum of squares of the changes of
                              the output, for rounding

Every linear operator is brought to this form: a row of a matrix for Gemm and MatMul; for a ConvTranspose patches of the
input with zeros between its elements, and mirrored taps. Filters of one group read the same patches. Patches are laid
out a strip at a time, see `LinearForm.patches`, so that few of them are in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.model.graph import Graph
from qengine.model.steps import Linear
from qengine.model.steps.forms import LinearForm, MatrixProduct
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.layers import Layer
from qengine.quantization.correction.result import as_feeds
from qengine.runtime.session import InferenceSession

Key = tuple[str, str]
"""Key of a layer that passes do not change: the model's names of its weights and its bias."""


@dataclass
class Moments:
    """Sums over the patches x that the filters of a layer read.

    Attributes
    ----------
    count : number of positions.
    sums : sum of x, (groups, inputs x taps).
    products : sum of x x^T, (groups, inputs x taps, inputs x taps); empty if not requested.
    """

    count: int
    sums: NDArray[np.float64]
    products: NDArray[np.float64]

    def add(self, patches: NDArray[np.float64]) -> None:
        """Add patches, (groups, positions, inputs x taps)."""
        self.count += patches.shape[1]
        self.sums += patches.sum(axis=1)
        if self.products.size:
            self.products += np.matmul(patches.swapaxes(1, 2), patches)


def key_of(layer: Layer, graph: Graph) -> Key:
    """Return the key of a layer of a graph."""
    return graph.derived.get(layer.weights, layer.weights), graph.derived.get(layer.bias, layer.bias)


def observe_moments(
    session: InferenceSession, layers: Sequence[Layer], data: Feeds, *, products: bool = False
) -> dict[Key, Moments]:
    """Run a session on data, and return the moments of what layers read; layers with one key are taken together.

    In fixed point inputs are codes: the sums are integers, exact below 2^53, and the same on every machine.

    Parameters
    ----------
    session
        Session of the graph that the layers are in, on the reference.
    layers
        The layers to observe.
    data
        Feeds of the runs, read once.
    products
        Whether the sums of products are requested.

    Returns
    -------
    dict
        Moments by `key_of` a layer; a layer that no run computes has none.

    Raises
    ------
    OptionError
        If there are no feeds.
    """
    graph = session.graph
    by_key = {key_of(layer, graph): layer for layer in layers}
    moments: dict[Key, Moments] = {}
    reads = _reads(graph, layers)
    empty = True
    for feeds in as_feeds(data):
        empty = False
        for key, strips in _run(session, feeds, by_key, reads):
            if key not in moments:
                groups, _, inputs, taps = by_key[key].block_shape
                size = (groups, inputs * taps)
                moments[key] = Moments(0, np.zeros(size), np.zeros((*size, size[1]) if products else 0))
            for patches in strips:
                moments[key].add(patches)
    if empty:
        raise OptionError("the data holds no feeds: corrections from data need at least one")
    return moments


def _reads(graph: Graph, layers: Sequence[Layer]) -> Counter[str]:
    """Return how often layers read each tensor in a run."""
    producers = graph.producers()
    reads = Counter[str]()
    for layer in layers:
        x = layer.reads
        reads[x] += 1
        # A pass may make a Pad part of the layer after it: then the run reads the input of the Pad.
        before = producers.get(x)
        if before is not None and before.operator == "Pad":
            reads[before.inputs[0]] += 1
    return reads


def _run(
    session: InferenceSession, feeds: Mapping[str, Any], layers: Mapping[Key, Layer], reads: Mapping[str, int]
) -> Iterator[tuple[Key, Iterator[NDArray[np.float64]]]]:
    """Yield the key and the patches of each layer that a run computes; an input is kept until its last reader."""
    kept: dict[str, NDArray[Any]] = {}
    left = dict(reads)
    for event in session.trace(session.check_feeds(feeds)):
        step = event.bound_step.step if event.bound_step is not None else None
        if isinstance(step, Linear):
            key, x = read_by(step, layers)
            if key in layers and x in kept:
                yield key, patches_of(step, kept[x], layers[key])
            for name in {step.x.name, step.w.name} & left.keys():
                left[name] -= 1
                if not left[name]:
                    kept.pop(name, None)
        if left.get(event.tensor.name):
            kept[event.tensor.name] = event.array


def read_by(step: Linear, layers: Mapping[Key, Layer]) -> tuple[Key, str]:
    """Return the key of the layer that a step computes, and the name of what the layer reads."""
    bias = step.b.name if step.b is not None else ""
    for weights, x in ((step.w.name, step.x.name), (step.x.name, step.w.name)):
        for key in ((weights, bias), (weights, "")):  # a pass may have made a bias of an Add
            if key in layers and layers[key].place == (weights == step.w.name):
                return key, x
    return (step.w.name, bias), step.x.name


def patches_of(step: Linear, x: NDArray[Any], layer: Layer) -> Iterator[NDArray[np.float64]]:
    """Return the patches of what a layer reads."""
    assert isinstance(step.product, LinearForm)
    if layer.place:
        return step.product.patches(x, layer.shape, layer.groups)
    assert isinstance(step.product, MatrixProduct)
    return step.product.first_patches(x, layer.shape, layer.groups)


__all__ = ["Key", "Moments", "key_of", "observe_moments", "patches_of", "read_by"]
