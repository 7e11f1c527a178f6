"""Losses of classification: the logarithm of the probability of the target, weighted and reduced."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import working_dtype
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.steps import Tensor

Array = NDArray[Any]


def _loss_types(x: Tensor, target: Tensor, *_: Tensor | None, reduction: str = "mean", **__: Any) -> tuple[OutputType]:
    return ((target.shape if reduction == "none" else (), x.dtype),)


@evaluator("NegativeLogLikelihoodLoss", since=12, outputs=_loss_types)
def negative_log_likelihood_loss(
    x: Array, target: Array, weight: Array | None = None, *, ignore_index: int | None = None, reduction: str = "mean"
) -> Array:
    """Minus the logarithm of the probability of each target."""
    return _loss(x.astype(working_dtype(x.dtype)), target, weight, ignore_index, reduction).astype(x.dtype)


def _entropy_types(x: Tensor, *others: Tensor, **attributes: Any) -> tuple[OutputType, OutputType]:
    return *_loss_types(x, *others, **attributes), (x.shape, x.dtype)


@evaluator("SoftmaxCrossEntropyLoss", since=12, outputs=_entropy_types)
def softmax_cross_entropy_loss(
    scores: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tuple[Array, Array]:
    """Minus the logarithm of the softmax of the scores for each label, and the logarithms themselves."""
    if scores.ndim < 2:
        raise ModelError(f"scores {list(scores.shape)} must have the axes batch and class")
    wide = scores.astype(working_dtype(scores.dtype))
    top = wide.max(axis=1, keepdims=True, initial=-np.inf)
    shifted = wide - np.where(np.isfinite(top), top, wide.dtype.type(0))
    log_prob = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = _loss(log_prob, labels, weights, ignore_index, reduction)
    return loss.astype(scores.dtype), log_prob.astype(scores.dtype)


def _loss(x: Array, target: Array, weight: Array | None, ignored: int | None, reduction: str) -> Array:
    """Return the loss of logarithms of probabilities, (batch, class, ...)."""
    if reduction not in ("none", "sum", "mean"):
        raise ModelError(f"reduction '{reduction}' is not none, sum or mean")
    if x.ndim < 2 or target.shape != (x.shape[0], *x.shape[2:]):
        raise ModelError(f"target {list(target.shape)} must have the axes of {list(x.shape)} without the second")
    classes = x.shape[1]
    if weight is not None and weight.shape != (classes,):
        raise ModelError(f"weight {list(weight.shape)} must be [{classes}], one for each class")
    counted = np.ones(target.shape, bool) if ignored is None else target != ignored
    wrong = counted & ((target < 0) | (target >= classes))
    if wrong.any():
        raise ModelError(f"target {target[wrong].flat[0]} is out of range for {classes} classes")
    if not classes:  # every target is ignored
        losses, gains = np.zeros(target.shape, x.dtype), np.zeros(target.shape, x.dtype)
    else:
        index = np.where(counted, target, 0)
        gains = counted.astype(x.dtype) if weight is None else weight.astype(x.dtype)[index] * counted
        picked = np.take_along_axis(x, index[:, None].astype(np.int64), axis=1)[:, 0]
        losses = np.where(counted, -picked * gains, x.dtype.type(0))
    if reduction == "none":
        return np.asarray(losses)
    total = losses.sum(dtype=np.float64)
    return np.asarray(total if reduction == "sum" else total / gains.sum(dtype=np.float64))


__all__ = ["negative_log_likelihood_loss", "softmax_cross_entropy_loss"]
