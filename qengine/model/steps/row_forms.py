"""Computations over rows as frozen data, like those of `forms`: Softmax, normalizations, the place of an extreme."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference import functions as f
from qengine.kernels.reference.normalization import softmax, standardize

Array = NDArray[Any]


@dataclass(frozen=True)
class SoftmaxOver:
    """e^x / sum(e^x), or its logarithm.

    Attributes
    ----------
    axis : axis that is summed over, 0 or more.
    coerced : whether all axes from that one on are summed over (before opset 13).
    logarithm : whether the result is the logarithm.
    """

    axis: int
    coerced: bool
    logarithm: bool

    def __call__(self, x: Array) -> Array:
        """Return the quotients."""
        axis = self.axis
        rows = x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:])) if self.coerced else np.moveaxis(x, axis, -1)
        is_body = x.dtype.itemsize < 4 and not self.coerced and not self.logarithm
        y = _rounded_softmax(rows) if is_body else softmax(rows, logarithm=self.logarithm)
        return (y.reshape(x.shape) if self.coerced else np.moveaxis(y, -1, axis)).astype(x.dtype)


def _rounded_softmax(rows: Array) -> Array:
    """Return softmax over the last axis with every step of ONNX's function body rounded to the type of the rows."""
    dtype = rows.dtype
    shifted = (rows - rows.max(axis=-1, keepdims=True, initial=-np.inf)).astype(dtype)
    powers = f.exp(shifted.astype(np.float64)).astype(dtype)
    total = powers.astype(np.float64).cumsum(axis=-1)[..., -1:].astype(dtype)
    return np.asarray(powers / total)


@dataclass(frozen=True)
class LayerStandardized:
    """(x - mean) / sqrt(variance + epsilon) * gain + offset.

    Attributes
    ----------
    first : first of the axes, up to the last one, that the statistics are taken over.
    epsilon : number added to the variance.
    """

    first: int
    epsilon: float

    def __call__(self, x: Array, gain: Array, *offset: Array) -> Array:
        """Return the normalized elements."""
        rows = x.reshape(*x.shape[: self.first], prod(x.shape[self.first :]))
        y = standardize(rows, self.epsilon).reshape(x.shape) * gain
        return np.asarray(y + offset[0] if offset else y)


@dataclass(frozen=True)
class AxisIndex:
    """The place of the largest or smallest element along an axis.

    Attributes
    ----------
    axis : axis, 0 or more.
    keepdims : whether the axis stays, with length 1.
    last : whether of equal elements the last is meant.
    largest : whether the largest is meant.
    """

    axis: int
    keepdims: bool
    last: bool
    largest: bool

    def __call__(self, x: Array) -> Array:
        """Return int64."""
        v = np.flip(x, self.axis) if self.last else x
        pick = np.argmax if self.largest else np.argmin
        indices = np.asarray(pick(v, axis=self.axis, keepdims=self.keepdims), np.int64)
        return x.shape[self.axis] - 1 - indices if self.last else indices
