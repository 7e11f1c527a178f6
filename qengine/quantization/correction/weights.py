"""Rounding of a model's weights for the outputs of its layers on data: the correction "round".

Rounded to nearest, every weight is off by half a step at most, and nothing is known of what the errors do together. But
a layer reads inputs x that depend on each other, and the outputs matter, not the weights: among the codes near a weight
vector w there are some with a smaller error sum over x of ((w - q) x)^2 = (w - q) H (w - q)^T, H = sum of x x^T
(Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", ICLR 2023). For each layer this file takes H from runs on data, see `moments`, rounds the filters, see
`rounding`, and puts the weights on the grid of their format.

The runs are in fixed point with weights rounded to nearest, so that x includes the rounding and the saturation before
the layer. Its codes are integers, the same on every machine.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import quantize
from qengine.metrics.decibels import decibels
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import Graph
from qengine.qformat import Format, fraction_bits_of
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.folding import fold_graph
from qengine.quantization.correction.layers import INNER, Layer, check_real, inner_layers, linear_layers
from qengine.quantization.correction.moments import Key, Moments, key_of, observe_moments
from qengine.quantization.correction.registry import RecipeState, correction
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry
from qengine.quantization.correction.rounding import output_error, round_columns
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

_NAME = "round"


def round_weights(
    graph: Graph,
    formats: FormatsByName,
    data: Feeds,
    *,
    damping: float = 0.01,
    session: SessionOptions | None = None,
) -> CorrectedModel:
    """Round the weights of linear operators so that the operators' outputs on data change least.

    Parameters
    ----------
    graph
        The model; `fold_graph` is applied first.
    formats
        Formats of all tensors that a run computes; a session chooses those of weights that are not named.
    data
        Feeds of the runs, read once.
    damping
        See `round_columns`.
    session
        Options of the runs, of which the limits and `threads` have an effect.

    Returns
    -------
    CorrectedModel
        The corrected model: weights are multiples of the step of their format, and `formats` includes those formats.

    Raises
    ------
    QEngineError
        If the model is quantized already, a format is missing, or there are no feeds.
    """
    check_real(graph)
    graph = fold_graph(graph)
    fixed = fixed_session(graph, formats, session)
    layers = linear_layers(graph)
    moments = observe_moments(fixed, layers, data, products=True)
    constants, entries, named = dict(graph.constants), [], dict(formats)
    reads = Counter(name for node in graph.nodes for name in node.reads)
    reads.update(value.name for value in graph.outputs)
    by_weights: dict[str, list[Layer]] = {}
    for layer in layers:
        by_weights.setdefault(layer.weights, []).append(layer)
    for name, readers in by_weights.items():
        fmt = fixed.formats.get(graph.derived.get(name, name))
        text = str(readers[0]) + (f" and {len(readers) - 1} more" if readers[1:] else "")
        is_alone = reads[name] == len(readers) and constants[name].size > 0
        products = _products(readers, graph, moments) if is_alone else None
        if fmt is None or products is None or not np.isfinite(constants[name]).all():
            entries.append(CorrectionEntry(_NAME, text, False, _reason_left(readers, fmt, graph)))
            continue
        constants[name], gain = _round_layer(readers[0], constants[name], fmt, products, damping)
        named[graph.derived.get(name, name)] = format_to_json(fmt)
        entries.append(CorrectionEntry(_NAME, text, True, gain))
    entries += [CorrectionEntry(_NAME, one, False, INNER) for one in inner_layers(graph)]
    return CorrectedModel(replace(graph, constants=constants), tuple(entries), named)


@correction(_NAME, order=30, needs_formats=True, needs_data=True, in_best=True)
def _round(state: RecipeState) -> RecipeState:
    assert state.data is not None
    return state.after(round_weights(state.graph, state.formats, state.data, session=state.session))


def fixed_session(graph: Graph, formats: FormatsByName, session: SessionOptions | None) -> InferenceSession:
    """Return the session in fixed point, on the reference, that corrections are made for."""
    limits = (session or SessionOptions()).in_float32()
    return InferenceSession(graph, limits, formats=formats, isa="reference")


def on_grid(weights: NDArray[Any], fmt: Format) -> NDArray[np.float64]:
    """Return weights as a run in fixed point reads them: rounded to nearest in their format, as real numbers."""
    n = fraction_bits_of(fmt, weights.ndim)
    return np.asarray(np.ldexp(quantize(weights, n, fmt.word()).astype(np.float64), np.negative(n)))


def _products(readers: list[Layer], graph: Graph, moments: Mapping[Key, Moments]) -> NDArray[np.float64] | None:
    """Return the sums of products of all layers that read one constant; None where they read it in different ways."""
    if len({one.layout for one in readers}) > 1:
        return None
    each = [moments[key] for key in dict.fromkeys(key_of(one, graph) for one in readers) if key in moments]
    return sum((one.products for one in each[1:]), each[0].products) if each else None


def _reason_left(readers: list[Layer], fmt: Format | None, graph: Graph) -> str:
    """Return the reason why weights are not changed; "" if they can be."""
    if not np.isfinite(graph.constants[readers[0].weights]).all():
        return "its weights are not all finite"
    if fmt is None:
        return "its weights have no format"
    return "it is not computed in fixed point, or its weights are read in different ways or by something else"


def _round_layer(
    layer: Layer, weights: NDArray[Any], fmt: Format, products: NDArray[np.float64], damping: float
) -> tuple[NDArray[Any], str]:
    """Return the rounded weights of a layer, and the gain over rounding to nearest in words."""
    n, word = fraction_bits_of(fmt, weights.ndim), fmt.word()
    blocks = layer.blocks(np.ldexp(weights.astype(np.float64), n))
    flat = blocks.reshape(*blocks.shape[:2], -1)
    codes = round_columns(flat, products, word.least, word.most, damping=damping)
    nearest = np.clip(np.rint(flat), word.least, word.most)
    # Errors are compared in units of the weights, as the steps of channels may differ.
    unit = np.square(layer.blocks(np.broadcast_to(np.exp2(-np.asarray(n, np.float64)), weights.shape))[:, :, 0, 0])
    before = float((output_error(flat - nearest, products) * unit).sum())
    after = float((output_error(flat - codes, products) * unit).sum())
    whole = np.ldexp(layer.from_blocks(codes.reshape(blocks.shape)), np.negative(n))
    changed = np.count_nonzero(codes != nearest)
    gain = f"{decibels(before, after):.1f} dB less error than nearest" if after > 0 else "no error"
    return whole.astype(weights.dtype), f"{gain}; {changed} of {codes.size} weights differ"
