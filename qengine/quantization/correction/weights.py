"""The weights of a model on the grid of their formats, rounded for what the layers compute on data."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.requantize import quantize
from qengine.model.formats.files import FormatsByName, format_to_json
from qengine.model.graph import Graph
from qengine.qformat import Format, fraction_bits_of
from qengine.quantization.correction.folding import folded
from qengine.quantization.correction.layers import Layer, check_real, linear_layers
from qengine.quantization.correction.moments import Key, Moments, key_of, observe
from qengine.quantization.correction.result import Corrected, Data, Entry
from qengine.quantization.correction.rounding import output_error, round_columns
from qengine.runtime.session import InferenceSession

_NAME = "round"


def round_weights(graph: Graph, formats: FormatsByName, data: Data, *, damping: float = 0.01) -> Corrected:
    """Round the weights of linear operators so that the operators' outputs on data change least; see `rounding`.

    What the operators read is taken from a run in fixed point with the weights rounded to nearest, in codes: it has
    what saturated and what was rounded before them, and it is the same on every machine.

    Parameters
    ----------
    graph
        The model; it is `folded` first.
    formats
        Of every tensor that a run computes; weights that are not named have the formats that a session gives them.
    data
        Feeds, read once.
    damping
        See `round_columns`.

    Returns
    -------
    Corrected
        Its weights lie on the grid of their formats, which its `formats` name.

    Raises
    ------
    QEngineError
        If the model is quantized already, a format is missing, or there are no feeds.
    """
    check_real(graph)
    graph = folded(graph)
    session = fixed_session(graph, formats)
    layers = linear_layers(graph)
    found = observe(session, layers, data, products=True)
    constants, entries, named = dict(graph.constants), [], dict(formats)
    shared: dict[str, list[Layer]] = {}
    for layer in layers:
        shared.setdefault(layer.weights, []).append(layer)
    for name, readers in shared.items():
        form = session.formats.get(graph.derived.get(name, name))
        text = str(readers[0]) + (f" and {len(readers) - 1} more" if readers[1:] else "")
        products = _products(readers, graph, found)
        if form is None or products is None or not np.isfinite(constants[name]).all():
            entries.append(Entry(_NAME, text, False, _why(readers, form, graph)))
            continue
        constants[name], said = _rounded(readers[0], constants[name], form, products, damping)
        named[graph.derived.get(name, name)] = format_to_json(form)
        entries.append(Entry(_NAME, text, True, said))
    return Corrected(replace(graph, constants=constants), tuple(entries), named)


def fixed_session(graph: Graph, formats: FormatsByName) -> InferenceSession:
    """Return the session in fixed point that corrections are made for, on the reference."""
    return InferenceSession(graph, formats=formats, isa="reference")


def on_grid(weights: NDArray[Any], form: Format) -> NDArray[np.float64]:
    """Return what a run in fixed point makes of weights: rounded to nearest in their format."""
    n = fraction_bits_of(form, weights.ndim)
    return np.asarray(np.ldexp(quantize(weights, n, form.word()).astype(np.float64), np.negative(n)))


def _products(readers: list[Layer], graph: Graph, found: Mapping[Key, Moments]) -> NDArray[np.float64] | None:
    """Return the sums of products of all that read one constant; None where they read it in different ways."""
    if len({(one.node.operator, one.node.domain, one.groups, one.node.number("transB", 0)) for one in readers}) > 1:
        return None
    seen = [found[key] for key in dict.fromkeys(key_of(one, graph) for one in readers) if key in found]
    return sum((one.products for one in seen[1:]), seen[0].products) if seen else None


def _why(readers: list[Layer], form: Format | None, graph: Graph) -> str:
    if not np.isfinite(graph.constants[readers[0].weights]).all():
        return "its weights are not all finite"
    if form is None:
        return "its weights have no format"
    return "it is not computed in fixed point, or its weights are read in different ways"


def _rounded(
    layer: Layer, weights: NDArray[Any], form: Format, products: NDArray[np.float64], damping: float
) -> tuple[NDArray[Any], str]:
    n, word = fraction_bits_of(form, weights.ndim), form.word()
    blocks = layer.blocks(np.ldexp(weights.astype(np.float64), n))
    flat = blocks.reshape(*blocks.shape[:2], -1)
    codes = round_columns(flat, products, word.least, word.most, damping=damping)
    nearest = np.clip(np.rint(flat), word.least, word.most)
    # In the weights' own units, as channels may have different steps.
    unit = np.square(layer.blocks(np.broadcast_to(np.exp2(-np.asarray(n, np.float64)), weights.shape))[:, :, 0, 0])
    before = float((output_error(flat - nearest, products) * unit).sum())
    after = float((output_error(flat - codes, products) * unit).sum())
    whole = np.ldexp(layer.whole(codes.reshape(blocks.shape)), np.negative(n))
    changed = np.count_nonzero(codes != nearest)
    gain = f"{10 * np.log10(before / after):.1f} dB less error" if after > 0 else "no error"
    return whole.astype(weights.dtype), f"{gain} than nearest; {changed} of {codes.size} weights differ"
