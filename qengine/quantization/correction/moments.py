"""What layers read on data: sums, and sums of products, over every position of their filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.kernels.reference.linear import spread_out
from qengine.kernels.reference.window import pad_spatial, windows
from qengine.model.graph import Graph
from qengine.model.steps import Linear
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution
from qengine.quantization.correction.layers import Layer
from qengine.quantization.correction.result import Data, feeds_of
from qengine.runtime.session import InferenceSession

_STRIP_BYTES = 16 << 20

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
                for patches in _patches(held[step.x.name], step, wanted[key]):
                    moments.add(patches)
            if step.x.name in left:
                left[step.x.name] -= 1
                if not left[step.x.name]:
                    held.pop(step.x.name, None)
        if left.get(event.tensor.name):
            held[event.tensor.name] = event.array


def _patches(x: NDArray[Any], step: Linear, layer: Layer) -> Iterator[NDArray[np.float64]]:
    """Yield what the filters see as (groups, positions, inputs x taps), a strip of positions at a time."""
    product, groups = step.product, layer.groups
    if isinstance(product, MatrixProduct):
        rows = (x.T if product.transposed_x else x).reshape(-1, layer.inputs)
        size = max(1, _STRIP_BYTES // (8 * max(1, rows.shape[1])))
        for start in range(0, len(rows), size):
            yield rows[None, start : start + size].astype(np.float64)
        return
    if isinstance(product, ChannelScale):
        yield np.moveaxis(x, 1, 0).reshape(groups, -1, 1).astype(np.float64)
        return
    kernel = layer.shape[2:]
    if isinstance(product, TransposedConvolution):
        x, pads = spread_out(x, kernel, product.strides, product.dilations, product.pads, product.output_padding)
        strides = (1,) * len(kernel)
    else:
        assert isinstance(product, Convolution)
        pads, strides = product.pads, product.strides
    spatial = len(kernel)
    view = windows(pad_spatial(x, pads, 0), kernel, strides, product.dilations)
    if isinstance(product, TransposedConvolution):  # which correlates with the mirrored kernel
        view = np.flip(view, tuple(range(2 + spatial, 2 + 2 * spatial)))
    channels, *out = view.shape[1 : 2 + spatial]
    taps = channels // groups * prod(kernel)
    step_size = max(1, _STRIP_BYTES // max(1, 8 * groups * taps * prod(out[1:])))
    # (C, out..., kernel...) -> (C, kernel..., out...) -> (groups, inputs x taps, positions)
    order = (0, *range(1 + spatial, 1 + 2 * spatial), *range(1, 1 + spatial))
    for image in view:
        for start in range(0, out[0], step_size):
            strip = image[:, start : start + step_size].transpose(order).astype(np.float64)
            yield strip.reshape(groups, taps, -1).swapaxes(1, 2)


__all__ = ["Key", "Moments", "key_of", "observe"]
