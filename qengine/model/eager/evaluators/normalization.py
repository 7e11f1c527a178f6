"""Normalizations, with statistics in float64: sums run in the order of the elements, the same on every machine."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference.functions import power
from qengine.kernels.reference.normalization import last_sum, norm
from qengine.model.eager.elements import Reals, axis_of, reals
from qengine.model.eager.evaluator import OutputType, evaluator, same_type
from qengine.model.steps import Tensor

_STASH_TYPES = (1, 11)  # float32 and float64; statistics in float64 serve both


def _check_stash_type(stash_type: int) -> None:
    if stash_type not in _STASH_TYPES:
        raise UnsupportedError(f"stash_type is {stash_type}; statistics in float32 (1) or float64 (11) are supported")


def _check_broadcast(x: NDArray[Any], other: NDArray[Any], what: str) -> None:
    try:
        fits = np.broadcast_shapes(x.shape, other.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ModelError(f"{what} {list(other.shape)} does not broadcast to X {list(x.shape)}")


def _window_sums(x: Reals, before: int, after: int) -> Reals:
    """Return for each element of axis 1 the sum from `before` places before it to `after` places after it.

    A window of k elements is the end of a block of k and the begin of the next one: sums that run to the end of their
    block, and sums from its begin, give every window without a difference.
    """
    count, k = x.shape[1], before + after + 1
    padded = np.zeros((x.shape[0], -(-(count + k - 1) // k) * k, *x.shape[2:]))
    padded[:, before : before + count] = x
    blocks = padded.reshape(x.shape[0], -1, k, *x.shape[2:])
    begins = np.add.accumulate(blocks, axis=2).reshape(padded.shape)
    ends = np.add.accumulate(blocks[:, :, ::-1], axis=2)[:, :, ::-1].reshape(padded.shape)
    last = begins[:, k - 1 : k - 1 + count]
    inside = (np.arange(count) % k != 0).reshape(-1, *(1,) * (x.ndim - 2))  # a window that is a block is one sum
    return np.where(inside, ends[:, :count] + last, last)


@evaluator("LRN", outputs=same_type)
def lrn(x: NDArray[Any], *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> NDArray[Any]:
    """x / (bias + alpha / size * s) ^ beta, with s the sum of the squares of `size` channels around each channel."""
    if x.ndim < 2:
        raise ModelError(f"X {list(x.shape)} needs the axes batch and channel")
    if size < 1:
        raise ModelError(f"size is {size}, 1 or more channels are needed")
    if not x.size:
        return x
    most = x.shape[1] - 1
    wide = reals(x)
    squares = _window_sums(wide * wide, min((size - 1) // 2, most), min(size // 2, most))
    base = bias + alpha / size * squares
    root = np.sqrt(base)
    scale = root * np.sqrt(root) if beta == 0.75 else power(base, beta)  # the default needs no general power
    return np.asarray(wide / scale).astype(x.dtype)


@evaluator("LpNormalization", outputs=same_type)
def lp_normalization(x: NDArray[Any], *, axis: int = -1, p: int = 2) -> NDArray[Any]:
    """x divided by its norm of order 1 or 2 along an axis; 0 where the norm is 0."""
    if p not in (1, 2):
        raise ModelError(f"p is {p}, ONNX has the norms of order 1 and 2")
    rows = np.moveaxis(reals(x), axis_of(axis, x.ndim), -1)
    size = last_sum(np.abs(rows))
    y = norm(rows) if p == 2 else np.where(size == 0, 0.0, rows / np.where(size == 0, 1.0, size))
    return np.moveaxis(y, -1, axis_of(axis, x.ndim)).astype(x.dtype)


def _rms_types(x: Tensor, scale: Tensor, **_: Any) -> tuple[OutputType, ...]:
    return ((x.shape, scale.dtype),)


@evaluator("RMSNormalization", outputs=_rms_types)
def rms_normalization(
    x: NDArray[Any], scale: NDArray[Any], *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> NDArray[Any]:
    """x / sqrt(mean of x^2 + epsilon) * scale, the mean over all axes from `axis` on; of the type of the scale."""
    _check_stash_type(stash_type)
    _check_broadcast(x, scale, "scale")
    first = axis_of(axis, x.ndim)
    rows = reals(x).reshape(*x.shape[:first], prod(x.shape[first:]))
    mean = last_sum(rows * rows) / max(rows.shape[-1], 1)
    y = (rows / np.sqrt(mean + epsilon)).reshape(x.shape)
    return np.asarray(y * reals(scale)).astype(scale.dtype)


def _layer_types(x: Tensor, *_: Tensor | None, axis: int = -1, **__: Any) -> tuple[OutputType, ...]:
    first = axis_of(axis, x.ndim)
    statistics = (*x.shape[:first], *(1,) * (x.ndim - first)), np.dtype(np.float32)
    return (x.shape, x.dtype), statistics, statistics


@evaluator("LayerNormalization", outputs=_layer_types)
def layer_normalization(
    x: NDArray[Any],
    scale: NDArray[Any],
    b: NDArray[Any] | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> tuple[NDArray[Any], ...]:
    """LayerNormalization with the outputs Mean and InvStdDev, which the handler does not give."""
    _check_stash_type(stash_type)
    for what, given in (("Scale", scale), ("B", b)):
        if given is not None:
            _check_broadcast(x, given, what)
    first = axis_of(axis, x.ndim)
    rows = reals(x).reshape(*x.shape[:first], prod(x.shape[first:]))
    count = max(rows.shape[-1], 1)
    mean = last_sum(rows) / count
    centred = rows - mean
    inverse = 1.0 / np.sqrt(last_sum(centred * centred) / count + epsilon)
    y = (centred * inverse).reshape(x.shape) * reals(scale)
    statistics = (*x.shape[:first], *(1,) * (x.ndim - first))
    return (
        (y if b is None else y + reals(b)).astype(x.dtype),
        *(one.reshape(statistics).astype(np.float32) for one in (mean, inverse)),
    )
