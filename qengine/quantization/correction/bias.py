"""Bias correction: the mean error that rounded weights add to a layer's outputs is subtracted from its bias.

With weights w + dw in place of w, a layer's output changes by dw x for the input x of a filter. Over many positions
this error has a mean, E[dw x] = dw E[x], which differs from 0 as most inputs do (after a Relu x is never negative).
Rounding cannot be undone, but the mean can: the bias becomes b - dw E[x], and costs nothing in a run (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2).

E[x] comes from runs in float32 on data, for each tap of a filter: the correction "bias". Or it is the same for all taps
of a channel, and comes from the model's BatchNormalization, see `statistics`: the correction "analytic".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qengine.errors import ModelError, OptionError
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph, Node
from qengine.qformat import Format
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.biases import OwnBias, own_biases, shifted, with_own_biases
from qengine.quantization.correction.folding import fold_graph
from qengine.quantization.correction.layers import INNER, Layer, check_real, inner_layers, linear_layers
from qengine.quantization.correction.moments import key_of, observe_moments
from qengine.quantization.correction.registry import RecipeState, correction
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry
from qengine.quantization.correction.weights import fixed_session, on_grid
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

_NAME = "bias"
Reals = NDArray[np.float64]


def correct_bias(
    graph: Graph,
    formats: FormatsByName,
    data: Feeds | None = None,
    *,
    means: Mapping[str, ArrayLike] | None = None,
    reference: Graph | None = None,
    session: SessionOptions | None = None,
    observed: dict[str, Reals] | None = None,
) -> CorrectedModel:
    """Subtract from each bias the mean error that the quantized weights add to the output channel.

    The quantized weights are those of a run in fixed point. A layer that has no bias gets one.

    Parameters
    ----------
    graph
        The model; `fold_graph` is applied first.
    formats
        Formats of all tensors that a run computes, as a session takes them.
    data
        Feeds of runs in float32, read once. Either data or means are given.
    means
        Mean of each channel of tensors by name, as `expected_means` returns them; padding is not taken into account.
    reference
        The graph before its weights were rounded, with the same operators; None for the graph itself.
    session
        Options of the runs, of which the limits and `threads` have an effect.
    observed
        Means that an earlier call has observed on the same data with the same reference, which no formats change; an
        empty dict gets them.

    Returns
    -------
    CorrectedModel
        The corrected model; `formats` are the given formats.

    Raises
    ------
    QEngineError
        If both data and means are given or neither, the model is quantized already, the reference is of another
        model, a format is missing, or there are no feeds.
    """
    if (data is None) == (means is None):
        raise OptionError("bias correction takes either data or the means of channels")
    check_real(graph)
    graph, reference = fold_graph(graph), fold_graph(graph if reference is None else reference)
    _check_alike(graph, reference)
    fixed = fixed_session(graph, formats, session)
    biased, exact = with_own_biases(graph), with_own_biases(reference)
    layers = linear_layers(biased)
    biases = own_biases(biased)
    candidates = [layer for layer in layers if layer.node.outputs[0] in biases]
    if data is None:
        inputs = _tap_means(candidates, means or {})
    else:
        inputs = {} if observed is None else observed
        inputs |= inputs or observed_means(exact, candidates, data, session)
    changed: dict[str, Node] = {}
    constants, entries = dict(graph.constants), []
    for layer in layers:
        fmt = fixed.formats.get(graph.derived.get(layer.weights, layer.weights))
        reason = reason_left(layer, fmt, inputs, biased, biases, from_data=data is not None)
        if reason or fmt is None:
            entries.append(CorrectionEntry(_NAME, str(layer), False, reason))
            continue
        error = on_grid(biased.constants[layer.weights], fmt) - exact.constants[layer.weights]
        bias, out = biases[layer.node.outputs[0]], layer.node.outputs[0]
        shift = mean_output(layer, error, inputs[out])
        constants[bias.name] = shifted(layer, biased.constants[bias.name], shift)
        changed[bias.node.outputs[0]] = bias.node
        entries.append(corrected_entry(_NAME, layer, shift))
    entries += [CorrectionEntry(_NAME, one, False, INNER) for one in inner_layers(graph)]
    nodes = tuple(changed[n.outputs[0]] if n.outputs and n.outputs[0] in changed else n for n in graph.nodes)
    return CorrectedModel(replace(graph, nodes=nodes, constants=constants), tuple(entries), dict(formats))


@correction(_NAME, order=40, needs_formats=True, needs_data=True, in_best=True, corrects="biases")
def _correct(state: RecipeState) -> RecipeState:
    return state.after(
        correct_bias(
            state.graph,
            state.formats,
            state.data,
            reference=state.reference,
            session=state.session,
            observed=state.observed,
        )
    )


def _check_alike(graph: Graph, reference: Graph) -> None:
    """Raise ModelError unless two graphs have the same operators, and constants of the same names and shapes."""

    def structure(one: Graph) -> tuple[object, ...]:
        nodes = [(node.operator, node.inputs, node.outputs) for node in one.nodes]
        return nodes, {name: array.shape for name, array in one.constants.items()}

    if structure(graph) != structure(reference):
        raise ModelError(
            "the reference of a bias correction is another model than the one to correct: give its graph "
            "before its weights were rounded, folded alike"
        )


def mean_output(layer: Layer, weights: Reals, mean: Reals) -> Reals:
    """Return the mean output of filters that read a mean input (groups, inputs x taps), (groups, outputs)."""
    blocks = layer.blocks(weights)
    return np.asarray(np.einsum("goi,gi->go", blocks.reshape(*blocks.shape[:2], -1), mean))


def corrected_entry(name: str, layer: Layer, error: Reals) -> CorrectionEntry:
    """Return the entry of a layer whose bias was corrected for a mean error of its outputs."""
    largest = np.abs(error).max(initial=0.0)
    return CorrectionEntry(name, str(layer), True, f"outputs were off by up to {largest:.2g} on average")


def observed_means(graph: Graph, layers: list[Layer], data: Feeds, session: SessionOptions | None) -> dict[str, Reals]:
    """Return by the layer's output the mean input of each tap of a filter on data, (groups, inputs x taps)."""
    limits = (session or SessionOptions()).in_float32()
    moments = observe_moments(InferenceSession(graph, limits, isa="reference"), layers, data)
    keys = {layer.node.outputs[0]: key_of(layer, graph) for layer in layers}
    return {out: moments[key].sums / max(moments[key].count, 1) for out, key in keys.items() if key in moments}


def _tap_means(layers: list[Layer], means: Mapping[str, ArrayLike]) -> dict[str, Reals]:
    """Return by the layer's output the mean input of each tap from the means of channels; see `observed_means`."""
    tap_means = {}
    for layer in layers:
        groups, _, inputs, taps = layer.block_shape
        mean = np.asarray(means.get(layer.reads, ()), np.float64).ravel()
        if layer.is_stack or not mean.size or groups * inputs % mean.size:
            continue
        # After a Flatten several consecutive inputs belong to one channel.
        each = np.repeat(mean, groups * inputs // mean.size).reshape(groups, inputs)
        each = each / layer.filters.input_stride(layer.node)
        tap_means[layer.node.outputs[0]] = np.repeat(each, taps, axis=1)
    return tap_means


def reason_left(
    layer: Layer,
    fmt: Format | None,
    inputs: Mapping[str, Reals],
    graph: Graph,
    biases: Mapping[str, OwnBias],
    *,
    from_data: bool,
) -> str:
    """Return the reason why a layer cannot be corrected; "" if it can."""
    if layer.node.outputs[0] not in biases:
        if not layer.takes_bias:
            return f"a {layer.node.operator} has no bias, and no constant is added to its output alone"
        return f"its bias '{layer.bias}' is computed" if layer.bias else "a bias would not fit its output"
    if fmt is None:
        return "its weights have no format"
    if layer.node.outputs[0] not in inputs:
        return "no run computes it" if from_data else f"no BatchNormalization determines the means of '{layer.reads}'"
    finite = np.isfinite(graph.constants[layer.weights]).all() and np.isfinite(inputs[layer.node.outputs[0]]).all()
    return "" if finite else "its weights or what it reads are not all finite"
