"""Means of channels from the constants of BatchNormalization, and bias correction with them: no data is needed.

A BatchNormalization gives each channel mean beta and standard deviation |gamma|, if its statistics are those of what
it reads. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, take the
channel for normally distributed, x ~ N(beta, gamma^2), and derive the mean after an activation function (section
4.2.1 and appendix C). Cut off to [l, h], with a = (l - beta) / |gamma| and b = (h - beta) / |gamma|, it is

    E[min(max(x, l), h)] = l P(a) + h (1 - P(b)) + beta (P(b) - P(a)) + |gamma| (p(a) - p(b)),

where p and P are the density and the distribution function of N(0, 1). A Relu has l = 0 and no h. Averaging and
reshaping keep means. Sums, and layers that read the model's input, have no known mean.

`correct_bias` takes these means in place of means from data: the correction "analytic".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.functions import erf, exp
from qengine.model.graph import Graph, Node
from qengine.model.ops.operator import find
from qengine.model.passes import fold_constants, fold_gemm_factors, remove_dead
from qengine.model.passes.activation import constant_bounds
from qengine.model.passes.affine_terms import is_constant_batchnorm
from qengine.quantization.correction.bias import correct_bias
from qengine.quantization.correction.registry import RecipeState, correction

Reals = NDArray[np.float64]

_MAX_DEVIATIONS = 1e6  # bounds further from the mean, in standard deviations, are cut off


@dataclass(frozen=True)
class Normal:
    """Mean and standard deviation of channels that are taken for normally distributed.

    Attributes
    ----------
    mean, deviation : numbers (channels,).
    """

    mean: Reals
    deviation: Reals


def expected_means(graph: Graph) -> dict[str, Reals]:
    """Return by name the mean of each channel, (channels,), of tensors for which BatchNormalization determines it.

    Parameters
    ----------
    graph
        The model before its BatchNormalization is folded.
    """
    graph = fold_gemm_factors(fold_constants(remove_dead(graph)))
    normals: dict[str, Normal] = {}
    means: dict[str, Reals] = {}
    for node in graph.nodes:
        if not node.outputs or node.domain:
            continue
        x, y = node.inputs[0] if node.inputs else "", node.outputs[0]
        if is_constant_batchnorm(node, graph.constants):
            normals[y] = _normalized(node, graph.constants)
            means[y] = normals[y].mean
        elif x in normals and (bounds := constant_bounds(node, graph.constants)) is not None:
            low = -np.inf if bounds.low is None else bounds.low
            means[y] = _bounded_mean(normals[x], low, np.inf if bounds.high is None else bounds.high)
        elif x in normals and node.operator == "LeakyRelu":
            slope = node.number("alpha", 0.01)
            means[y] = _bounded_mean(normals[x], 0.0, np.inf) + slope * _bounded_mean(normals[x], -np.inf, 0.0)
        elif x in means and find(node).keeps_mean(node):
            means[y] = means[x]
            if x in normals and node.operator in ("Identity", "Dropout"):
                normals[y] = normals[x]
    return means


def channel_normals(graph: Graph) -> dict[str, Normal]:
    """Return by name the distribution of the channels of the tensors that a BatchNormalization gives.

    Parameters
    ----------
    graph
        The model before its BatchNormalization is folded.
    """
    graph = fold_gemm_factors(fold_constants(remove_dead(graph)))
    nodes = [node for node in graph.nodes if node.outputs and not node.domain]
    return {
        node.outputs[0]: _normalized(node, graph.constants)
        for node in nodes
        if is_constant_batchnorm(node, graph.constants)
    }


@correction("analytic", order=50, needs_formats=True, corrects="biases")
def _correct_analytically(state: RecipeState) -> RecipeState:
    means = {
        name: mean / state.factors[name] if name in state.factors else mean
        for name, mean in expected_means(state.original).items()
    }
    return state.after(
        correct_bias(state.graph, state.formats, means=means, reference=state.reference, session=state.session)
    )


def _normalized(node: Node, constants: Mapping[str, NDArray[Any]]) -> Normal:
    """Return the distribution of what a BatchNormalization gives."""
    gamma, beta, _, var = (constants[name].astype(np.float64).ravel() for name in node.inputs[1:])
    epsilon = node.number("epsilon", 1e-5)
    return Normal(beta, np.abs(gamma) * np.sqrt(var / (var + epsilon)))


def _bounded_mean(x: Normal, low: float, high: float) -> Reals:
    """Return the mean of min(max(x, low), high) for normally distributed x."""
    deviation = np.maximum(x.deviation, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        a, b = (np.clip((bound - x.mean) / deviation, -_MAX_DEVIATIONS, _MAX_DEVIATIONS) for bound in (low, high))
    below, above = _distribution(a), _distribution(-b)
    inside = x.mean * (_distribution(b) - below) + deviation * (_density(a) - _density(b))
    return inside + (low * below if np.isfinite(low) else 0.0) + (high * above if np.isfinite(high) else 0.0)


def _distribution(z: Reals) -> Reals:
    """Return the probability that a number of the standard normal distribution is below z."""
    return np.asarray((1.0 + erf(z / np.sqrt(2.0))) / 2.0)


def _density(z: Reals) -> Reals:
    """Return the density of the standard normal distribution."""
    return np.asarray(exp(-z * z / 2.0) / np.sqrt(2.0 * np.pi))
