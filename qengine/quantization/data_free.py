"""Calibration without data: ranges from the statistics that BatchNormalization holds.

A BatchNormalization knows what training saw: each channel that it gives has mean beta and standard deviation |gamma|.
So where there is no data, the channel is taken for normally distributed, and followed through the model (Nagel et al.,
"Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 5):

- A distribution is a row of values at fixed places z of the normal distribution, mean + deviation z with z from -6 to
  6, each with a count by the density: two values with one z belong together. Functions of one variable, also those that
  are spelled as several operators, are computed on the rows.
- A layer without a BatchNormalization sums many independent inputs: it gives a normal distribution with the mean
  w E[x] + b and the variance w^2 Var[x]. So do sums and products of two tensors that do not stem from one.
- The inputs of the model are taken for N(0, 1), which is what most models are fed.
- What is known in no such way (a Softmax, a matrix product of two activations) is observed in one run on such inputs.

Formats are then chosen from histograms as ever. A distribution has no outliers beyond 6 deviations.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from qengine.data.datasets import graph_of
from qengine.errors import QEngineError, UnsupportedError
from qengine.keywords import check_keywords, options_with
from qengine.model.graph import Graph, Node, Value
from qengine.model.ops.operator import find
from qengine.model.passes import fold_constants, fold_gemm_factors, remove_dead
from qengine.model.passes.affine_terms import is_constant_batchnorm
from qengine.quantization.calibration import (
    Calibration,
    CalibrationKeywords,
    CalibrationOptions,
    Observation,
    choose_formats,
    observe,
)
from qengine.quantization.calibration.histogram import Histogram
from qengine.quantization.calibration.sums import before_activations
from qengine.quantization.correction.layers import Layer, check_real, linear_layers
from qengine.quantization.correction.statistics import Normal, channel_normals
from qengine.runtime.options import SessionOptions
from qengine.runtime.session import InferenceSession

if TYPE_CHECKING:
    import onnx  # noqa: TID251 - for the type checker only

Reals = NDArray[np.float64]

_MOST_DEVIATIONS = 6.0
_PLACES = np.linspace(-_MOST_DEVIATIONS, _MOST_DEVIATIONS, 97)
_DENSITY = np.exp(-np.square(_PLACES) / 2.0)
_SHARES = _DENSITY / _DENSITY.sum()
_COUNTS = np.maximum(np.rint(100.0 * _DENSITY), np.abs(_PLACES) == _MOST_DEVIATIONS).astype(np.int64)
_LENGTHS = (2, 32, 64, 224, 16, 8, 128, 1, 3)  # of axes that the model leaves open, after the first
_ELEMENTWISE = frozenset(
    (
        *("Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid", "HardSigmoid"),
        *("HardSwish", "Swish", "Mish", "Gelu", "Erf", "Tanh", "Softplus", "Softsign", "Exp", "Log", "Sqrt", "Abs"),
        *("Neg", "Reciprocal", "Add", "Sub", "Mul", "Div", "Min", "Max", "Pow"),
    )
)
_KEPT = frozenset(
    (
        *("Identity", "Dropout", "MaxPool", "GlobalMaxPool", "Upsample", "Resize", "Pad"),
        *("Flatten", "Reshape", "Squeeze", "Unsqueeze"),
    )
)


@dataclass(frozen=True)
class _Rows:
    """Distribution of the channels of a tensor.

    Attributes
    ----------
    values : value of each channel at each place, (channels, places).
    root : name of the tensor that the values are a function of.
    """

    values: Reals
    root: str

    @classmethod
    def of(cls, normal: Normal, root: str) -> _Rows:
        """Return the rows of a normal distribution."""
        return cls(normal.mean[:, None] + normal.deviation[:, None] * _PLACES, root)

    @property
    def normal(self) -> Normal:
        """The mean and the standard deviation of each channel."""
        mean = self.values @ _SHARES
        return Normal(mean, np.sqrt(np.maximum(np.square(self.values - mean[:, None]) @ _SHARES, 0.0)))


def observe_without_data(graph: Graph, options: SessionOptions | None = None) -> Observation:
    """Return histograms of the tensors of a model from its BatchNormalization.

    Parameters
    ----------
    graph
        The model as it was loaded, before its BatchNormalization is folded.
    options
        Options of the run on made-up inputs, of which the limits and `threads` have an effect.

    Raises
    ------
    UnsupportedError
        If the model has no BatchNormalization with constant statistics, or cannot run on made-up inputs.
    """
    return _observe(graph, options)[0]


def _observe(graph: Graph, options: SessionOptions | None) -> tuple[Observation, Collection[str]]:
    """Return what `observe_without_data` does, and the tensors whose distribution is known."""
    check_real(graph)
    if not channel_normals(graph):
        raise UnsupportedError(
            "the model has no BatchNormalization whose statistics tell its ranges (exporters often fold it): give data"
        )
    observation = _observed(graph, options or SessionOptions())
    histograms = dict(observation.histograms)
    known = _distributions(graph)
    for name, rows in known.items():
        if name in histograms:
            histograms[name] = Histogram()
            histograms[name].add(np.repeat(rows.values, _COUNTS, axis=1).astype(np.float32))
    if observation.sums is not None:
        ranges = {
            name: (float(known[one].values.min()), float(known[one].values.max()))
            for name, one in before_activations(observation.model, observation.optimized).items()
            if one in known
        }
        observation = replace(observation, sums={**observation.sums, **ranges})
    return replace(observation, histograms=histograms), known


def calibrate_without_data(
    model: str | os.PathLike[str] | bytes | onnx.ModelProto | Graph,
    options: CalibrationOptions | None = None,
    session: SessionOptions | None = None,
    **keywords: Unpack[CalibrationKeywords],
) -> Calibration:
    """Return a format for every tensor of a model without data, from its BatchNormalization.

    Parameters
    ----------
    model
        Model that `InferenceSession` takes, before its BatchNormalization is folded.
    options
        Rules by which formats are chosen; None for the defaults.
    session
        Options of a run on made-up inputs, of which the limits and `threads` have an effect; None for the defaults.
    keywords
        Single fields of `CalibrationOptions`, such as ``bits=6``; they replace those of `options`.

    Returns
    -------
    Calibration
        The formats; notes say which ranges are guesses.

    Raises
    ------
    UnsupportedError
        If the model has no BatchNormalization, or does not run on random inputs.
    QEngineError
        If the model cannot be read, or an option is not valid.

    Examples
    --------
    >>> import qengine
    >>> formats = qengine.calibrate_without_data(qengine.zoo.path_of("digits"), bits=8)
    >>> formats["block1.relu1"]
    'UQ3.5'
    """
    check_keywords("calibrate_without_data", keywords, CalibrationKeywords)
    graph = graph_of(model)
    session = session or SessionOptions()
    options = options_with(CalibrationOptions, options, keywords).for_runs(session)
    observation, known = _observe(graph, options.for_observing(session))
    calibration = choose_formats(observation, options)
    other = [one.name for one in calibration.tensors if one.kind != "constant" and one.name not in known]
    notes = ["ranges are those of BatchNormalization, for inputs of mean 0 and deviation 1: no data was read"]
    if other:
        more = f" and {len(other) - 1} more" if other[1:] else ""
        notes.append(f"the range of '{other[0]}'{more} is that of one run on random inputs")
    return replace(calibration, notes=(*notes, *calibration.notes), runs=0)


def _observed(graph: Graph, options: SessionOptions) -> Observation:
    """Return the histograms of one run on random inputs, with the first lengths of open axes that the model takes."""
    reason = None
    is_open = any(not isinstance(n, int) for value in graph.inputs for n in (value.shape or (None,))[1:])
    for length in _LENGTHS if is_open else _LENGTHS[:1]:
        rng = np.random.default_rng(length)
        try:
            return observe(graph, [{value.name: _noise(value, length, rng) for value in graph.inputs}], options)
        except QEngineError as error:
            reason = reason or error
    raise UnsupportedError(f"the model does not run on random inputs, give data: {reason}")


def _noise(value: Value, length: int, rng: np.random.Generator) -> NDArray[Any]:
    shape = [n if isinstance(n, int) else (2 if i == 0 else length) for i, n in enumerate(value.shape or ())]
    dtype = np.dtype(np.float32) if value.dtype is None else value.dtype
    return rng.standard_normal(shape).astype(dtype) if dtype.kind == "f" else (rng.random(shape) < 0.5).astype(dtype)


def _distributions(graph: Graph) -> dict[str, _Rows]:
    """Return the distributions of the tensors for which there is one."""
    graph = fold_gemm_factors(fold_constants(remove_dead(graph)))
    layers = {layer.node.outputs[0]: layer for layer in linear_layers(graph) if not layer.is_stack}
    normals = channel_normals(graph)
    found: dict[str, _Rows] = {}
    for value in graph.inputs:
        channels = value.shape[1] if value.shape is not None and len(value.shape) > 1 else None
        if isinstance(channels, int) and (value.dtype is None or value.dtype.kind == "f"):
            found[value.name] = _Rows.of(Normal(np.zeros(channels), np.ones(channels)), value.name)
    for node in graph.nodes:
        if not node.outputs or node.domain or not node.inputs:
            continue
        out, rows = node.outputs[0], found.get(node.inputs[0])
        made: _Rows | None = None
        if is_constant_batchnorm(node, graph.constants):
            made = _Rows.of(normals[out], out)
        elif out in layers:
            made = _summed(layers[out], rows, graph.constants)
        elif node.operator in _ELEMENTWISE:
            made = _elementwise(node, found, graph)
        elif rows is not None and (node.operator in _KEPT or find(node).keeps_mean(node)):
            made = rows
        if made is not None and np.isfinite(made.values).all():
            found[out] = made
    return found


def _summed(layer: Layer, rows: _Rows | None, constants: Mapping[str, NDArray[Any]]) -> _Rows | None:
    """Return the distribution of what a layer gives, a sum of many independent inputs."""
    groups, _, inputs, _ = layer.block_shape
    if rows is None or groups * inputs % len(rows.values) or (layer.bias and layer.bias not in constants):
        return None
    given, weights = rows.normal, layer.blocks(constants[layer.weights].astype(np.float64))
    repeat = groups * inputs // len(rows.values)
    mean, variance = (np.repeat(x, repeat).reshape(groups, inputs) for x in (given.mean, np.square(given.deviation)))
    stride = layer.filters.input_stride(layer.node)
    total = np.einsum("goit,gi->go", weights, mean).ravel() / stride
    spread = np.einsum("goit,gi->go", np.square(weights), variance).ravel() / stride
    bias = constants[layer.bias].astype(np.float64) if layer.bias else np.zeros(1)
    if bias.ndim > 1 or bias.size not in (1, total.size):
        return None
    return _Rows.of(Normal(total + bias, np.sqrt(spread)), layer.node.outputs[0])


def _elementwise(node: Node, found: Mapping[str, _Rows], graph: Graph) -> _Rows | None:
    """Return the distribution of a function of tensors of one distribution, or a sum or product of several."""
    given = {name: found[name] for name in node.inputs if name in found}
    if not given or any(name and name not in given and name not in graph.constants for name in node.inputs):
        return None
    if len({rows.root for rows in given.values()}) > 1:
        return _independent(node, given)
    inputs = tuple(Value(name, np.dtype(np.float32), (1, *rows.values.shape, 1)) for name, rows in given.items())
    constants = {name: graph.constants[name] for name in node.inputs if name in graph.constants}
    alone = Graph(
        name=graph.name, inputs=inputs, overridable=(), outputs=(Value(node.outputs[0]),), nodes=(node,),
        constants=constants, values={},
    )  # fmt: skip
    feeds = {name: rows.values[None, :, :, None].astype(np.float32) for name, rows in given.items()}
    (first, *_) = given.values()
    try:
        (values,) = InferenceSession(alone, isa="reference").run(None, feeds)
    except QEngineError:
        return None
    if values.shape != (1, *first.values.shape, 1):
        return None
    return _Rows(values[0, :, :, 0].astype(np.float64), first.root)


def _independent(node: Node, given: Mapping[str, _Rows]) -> _Rows | None:
    """Return the distribution of a sum or product of two tensors that do not stem from one."""
    if len(given) != 2 or node.operator not in ("Add", "Sub", "Mul"):
        return None
    a, b = (given[name].normal for name in node.inputs[:2])
    if a.mean.shape != b.mean.shape:
        return None
    if node.operator == "Mul":
        variances = np.square(a.deviation), np.square(b.deviation)
        spread = variances[0] * variances[1] + variances[0] * np.square(b.mean) + variances[1] * np.square(a.mean)
        return _Rows.of(Normal(a.mean * b.mean, np.sqrt(spread)), node.outputs[0])
    mean = a.mean + b.mean if node.operator == "Add" else a.mean - b.mean
    return _Rows.of(Normal(mean, np.hypot(a.deviation, b.deviation)), node.outputs[0])


__all__ = ["calibrate_without_data", "observe_without_data"]
