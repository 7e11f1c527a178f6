"""Softmax and normalizations over axes: islands in float32, as fixed point has no rule for them."""

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.ops.axes import normalized
from qengine.model.ops.operator import Sign, operator
from qengine.model.steps import Island, Tensor
from qengine.model.steps.row_forms import LayerStandardized, SoftmaxOver


def _softmax(x: Tensor, axis: int, *, coerced: bool, logarithm: bool) -> Island:
    """Return softmax over one axis or, where it is `coerced` (before opset 13), over all axes from that one on."""
    (axis,) = normalized(x, (axis,)) if x.ndim else (0,)
    return Island((x,), SoftmaxOver(axis, coerced, logarithm), x.shape, x.dtype)


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

    function = LayerStandardized(first, epsilon)
    return Island((x, scale) if b is None else (x, scale, b), function, x.shape, x.dtype)
