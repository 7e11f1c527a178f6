"""Operators that ONNX had as experiments until opset 10, which old converters write and ONNX Runtime still runs."""

from __future__ import annotations

import numpy as np

from qengine.errors import ModelError, UnsupportedError
from qengine.model.contrib.expansion import Builder, expansion
from qengine.model.ops.operator import Floats, Ints

_REMOVED = 10
_END = np.iinfo(np.int64).max


def _check_opset(builder: Builder) -> None:
    if builder.node.version >= _REMOVED:
        raise UnsupportedError(f"does not exist since opset {_REMOVED}; export the model again")


@expansion("Affine", domain="")
def affine(builder: Builder, x: str, *, alpha: float = 1.0, beta: float = 0.0) -> str:
    """alpha * x + beta."""
    _check_opset(builder)
    return builder.op("Add", builder.op("Mul", x, builder.number(alpha, x)), builder.number(beta, x))


@expansion("Scale", domain="")
def scale_(builder: Builder, x: str, *, scale: float = 1.0) -> str:
    """scale * x."""
    _check_opset(builder)
    return builder.op("Mul", x, builder.number(scale, x))


@expansion("ScaledTanh", domain="")
def scaled_tanh(builder: Builder, x: str, *, alpha: float, beta: float) -> str:
    """alpha * tanh(beta * x)."""
    _check_opset(builder)
    y = builder.op("Tanh", builder.op("Mul", x, builder.number(beta, x)))
    return builder.op("Mul", y, builder.number(alpha, x))


@expansion("ParametricSoftplus", domain="")
def parametric_softplus(builder: Builder, x: str, *, alpha: float, beta: float) -> str:
    """alpha * log(1 + e^(beta * x))."""
    _check_opset(builder)
    y = builder.op("Softplus", builder.op("Mul", x, builder.number(beta, x)))
    return builder.op("Mul", y, builder.number(alpha, x))


@expansion("ImageScaler", domain="")
def image_scaler(builder: Builder, x: str, *, scale: float = 1.0, bias: Floats = ()) -> str:
    """scale * x + bias, with a bias for each channel of an image."""
    _check_opset(builder)
    offsets = builder.constant(np.array(bias, builder.dtype(x) or np.float32).reshape(-1, 1, 1))
    return builder.op("Add", builder.op("Mul", x, builder.number(scale, x)), offsets)


@expansion("Crop", domain="")
def crop(builder: Builder, x: str, *, border: Ints, scale: Ints | None = None) -> str:
    """An image without its borders or, where it has a size, the part of that size after the first borders."""
    _check_opset(builder)
    if len(border) != 4 or min(border) < 0 or (scale is not None and (len(scale) != 2 or min(scale) < 1)):
        raise ModelError(f"has the border {list(border)} and scale {scale}; 4 widths and 2 lengths are needed")
    left, top, right, bottom = border
    ends = (-bottom or _END, -right or _END) if scale is None else (top + scale[0], left + scale[1])
    return builder.op("Slice", x, builder.ints(top, left), builder.ints(*ends), builder.ints(2, 3))


@expansion("DynamicSlice", domain="")
def dynamic_slice(builder: Builder, data: str, starts: str, ends: str, axes: str | None = None) -> str:
    """Slice with bounds that are inputs."""
    _check_opset(builder)
    return builder.op("Slice", data, starts, ends, axes)
