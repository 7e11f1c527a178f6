"""Scales and zero points of QuantizeLinear and DequantizeLinear nodes, read as Qm.n formats."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Node
from qengine.model.ops.quantization import stored_format
from qengine.qformat import QFormat


class NotFixedPointError(Exception):
    """A quantized model that is not a fixed-point model; the message says which node and why."""


def scale_format(node: Node, dtype: np.dtype[Any], scale: float, zero_point: int) -> QFormat:
    """Return the format of the codes of type `dtype` that have one scale and one zero point.

    Raises
    ------
    NotFixedPointError
        If the scale is not a power of two, the zero point is neither 0 nor the middle of an unsigned type, or `dtype`
        has more than 16 bits.
    """
    fmt = stored_format(dtype, scale, zero_point)
    if fmt is not None:
        return fmt
    if stored_format(dtype, 1.0, 0) is None:
        raise NotFixedPointError(f"{node} has {dtype} elements, which are not codes of up to 16 bits")
    if zero_point:
        raise NotFixedPointError(f"{node} has scale {scale:g} and zero point {zero_point} in {dtype}")
    raise NotFixedPointError(f"{node} has scale {scale:g} in {dtype}, and no Qm.n has that step")


def code_of_zero(node: Node, zero_point: NDArray[Any] | None) -> int:
    """Return the integer that stores the value 0: the zero point, the same for all channels."""
    if zero_point is None:
        return 0
    distinct = np.unique(zero_point.astype(np.int64))
    if distinct.size != 1:
        raise NotFixedPointError(f"{node} has several zero points")
    return int(distinct[0])


def check_channels(node: Node, scale: NDArray[Any], array: NDArray[Any]) -> None:
    """Raise NotFixedPointError unless the node has one scale, or one per channel of `array`."""
    axis = node.number("axis", 1)
    if scale.size != 1 and not (-array.ndim <= axis < array.ndim and scale.shape == (array.shape[axis],)):
        raise NotFixedPointError(f"{node} has {scale.size} scales for a tensor of shape {list(array.shape)}")


def whole_exponents(node: Node, scale: NDArray[Any]) -> NDArray[np.int64]:
    """Return n of each scale 2^-n; raise NotFixedPointError for a scale that is not a power of two."""
    fraction, exponent = np.frexp(scale.astype(np.float64))
    if np.any(fraction != 0.5):
        worst = scale.reshape(-1)[int(np.argmax(fraction.reshape(-1) != 0.5))]
        raise NotFixedPointError(f"{node} has scale {float(worst):g}, which is not a power of two")
    return np.asarray(1 - exponent.astype(np.int64))


def per_channel(n: NDArray[np.int64], ndim: int, node: Node) -> NDArray[np.int64]:
    """Return the numbers of the channels, one each, in a shape that broadcasts against a tensor of `ndim` axes."""
    if n.size == 1:
        return n.reshape(())
    shape = [1] * ndim
    shape[node.number("axis", 1) % ndim] = n.size
    return n.reshape(shape)
