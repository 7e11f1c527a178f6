"""Operators on quantized tensors: DequantizeLinear of every input, the plain operator, QuantizeLinear of the output.

So a quantized model in the form of ONNX Runtime's "QOperator" becomes the one that pairs of QuantizeLinear and
DequantizeLinear describe, and runs in fixed point if its scales are powers of two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.contrib.activations import softmax_from
from qengine.model.contrib.expansion import Builder, expansion
from qengine.model.contrib.fused import (
    ConvAttributes,
    GemmAttributes,
    PoolAttributes,
    channels_first,
    channels_last,
)
from qengine.model.ops.operator import Ints


def real(builder: Builder, x: str | None, scale: str | None, zero_point: str | None, axis: int | None = None) -> str:
    """Add DequantizeLinear of a tensor; `axis` counts the channels where there are several scales."""
    lengths = builder.shape(scale or "")
    is_one = lengths is not None and (lengths in ((), (1,)))
    return builder.op("DequantizeLinear", x, scale, zero_point, axis=None if is_one else axis)


class _Scale(NamedTuple):
    """The names of the scale and the zero point of a result."""

    scale: str | None
    zero_point: str | None


def stored(builder: Builder, y: str, scaled: _Scale, like: str) -> str:
    """Add QuantizeLinear of a result to the element type of the tensor `like`."""
    scale, zero_point = scaled
    builder.needs(y_scale=scale)
    if not zero_point:
        dtype = builder.dtype(like)
        if dtype is None:
            raise UnsupportedError(f"the type of '{like}' is not known; give every zero point")
        zero_point = builder.constant(np.zeros((), dtype))
    return builder.op("QuantizeLinear", y, scale, zero_point)


def product(builder: Builder, first: str, second: str, factor: float = 1.0) -> str:
    """Add the product of two scales and a factor; of constants it is a constant, rounded once."""
    if first in builder.constants and second in builder.constants:
        exact = builder.constants[first].astype(np.float64) * builder.constants[second] * factor
        return builder.constant((exact.reshape(-1) if exact.size > 1 else exact.reshape(())).astype(np.float32))
    y = builder.op("Mul", first, second)
    return y if factor == 1.0 else builder.op("Mul", y, builder.number(factor, first))


def _in_layout(builder: Builder, x: str, rank: int, is_last: int, function: Callable[[str], str]) -> str:
    """Add a function of images whose channels may be the last axis."""
    if not is_last:
        return function(x)
    return channels_last(builder, function(channels_first(builder, x, rank)), rank)


@expansion("QLinearConv")
def qlinear_conv(
    builder: Builder,
    x: str,
    x_scale: str,
    x_zero_point: str,
    w: str,
    w_scale: str,
    w_zero_point: str,
    y_scale: str,
    y_zero_point: str,
    b: str | None = None,
    *,
    channels_last: int = 0,
    window: ConvAttributes,
) -> str:
    """Conv of quantized tensors, with an int32 bias."""

    def compute(image: str) -> str:
        operands = [real(builder, image, x_scale, x_zero_point), real(builder, w, w_scale, w_zero_point, axis=0)]
        if b:
            operands.append(real(builder, b, product(builder, x_scale, w_scale), None, axis=0))
        y = builder.op("Conv", *operands, **asdict(window))
        return stored(builder, y, _Scale(y_scale, y_zero_point), x)

    return _in_layout(builder, x, builder.rank(w) if channels_last else 0, channels_last, compute)


@expansion("QGemm")
def qgemm(
    builder: Builder,
    a: str,
    a_scale: str,
    a_zero_point: str,
    b: str,
    b_scale: str,
    b_zero_point: str,
    c: str | None = None,
    y_scale: str | None = None,
    y_zero_point: str | None = None,
    *,
    gemm: GemmAttributes,
) -> str:
    """Gemm of quantized matrices, with an int32 bias; the result is real where it has no scale."""
    if bool(y_scale) != bool(y_zero_point):
        raise ModelError("has a scale or a zero point of its result, and not both; give both or none")
    operands = [
        real(builder, a, a_scale, a_zero_point),
        real(builder, b, b_scale, b_zero_point, axis=0 if gemm.transB else 1),
    ]
    if c:
        scale = product(builder, a_scale, b_scale, gemm.alpha)
        if builder.shape(scale) in ((), (1,)) or builder.shape(c) == builder.shape(scale):
            operands.append(real(builder, c, scale, None, axis=0))
        else:
            operands.append(builder.op("Mul", builder.op("Cast", c, to=1), scale))
    y = builder.op("Gemm", *operands, **asdict(gemm))
    return stored(builder, y, _Scale(y_scale, y_zero_point), a) if y_scale else y


@expansion("QLinearAdd", "QLinearMul")
def qlinear_combination(
    builder: Builder,
    a: str,
    a_scale: str,
    a_zero_point: str | None = None,
    b: str | None = None,
    b_scale: str | None = None,
    b_zero_point: str | None = None,
    y_scale: str | None = None,
    y_zero_point: str | None = None,
) -> str:
    """A + B or A * B."""
    builder.needs(B=b, B_scale=b_scale)
    parts = real(builder, a, a_scale, a_zero_point), real(builder, b, b_scale, b_zero_point)
    y = builder.op(builder.node.operator.removeprefix("QLinear"), *parts)
    return stored(builder, y, _Scale(y_scale, y_zero_point), a)


@expansion("QLinearConcat")
def qlinear_concat(builder: Builder, y_scale: str, y_zero_point: str, *inputs: str, axis: int) -> str:
    """Concat of tensors, each with a scale and a zero point."""
    if not inputs or len(inputs) % 3:
        raise ModelError(f"has {len(inputs)} inputs, not a tensor, a scale and a zero point for each part")
    parts = [real(builder, *part) for part in zip(inputs[::3], inputs[1::3], inputs[2::3], strict=True)]
    return stored(builder, builder.op("Concat", *parts, axis=axis), _Scale(y_scale, y_zero_point), inputs[0])


@expansion("QLinearWhere")
def qlinear_where(
    builder: Builder,
    condition: str,
    x: str,
    x_scale: str,
    x_zero_point: str,
    y: str,
    y_scale: str,
    y_zero_point: str,
    z_scale: str,
    z_zero_point: str,
) -> str:
    """X where the condition holds, Y elsewhere."""
    parts = real(builder, x, x_scale, x_zero_point), real(builder, y, y_scale, y_zero_point)
    return stored(builder, builder.op("Where", condition, *parts, since=16), _Scale(z_scale, z_zero_point), x)


@expansion("QLinearSigmoid")
def qlinear_sigmoid(
    builder: Builder,
    x: str,
    x_scale: str,
    x_zero_point: str | None = None,
    y_scale: str | None = None,
    y_zero_point: str | None = None,
) -> str:
    """Sigmoid of x."""
    y = builder.op("Sigmoid", real(builder, x, x_scale, x_zero_point))
    return stored(builder, y, _Scale(y_scale, y_zero_point), x)


@expansion("QLinearLeakyRelu")
def qlinear_leaky_relu(
    builder: Builder,
    x: str,
    x_scale: str,
    x_zero_point: str | None = None,
    y_scale: str | None = None,
    y_zero_point: str | None = None,
    *,
    alpha: float = 0.01,
) -> str:
    """LeakyRelu of x."""
    y = builder.op("LeakyRelu", real(builder, x, x_scale, x_zero_point), since=16, alpha=alpha)
    return stored(builder, y, _Scale(y_scale, y_zero_point), x)


@expansion("QLinearSoftmax")
def qlinear_softmax(
    builder: Builder,
    x: str,
    x_scale: str,
    x_zero_point: str | None = None,
    y_scale: str | None = None,
    y_zero_point: str | None = None,
    *,
    axis: int = -1,
    opset: int,
) -> str:
    """Softmax of x over one axis or, as before opset 13, over all axes from one on."""
    if not 1 <= opset < 1 << 31:
        raise ModelError(f"opset is {opset}; that of a Softmax is needed")
    values = real(builder, x, x_scale, x_zero_point)
    y = builder.op("Softmax", values, axis=axis) if opset >= 13 else softmax_from(builder, values, axis)
    return stored(builder, y, _Scale(y_scale, y_zero_point), x)


@expansion("QLinearReduceMean")
def qlinear_reduce_mean(
    builder: Builder,
    x: str,
    x_scale: str,
    x_zero_point: str | None = None,
    y_scale: str | None = None,
    y_zero_point: str | None = None,
    *,
    axes: Ints,
    keepdims: int,
) -> str:
    """The mean over axes."""
    values = real(builder, x, x_scale, x_zero_point)
    y = builder.op("ReduceMean", values, builder.ints(*axes), since=18, keepdims=keepdims)
    return stored(builder, y, _Scale(y_scale, y_zero_point), x)


@expansion("QLinearAveragePool")
def qlinear_average_pool(
    builder: Builder,
    x: str,
    x_scale: str,
    x_zero_point: str | None = None,
    y_scale: str | None = None,
    y_zero_point: str | None = None,
    *,
    channels_last: int = 0,
    count_include_pad: int = 0,
    pool: PoolAttributes,
) -> str:
    """AveragePool of x."""
    if pool.ceil_mode and count_include_pad:
        raise UnsupportedError(
            "has ceil_mode and count_include_pad, with which ONNX Runtime divides by cells outside of the padding too; "
            "quantize the model without one of them"
        )

    def compute(image: str) -> str:
        values = real(builder, image, x_scale, x_zero_point)
        y = builder.op("AveragePool", values, count_include_pad=count_include_pad, **asdict(pool))
        return stored(builder, y, _Scale(y_scale, y_zero_point), x)

    return _in_layout(builder, x, len(pool.kernel_shape) + 2, channels_last, compute)


@expansion("QLinearGlobalAveragePool")
def qlinear_global_average_pool(
    builder: Builder,
    x: str,
    x_scale: str,
    x_zero_point: str,
    y_scale: str,
    y_zero_point: str,
    *,
    channels_last: int = 0,
) -> str:
    """GlobalAveragePool of x."""

    def compute(image: str) -> str:
        y = builder.op("GlobalAveragePool", real(builder, image, x_scale, x_zero_point))
        return stored(builder, y, _Scale(y_scale, y_zero_point), x)

    return _in_layout(builder, x, builder.rank(x) if channels_last else 0, channels_last, compute)
