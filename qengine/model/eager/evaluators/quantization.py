"""QuantizeLinear and DequantizeLinear for what their handlers refuse: small floats, blocks, other precisions."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import axis_of, element_dtype
from qengine.model.eager.evaluator import evaluator
from qengine.model.ops.quantization import check_scale, spread
from qengine.model.steps import Tensor

Array = NDArray[Any]

_INTEGERS = {f"{sign}int{bits}" for bits in (2, 4, 8, 16) for sign in ("", "u")} | {"int32"}
_FLOATS = {"float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"}
_FLOATS |= {"float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"}
_CODES = (*sorted(_INTEGERS - {"int32"}), *sorted(_FLOATS))
"""Types of codes that output_dtype may name."""


@evaluator("QuantizeLinear", since=10)
def quantize_linear(
    x: Array,
    y_scale: Array,
    y_zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Array:
    """saturate(round(x / scale) + zero point), divided in the type of the scale or in `precision`."""
    dtype = _target(output_dtype, y_zero_point)
    if precision:
        wide = element_dtype(precision, ("float32", "float16", "bfloat16"), "precision")
    else:
        wide = y_scale.dtype if y_scale.dtype in (np.float16, np.float64, ml_dtypes.bfloat16) else np.dtype(np.float32)
    scale = _expanded(y_scale, x, axis, block_size, "y_scale").astype(wide)
    # The model may compute a scale of 0 from zeros, which it then quantizes.
    check_scale(np.where(x == 0, 1.0, scale.astype(np.float64)), "y_scale")
    check_scale(y_scale.astype(np.float64), "y_scale", may_be_zero=True)
    real = x.astype(wide) / scale
    if dtype.name in _INTEGERS:
        limits: Any = ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
        codes = np.rint(real).astype(np.float64)
        if y_zero_point is not None:
            codes = codes + _expanded(y_zero_point, x, axis, block_size, "y_zero_point").astype(np.float64)
        codes = np.where(np.isnan(codes), 0, np.clip(codes, limits.min, limits.max))
        return np.asarray(codes.astype(np.int32).astype(dtype))
    _check_no_zero_point(y_zero_point, dtype)
    if saturate:
        largest = float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
        real = np.clip(real.astype(np.float32), -largest, largest)
    return np.asarray(real.astype(dtype))


@evaluator("DequantizeLinear", since=10)
def dequantize_linear(
    x: Array,
    x_scale: Array,
    x_zero_point: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Array:
    """(x - zero point) * scale, in float32 and then rounded to the output type."""
    check_scale(x_scale.astype(np.float64), "x_scale", may_be_zero=True)
    dtype = x_scale.dtype
    if output_dtype:
        dtype = element_dtype(output_dtype, ("float32", "float16", "bfloat16"), "output_dtype")
    elif dtype.name == "float8_e8m0fnu":
        raise ModelError("x_scale of type float8e8m0 needs the attribute output_dtype")
    real = x.astype(np.float32)
    if x_zero_point is not None:
        if x_zero_point.dtype != x.dtype:
            raise ModelError(f"x ({x.dtype}) and x_zero_point ({x_zero_point.dtype}) differ in type")
        if x.dtype.name in _INTEGERS:
            whole = x.astype(np.int64) - _expanded(x_zero_point, x, axis, block_size, "x_zero_point").astype(np.int64)
            real = whole.astype(np.float32)
        else:
            _check_no_zero_point(x_zero_point, x.dtype)
    return (real * _expanded(x_scale, x, axis, block_size, "x_scale").astype(np.float32)).astype(dtype)


def _target(output_dtype: int, zero_point: Array | None) -> np.dtype[Any]:
    """Return the type of the codes."""
    named = element_dtype(output_dtype, _CODES, "output_dtype") if output_dtype else None
    if zero_point is None:
        return named or np.dtype(np.uint8)
    if named is not None and named != zero_point.dtype:
        raise ModelError(f"output_dtype is {named}, y_zero_point is {zero_point.dtype}; they must be the same")
    return zero_point.dtype


def _check_no_zero_point(zero_point: Array | None, dtype: np.dtype[Any]) -> None:
    if zero_point is not None and zero_point.astype(np.float32).any():
        raise UnsupportedError(f"a zero point of {dtype} other than 0 is not supported; leave it out")


def _expanded(parameter: Array, x: Array, axis: int, block_size: int, what: str) -> Array:
    """Return a scale or zero point in a shape that broadcasts against x."""
    if block_size < 0:
        raise ModelError(f"block_size {block_size} must be 0 or more")
    if not block_size:
        tensors = (Tensor(what, parameter.dtype, parameter.shape), Tensor("x", x.dtype, x.shape))
        return parameter.reshape(spread(*tensors, axis))
    along = axis_of(axis, x.ndim)
    blocks = -(-x.shape[along] // block_size)
    wanted = (*x.shape[:along], blocks, *x.shape[along + 1 :])
    if parameter.shape != wanted:
        raise ModelError(
            f"{what} {list(parameter.shape)} with block_size {block_size} along axis {along} of {list(x.shape)} "
            f"must be {list(wanted)}"
        )
    block = np.arange(x.shape[along]) // block_size
    return np.take(parameter, block, axis=along)


__all__ = ["dequantize_linear", "quantize_linear"]
