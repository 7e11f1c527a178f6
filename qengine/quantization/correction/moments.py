"""What layers read on data: sums, and sums of products, over every position of their filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.model.graph import Graph
from qengine.model.steps import Linear
from qengine.model.steps.forms import LinearForm
from qengine.quantization.correction.layers import Layer
from qengine.quantization.correction.result import Data, feeds_of
from qengine.runtime.session import InferenceSession

Key = tuple[str, str]
"""Of a layer, whatever a pass makes of the node: the model's names of its weights and its bias."""


@dataclass
class Moments:
    """Of what the filters of a layer see, tap by tap.

    Attributes
    ----------
    count : of positions.
    sums : (groups, inputs x taps).
    products : (groups, inputs x taps, inputs x taps), the sums of x x^T; empty where they are not asked for.
    """

    count: int
    sums: NDArray[np.float64]
    products: NDArray[np.float64]

    def add(self, patches: NDArray[np.float64]) -> None:
        """Add positions: (groups, positions, inputs x taps)."""
        self.count += patches.shape[1]
        self.sums += patches.sum(axis=1)
        if self.products.size:
            self.products += np.matmul(patches.swapaxes(1, 2), patches)


def key_of(layer: Layer, graph: Graph) -> Key:
    """Return what tells a layer from others in a run."""
    return graph.derived.get(layer.weights, layer.weights), graph.derived.get(layer.bias, layer.bias)


def observe(
    session: InferenceSession, layers: Sequence[Layer], data: Data, *, products: bool = False
) -> dict[Key, Moments]:
    """Run a session on data, and return what layers read; those with one key are taken together.

    In fixed point what they read are codes: the sums are integers, exact below 2^53, and the same on every machine. The
    memory does not depend on how much data there is.

    Parameters
    ----------
    session
        Of the graph that the layers are of.
    layers
        What to observe.
    data
        Feeds.
    products
        Whether the sums of products are wanted.

    Raises
    ------
    OptionError
        If there are no feeds.
    """
    graph = session.graph
    wanted = {key_of(layer, graph): layer for layer in layers}
    # Where a Pad goes into the layer, the run reads what is before it.
    producers = graph.producers()
    inputs: dict[str, int] = {}
    for layer in layers:
        x = layer.node.inputs[0]
        before = producers.get(x)
        for name in (x, *(before.inputs[:1] if before is not None and before.operator == "Pad" else ())):
            inputs[name] = inputs.get(name, 0) + 1
    found: dict[Key, Moments] = {}
    empty = True
    for feeds in feeds_of(data):
        empty = False
        _observe_one(session, feeds, wanted, inputs, found, products)
    if empty:
        raise OptionError("the data holds no feeds: corrections from data need at least one")
    return found


def _observe_one(
    session: InferenceSession,
    feeds: Mapping[str, Any],
    wanted: Mapping[Key, Layer],
    inputs: Mapping[str, int],
    found: dict[Key, Moments],
    products: bool,
) -> None:
    held: dict[str, NDArray[Any]] = {}
    left = dict(inputs)
    for event in session.trace(session.check_feeds(feeds)):
        step = event.bound.step if event.bound is not None else None
        if isinstance(step, Linear):
            key = step.w.name, step.b.name if step.b is not None else ""
            if key in wanted and step.x.name in held:
                size = wanted[key].size
                taps = size[2] * size[3]
                moments = found.setdefault(
                    key, Moments(0, np.zeros((size[0], taps)), np.zeros((size[0], taps, taps) if products else 0))
                )
                assert isinstance(step.product, LinearForm)
                layer = wanted[key]
                for patches in step.product.patches(held[step.x.name], layer.shape, layer.groups):
                    moments.add(patches)
            if step.x.name in left:
                left[step.x.name] -= 1
                if not left[step.x.name]:
                    held.pop(step.x.name, None)
        if left.get(event.tensor.name):
            held[event.tensor.name] = event.array


__all__ = ["Key", "Moments", "key_of", "observe"]
