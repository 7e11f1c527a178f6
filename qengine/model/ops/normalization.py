"""Softmax and normalizations over axes: islands in float32, as fixed point has no rule for them."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.kernels.reference import functions as f
from qengine.kernels.reference.normalization import softmax as softmax_rows
from qengine.kernels.reference.normalization import standardize
from qengine.model.ops.axes import normalized
from qengine.model.ops.operator import Sign, operator
from qengine.model.steps import Island, Tensor


def _softmax(x: Tensor, axis: int, *, coerced: bool, logarithm: bool) -> Island:
    """Return softmax over one axis or, where it is `coerced` (before opset 13), over all axes from that one on."""
    (axis,) = normalized(x, (axis,)) if x.ndim else (0,)

    def compute(v: NDArray[Any]) -> NDArray[Any]:
        rows = v.reshape(prod(v.shape[:axis]), prod(v.shape[axis:])) if coerced else np.moveaxis(v, axis, -1)
        is_body = v.dtype.itemsize < 4 and not coerced and not logarithm
        y = _rounded_softmax(rows) if is_body else softmax_rows(rows, logarithm=logarithm)
        return (y.reshape(v.shape) if coerced else np.moveaxis(y, -1, axis)).astype(v.dtype)

    return Island((x,), compute, x.shape, x.dtype)


def _rounded_softmax(rows: NDArray[Any]) -> NDArray[Any]:
    """Return softmax over the last axis with every step of ONNX's function body rounded to the type of the rows."""
    dtype = rows.dtype
    shifted = (rows - rows.max(axis=-1, keepdims=True, initial=-np.inf)).astype(dtype)
    powers = f.exp(shifted.astype(np.float64)).astype(dtype)
    total = powers.astype(np.float64).cumsum(axis=-1)[..., -1:].astype(dtype)
    return np.asarray(powers / total)


@operator("Softmax", sign=Sign.NOT_NEGATIVE)
def softmax(x: Tensor, *, axis: int = 1) -> Island:
    """e^x / sum(e^x) over all axes from `axis` on."""
    return _softmax(x, axis, coerced=True, logarithm=False)


@operator("Softmax", since=13, sign=Sign.NOT_NEGATIVE)
def softmax_13(x: Tensor, *, axis: int = -1) -> Island:
    """e^x / sum(e^x) over one axis."""
    return _softmax(x, axis, coerced=False, logarithm=False)


@operator("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int = 1) -> Island:
    """log(softmax(x)) over all axes from `axis` on."""
    return _softmax(x, axis, coerced=True, logarithm=True)


@operator("LogSoftmax", since=13)
def log_softmax_13(x: Tensor, *, axis: int = -1) -> Island:
    """log(softmax(x)) over one axis."""
    return _softmax(x, axis, coerced=False, logarithm=True)


@operator("LayerNormalization", since=17)
def layer_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Island:
    """(x - mean) / sqrt(variance + epsilon) * scale + b, the statistics over all axes from `axis` on."""
    if stash_type not in (1, 11):
        raise UnsupportedError(f"stash_type is {stash_type}; statistics in float32 (1) or float64 (11) are supported")
    (first,) = normalized(x, (axis,))
    for t in (scale,) if b is None else (scale, b):
        if t.ndim > x.ndim or np.broadcast_shapes(x.shape, t.shape) != x.shape:
            raise ModelError(f"'{t.name}' {list(t.shape)} does not broadcast to '{x.name}' {list(x.shape)}")

    def compute(v: NDArray[Any], gain: NDArray[Any], *offset: NDArray[Any]) -> NDArray[Any]:
        rows = v.reshape(*v.shape[:first], prod(v.shape[first:]))
        y = standardize(rows, epsilon).reshape(v.shape) * gain
        return np.asarray(y + offset[0] if offset else y)

    return Island((x, scale) if b is None else (x, scale, b), compute, x.shape, x.dtype)
