"""Bias correction that sees every rounding before a layer: the correction "bias=full".

The correction "bias" takes the mean error of the weights of a layer on what the layer reads in float32. In fixed point
the layer reads something else: activations are rounded and saturate, and the layers before it have errors of their own.
With E[x] the mean of what its filters read in float32, and E[x'] the mean in fixed point, the mean of its output is off
by

    w' E[x'] + b' - (w E[x] + b),    which is 0 for b' = b + w E[x] - w' E[x'].

(Nagel et al., "A White Paper on Neural Network Quantization", arXiv 2106.08295, 2021, call it empirical bias
correction.) As E[x'] depends on the biases before a layer, layers are corrected one after the other, in the order in
which they run. So all runs advance together, step by step, on the reference kernels: when they come to a layer, every
run has what the layer reads, its bias is corrected, and the runs continue with the new one. The work is that of one run
for each feed, however many layers there are. The codes are the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import OptionError
from qengine.kernels.reference.requantize import quantize
from qengine.model.formats.files import FormatsByName
from qengine.model.graph import Graph
from qengine.model.ops.operator import NeedsRun
from qengine.model.steps import Linear, Tensor
from qengine.qformat import Format, QFormat, fraction_bits_of
from qengine.quantization.calibration import Feeds
from qengine.quantization.correction.bias import corrected_entry, mean_output, observed_means, reason_left
from qengine.quantization.correction.biases import OwnBias, own_biases, shifted, with_own_biases
from qengine.quantization.correction.folding import fold_graph
from qengine.quantization.correction.layers import INNER, Layer, check_real, inner_layers, linear_layers
from qengine.quantization.correction.moments import Key, key_of, patches_of, read_by
from qengine.quantization.correction.registry import RecipeState, correction
from qengine.quantization.correction.result import CorrectedModel, CorrectionEntry, as_feeds
from qengine.quantization.correction.weights import fixed_session, on_grid
from qengine.runtime.options import SessionOptions
from qengine.runtime.plan.plan import Plan, quantize_input
from qengine.runtime.session import InferenceSession

_NAME = "bias=full"
_MAX_RUNS = 32
_MOST_BYTES = 512 << 20  # that all runs together may take
Reals = NDArray[np.float64]


def correct_full_bias(
    graph: Graph,
    formats: FormatsByName,
    data: Feeds,
    *,
    reference: Graph | None = None,
    session: SessionOptions | None = None,
    observed: dict[str, Reals] | None = None,
) -> CorrectedModel:
    """Give each bias the value with which the mean of the layer's output in fixed point is that in float32.

    Parameters
    ----------
    graph
        The model; `fold_graph` is applied first.
    formats
        Formats of all tensors that a run computes, as a session takes them.
    data
        Feeds that can be read again; the first 32 are used.
    reference
        The graph before its weights were rounded, with the same operators; None for the graph itself.
    session
        Options of the runs, of which the limits and `threads` have an effect.
    observed
        See `correct_bias`.

    Returns
    -------
    CorrectedModel
        The corrected model; `formats` are the given formats.

    Raises
    ------
    QEngineError
        If the model is quantized already, a format is missing, or there are no feeds.
    """
    check_real(graph)
    graph = with_own_biases(fold_graph(graph))
    exact = graph if reference is None else with_own_biases(fold_graph(reference))
    biases, layers = own_biases(graph), linear_layers(graph)
    fixed = fixed_session(graph, formats, session)
    together = _Together(fixed, data)
    corrected = [layer for layer in layers if layer.node.outputs[0] in biases]
    means = observed if observed is not None and together.is_all else {}
    if not means and together.feeds:
        means |= observed_means(exact, corrected, together.feeds, session)
    own, entries = dict(graph.constants), []
    errors = together.correct(_Targets(graph, exact, layers, biases, means, own))
    for layer in layers:
        fmt = fixed.formats.get(graph.derived.get(layer.weights, layer.weights))
        reason = reason_left(layer, fmt, means, graph, biases, from_data=True)
        error = errors.get(layer.node.outputs[0])
        if error is None:
            reason = reason or together.reason
            entries.append(CorrectionEntry(_NAME, str(layer), False, reason))
        else:
            entries.append(corrected_entry(_NAME, layer, error))
    entries += [CorrectionEntry(_NAME, one, False, INNER) for one in inner_layers(graph)]
    return CorrectedModel(replace(graph, constants=own), tuple(entries), dict(formats))


@correction(_NAME, order=45, needs_formats=True, needs_data=True, in_best=True, corrects="biases")
def _correct(state: RecipeState) -> RecipeState:
    assert state.data is not None
    return state.after(
        correct_full_bias(
            state.graph,
            state.formats,
            state.data,
            reference=state.reference,
            session=state.session,
            observed=state.observed,
        )
    )


@dataclass(frozen=True)
class _Targets:
    """Biases to correct, with the means that outputs should have.

    Attributes
    ----------
    graph, exact : the model, and the one before its weights were rounded.
    layers : layers of both.
    biases : bias of each layer that has one, by the layer's output.
    means : mean of what the filters of a layer read in float32, by the layer's output.
    constants : constants of the model, in which biases are replaced.
    """

    graph: Graph
    exact: Graph
    layers: Sequence[Layer]
    biases: Mapping[str, OwnBias]
    means: Mapping[str, Reals]
    constants: dict[str, NDArray[Any]]

    def by_key(self) -> dict[Key, Layer]:
        """Return the layers whose steps in a run are known, by key."""
        keys = Counter(key_of(layer, self.graph) for layer in self.layers)
        each = {key_of(layer, self.graph): layer for layer in self.layers}
        return {key: layer for key, layer in each.items() if keys[key] == 1 and self._is_wanted(layer)}

    def _is_wanted(self, layer: Layer) -> bool:
        out = layer.node.outputs[0]
        arrays = self.graph.constants[layer.weights], self.means.get(out, np.array(np.nan))
        return out in self.biases and all(np.isfinite(array).all() for array in arrays)

    def correct(self, layer: Layer, fmt: Format, mean: Reals) -> Reals:
        """Correct a bias for the mean of what the layer reads in fixed point, and return the error that it had."""
        out, name = layer.node.outputs[0], self.biases[layer.node.outputs[0]].name
        weights = on_grid(self.graph.constants[layer.weights], fmt)
        exact = self.exact.constants[layer.weights].astype(np.float64)
        error = mean_output(layer, weights, mean) - mean_output(layer, exact, self.means[out])
        self.constants[name] = shifted(layer, self.exact.constants[name], error)
        return error


class _Together:
    """Runs of a session in fixed point that advance together, step by step.

    Parameters
    ----------
    session
        Session on the reference.
    data
        Feeds. The first 32 are taken, or fewer that memory holds, without those whose run has other steps than the
        first one.

    Attributes
    ----------
    feeds : the feeds of the runs.
    is_all : whether these are all feeds.
    reason : why a layer is not among those that were corrected.
    """

    def __init__(self, session: InferenceSession, data: Feeds) -> None:
        self._session, self._runs, self.reason = session, list[tuple[Plan, dict[str, NDArray[Any]]]](), ""
        self.feeds: list[Mapping[str, Any]] = []
        self.is_all, empty = True, True
        for feeds in as_feeds(data):
            empty = False
            arrays = session.check_feeds(feeds)
            try:
                plan = session.plan(arrays)
            except NeedsRun:
                self.reason = "the data decides how the model runs"
                return
            if len(self._runs) == _MAX_RUNS or (self._runs and (len(self._runs) + 1) * plan.bytes > _MOST_BYTES):
                self.is_all = False
                break
            if not self._runs or _steps(plan) == _steps(self._runs[0][0]):
                self._runs.append((plan, arrays))
                self.feeds.append(feeds)
            else:
                self.is_all = False
        if empty:
            raise OptionError("the data holds no feeds: corrections from data need at least one")
        self.reason = "it is not computed in fixed point, or its weights have several readers"

    def correct(self, targets: _Targets) -> dict[str, Reals]:
        """Run, correct each bias on the way, and return the mean errors of the outputs, by the layer's output."""
        errors: dict[str, Reals] = {}
        layers, changed = targets.by_key(), dict[str, NDArray[Any]]()
        session, derived = self._session, targets.graph.derived
        traces = [_Run(plan, arrays) for plan, arrays in self._runs]
        for i in range(len(self._runs[0][0].steps) if self._runs else 0):
            step = traces[0].plan.steps[i].step
            key, x = read_by(step, layers) if isinstance(step, Linear) else (("", ""), "")
            layer = layers.get(key)
            if layer is not None and isinstance(step, Linear):
                out, fmt = layer.node.outputs[0], session.formats.get(key[0])
                mean = None if fmt is None else _mean([trace.read(i, x, layer) for trace in traces])
                if fmt is not None and mean is not None:
                    errors[out] = targets.correct(layer, fmt, mean)
                    name = targets.biases[out].name
                    changed[derived.get(name, name)] = targets.constants[name]
            for trace in traces:
                trace.advance(i, changed)
        return errors


class _Run:
    """Run that advances step by step."""

    def __init__(self, plan: Plan, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.plan = plan
        self._env = {t.name: quantize_input(t, arrays[t.name], plan.fixed, None) for t in plan.inputs}

    def read(self, i: int, name: str, layer: Layer) -> tuple[Reals, int] | None:
        """Return the sum of what the filters of a layer read in step i, and the number of positions."""
        step = self.plan.steps[i].step
        assert isinstance(step, Linear)
        x, codes = step.x if layer.place else step.w, self._env.get(name)
        if codes is None or codes.dtype.kind not in "iu" or not isinstance(x.format, QFormat):
            return None
        total, count = np.zeros((layer.groups, layer.block_shape[2] * layer.block_shape[3])), 0
        for patches in patches_of(step, codes, layer):
            total += patches.sum(axis=1)
            count += patches.shape[1]
        return np.ldexp(total, -x.format.fraction_bits), count

    def advance(self, i: int, changed: Mapping[str, NDArray[Any]]) -> None:
        """Compute step i with the constants that were changed."""
        bound = self.plan.steps[i]
        step, kernel = bound.step, bound.kernel
        if isinstance(step, Linear) and step.b is not None and step.b.name in changed:
            assert bound.arithmetic is not None
            kernel = replace(step, b=replace(step.b, value=changed[step.b.name])).fixed(bound.output, bound.arithmetic)
        sources = [
            self._env[s] if isinstance(s, str) else _encoded(t, changed) if t.name in changed else s
            for t, s in zip(step.operands, bound.sources, strict=True)
        ]
        with bound.node.errors_named():
            self._env[bound.output.name] = kernel(*sources, tally=None)
        for released in bound.release:
            del self._env[released]


def _steps(plan: Plan) -> list[str]:
    return [bound.output.name for bound in plan.steps]


def _encoded(t: Tensor, changed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Return a constant that was changed as a run reads it."""
    value = changed[t.name]
    if t.format is None:
        return value
    return quantize(value, fraction_bits_of(t.format, value.ndim), t.encoding.word(t.format))


def _mean(each: Sequence[tuple[Reals, int] | None]) -> Reals | None:
    """Return the mean of what all runs read; None where one reads no codes."""
    found = [one for one in each if one is not None]
    count = sum(one[1] for one in found)
    if len(found) < len(each) or not count:
        return None
    total: Reals = sum((one[0] for one in found[1:]), found[0][0])
    return total / count


__all__ = ["correct_full_bias"]
