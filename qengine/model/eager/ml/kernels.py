"""Kernel functions of support vector machines, and probabilities from their pairwise decisions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import checked_shape
from qengine.model.eager.ml.features import floats
from qengine.model.eager.ml.scores import logistic

KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")

_LEAST_SHARE = np.float32(1e-7)
_ITERATIONS = 100
_TOLERANCE = 0.005


@dataclass(frozen=True)
class Kernel:
    """A kernel function.

    Attributes
    ----------
    kernel_type, kernel_params : the attributes of ONNX; the parameters are gamma, coef0 and degree.
    """

    kernel_type: str = "LINEAR"
    kernel_params: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kernel_type not in KERNELS:
            raise ModelError(f"kernel_type is '{self.kernel_type}'; it must be one of {', '.join(KERNELS)}")
        if len(self.kernel_params) != 3 and (self.kernel_params or self.kernel_type != "LINEAR"):
            raise ModelError(f"has {len(self.kernel_params)} kernel_params; gamma, coef0 and degree are needed")

    def values(self, x: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the kernel of each sample [N, C] and each support vector [V, C], [N, V]."""
        checked_shape((len(x), len(vectors)))
        if self.kernel_type == "LINEAR":
            plain: NDArray[np.float32] = x @ vectors.T
            return plain
        gamma, coef0, degree = floats(self.kernel_params)
        if self.kernel_type == "RBF":
            a, b = x.astype(np.float64), vectors.astype(np.float64)
            near = np.maximum((a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T), 0)
            return np.asarray(np.exp(-gamma * near), np.float32)
        product: NDArray[np.float32] = gamma * (x @ vectors.T) + coef0
        result: NDArray[np.float32] = np.tanh(product) if self.kernel_type == "SIGMOID" else product**degree
        return result


def class_probabilities(
    scores: NDArray[np.float32], slope: NDArray[np.float32], offset: NDArray[np.float32], classes: int
) -> NDArray[np.float32]:
    """Return the probability of each class from the decisions of all pairs.

    The method is the second of Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise
    Coupling", 2004, as in libsvm.

    Parameters
    ----------
    scores
        Decision of each pair (i, j), i < j, for each sample: [N, P].
    slope, offset
        Coefficients of the sigmoid of each pair.
    classes
        Number of classes.
    """
    checked_shape((len(scores), classes, classes), 3 * 4)
    share = np.clip(1 - logistic(scores * slope + offset), _LEAST_SHARE, 1 - _LEAST_SHARE)
    pair = np.zeros((len(scores), classes, classes), np.float32)  # chance of i against j
    for k, (i, j) in enumerate(combinations(range(classes), 2)):
        pair[:, i, j], pair[:, j, i] = share[:, k], 1 - share[:, k]
    q = -pair.transpose(0, 2, 1) * pair
    diagonal = np.arange(classes)
    q[:, diagonal, diagonal] = (pair * pair).sum(axis=1)
    p = np.full((len(scores), classes), 1 / classes, np.float32)
    active = np.arange(len(scores))
    for _ in range(_ITERATIONS):
        own_q, own_p = q[active], p[active]
        qp = np.einsum("nij,nj->ni", own_q, own_p)
        pqp = (own_p * qp).sum(axis=1)
        going = np.abs(qp - pqp[:, None]).max(axis=1) >= _TOLERANCE / classes
        active, own_q, own_p, qp, pqp = active[going], own_q[going], own_p[going], qp[going], pqp[going]
        if not active.size:
            break
        for i in range(classes):
            step = (pqp - qp[:, i]) / own_q[:, i, i]
            own_p[:, i] += step
            pqp = (pqp + step * (step * own_q[:, i, i] + 2 * qp[:, i])) / (1 + step) ** 2
            qp = (qp + step[:, None] * own_q[:, i]) / (1 + step)[:, None]
            own_p /= (1 + step)[:, None]
        p[active] = own_p
    return p
