"""What channels are on average, told by BatchNormalization without any data.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, appendix C.
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
from qengine.model.passes.batchnorm import is_constant_batchnorm

Reals = NDArray[np.float64]

_FAR = 1e6  # standard deviations


@dataclass(frozen=True)
class _Normal:
    """Channels that are normally distributed."""

    mean: Reals
    deviation: Reals


def expected_means(graph: Graph) -> dict[str, Reals]:
    """Return the mean of each channel of the tensors for which BatchNormalization tells it, by name.

    A normalized channel has the normal distribution of mean beta and standard deviation |gamma|; behind a Relu, Clip or
    LeakyRelu the mean is that of the distribution cut off, and averaging and reshaping leave it as it is.

    Parameters
    ----------
    graph
        The model before its BatchNormalization is folded.
    """
    graph = fold_gemm_factors(fold_constants(remove_dead(graph)))
    normals: dict[str, _Normal] = {}
    means: dict[str, Reals] = {}
    for node in graph.nodes:
        if not node.outputs or node.domain:
            continue
        x, y = node.inputs[0] if node.inputs else "", node.outputs[0]
        if is_constant_batchnorm(node, graph.constants):
            normals[y] = _normalized(node, graph.constants)
            means[y] = normals[y].mean
        elif x in normals and (bounds := _bounds(node, graph.constants)) is not None:
            means[y] = _bounded_mean(normals[x], *bounds)
        elif x in normals and node.operator == "LeakyRelu":
            slope = node.number("alpha", 0.01)
            means[y] = _bounded_mean(normals[x], 0.0, np.inf) + slope * _bounded_mean(normals[x], -np.inf, 0.0)
        elif x in means and find(node).keeps_mean(node):
            means[y] = means[x]
            if x in normals and node.operator in ("Identity", "Dropout"):
                normals[y] = normals[x]
    return means


def _normalized(node: Node, constants: Mapping[str, NDArray[Any]]) -> _Normal:
    gamma, beta, _, var = (constants[name].astype(np.float64).ravel() for name in node.inputs[1:])
    epsilon = node.number("epsilon", 1e-5)
    return _Normal(beta, np.abs(gamma) * np.sqrt(var / (var + epsilon)))


def _bounds(node: Node, constants: Mapping[str, NDArray[Any]]) -> tuple[float, float] | None:
    """Return the bounds of a Relu or Clip; None where they are computed, or it is neither."""
    if node.operator == "Relu":
        return 0.0, np.inf
    if node.operator != "Clip":
        return None
    bounds = find(node).numbers(node, constants)
    low, high = bounds.get("min", -np.inf), bounds.get("max", np.inf)
    return None if low is None or high is None else (low, high)


def _bounded_mean(x: _Normal, low: float, high: float) -> Reals:
    """Return the mean of min(max(x, low), high) where x is normal."""
    deviation = np.maximum(x.deviation, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore", invalid="ignore"):
        a, b = (np.clip((bound - x.mean) / deviation, -_FAR, _FAR) for bound in (low, high))
    below, above = _below(a), _below(-b)
    inside = x.mean * (_below(b) - below) + deviation * (_density(a) - _density(b))
    return inside + (low * below if np.isfinite(low) else 0.0) + (high * above if np.isfinite(high) else 0.0)


def _below(z: Reals) -> Reals:
    """Return the standard normal distribution's share below z."""
    return np.asarray((1.0 + erf(z / np.sqrt(2.0))) / 2.0)


def _density(z: Reals) -> Reals:
    return np.asarray(exp(-z * z / 2.0) / np.sqrt(2.0 * np.pi))
