"""Products of integers: exact sums, which wrap around in 32 bits as ONNX allows, and their requantization.

Sums are computed in float64. Each product is below 2^18 and a sum of fewer than 2^35 of them below 2^53, so they are
exact, and BLAS is fast.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import checked_shape, scalar
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.eager.integer_window import IntegerWindow
from qengine.model.ops.quantization import NOT_FINITE, check_scale
from qengine.model.steps import Tensor

Array = NDArray[Any]
Shape = tuple[int, ...]


def _matmul_integer_types(
    a: Tensor, b: Tensor, a_zero_point: Tensor | None = None, b_zero_point: Tensor | None = None
) -> tuple[OutputType]:
    for zero_point, matrix, rule, what in (
        (a_zero_point, a, _per_row_shape, "a_zero_point"),
        (b_zero_point, b, _per_column_shape, "b_zero_point"),
    ):
        if zero_point is not None:
            rule(zero_point.shape, matrix.shape, what)
    return ((_product_shape(a.shape, b.shape), np.dtype(np.int32)),)


@evaluator("MatMulInteger", since=10, outputs=_matmul_integer_types)
def matmul_integer(a: Array, b: Array, a_zero_point: Array | None = None, b_zero_point: Array | None = None) -> Array:
    """np.matmul of integers minus their zero points."""
    return _matrix_product(_row_centred(a, a_zero_point), _column_centred(b, b_zero_point))


def _conv_integer_types(
    x: Tensor,
    w: Tensor,
    x_zero_point: Tensor | None = None,
    w_zero_point: Tensor | None = None,
    *,
    window: IntegerWindow,
) -> tuple[OutputType]:
    _check_points(x_zero_point, w_zero_point, w)
    return ((window.step(x, w).shape, np.dtype(np.int32)),)


def _check_points(x_zero_point: Tensor | None, w_zero_point: Tensor | None, w: Tensor) -> None:
    if x_zero_point is not None and prod(x_zero_point.shape) != 1:
        raise ModelError(f"x_zero_point of shape {list(x_zero_point.shape)} must be a single number")
    if w_zero_point is not None:
        _filter_shape(w_zero_point.shape, w.shape, "w_zero_point")


@evaluator("ConvInteger", since=10, outputs=_conv_integer_types)
def conv_integer(
    x: Array,
    w: Array,
    x_zero_point: Array | None = None,
    w_zero_point: Array | None = None,
    *,
    window: IntegerWindow,
) -> Array:
    """Cross-correlation of integers minus their zero points; padding is the zero point."""
    return _convolution(
        _centred(x, scalar(x_zero_point, "x_zero_point")),
        _centred(w, _per_filter(w_zero_point, w, "w_zero_point")),
        window,
    )


def _qlinear_matmul_types(
    a: Tensor,
    a_scale: Tensor,
    a_zero_point: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero_point: Tensor,
    y_scale: Tensor,  # noqa: ARG001
    y_zero_point: Tensor,
) -> tuple[OutputType]:
    for one in (a_scale, a_zero_point):
        _per_row_shape(one.shape, a.shape, "a_scale")
    for one in (b_scale, b_zero_point):
        _per_column_shape(one.shape, b.shape, "b_scale")
    return ((_product_shape(a.shape, b.shape), y_zero_point.dtype),)


@evaluator("QLinearMatMul", since=10, outputs=_qlinear_matmul_types)
def qlinear_matmul(
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
) -> Array:
    """np.matmul of quantized numbers, quantized again."""
    for what, array in (("a", a), ("b", b), ("y", y_zero_point)):
        if array.dtype not in (np.int8, np.uint8):
            raise UnsupportedError(f"{what} is {array.dtype}; only int8 and uint8 are supported")
    for name, scale in (("a_scale", a_scale), ("b_scale", b_scale), ("y_scale", y_scale)):
        check_scale(scale, name)
    for one, scale, zero_point in (("a", a_scale, a_zero_point), ("b", b_scale, b_zero_point)):
        if scale.shape != zero_point.shape and scale.size != 1 and zero_point.size != 1:
            raise ModelError(
                f"scale {list(scale.shape)} and zero point {list(zero_point.shape)} of {one} differ in shape"
            )
    total = _matrix_product(_row_centred(a, a_zero_point), _column_centred(b, b_zero_point))
    rows = _per_row(a_scale, a, "a_scale").astype(np.float32)
    columns = _per_column(b_scale, b, "b_scale").astype(np.float32)
    if b.ndim == 1 and rows.ndim:
        rows = rows[..., 0]
    if a.ndim == 1 and columns.ndim > 1:
        columns = columns[..., 0, :]
    return _requantized(total, rows * columns, y_scale, y_zero_point)


def _qlinear_conv_types(
    x: Tensor,
    x_scale: Tensor,  # noqa: ARG001
    x_zero_point: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero_point: Tensor,
    y_scale: Tensor,  # noqa: ARG001
    y_zero_point: Tensor,
    bias: Tensor | None = None,
    *,
    window: IntegerWindow,
) -> tuple[OutputType]:
    _check_points(x_zero_point, w_zero_point, w)
    _filter_shape(w_scale.shape, w.shape, "w_scale")
    if bias is not None and bias.shape != w.shape[:1]:
        raise ModelError(f"bias {list(bias.shape)} must be [{w.shape[0]}]")
    return ((window.step(x, w).shape, y_zero_point.dtype),)


@evaluator("QLinearConv", since=10, outputs=_qlinear_conv_types)
def qlinear_conv(
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    bias: Array | None = None,
    *,
    window: IntegerWindow,
) -> Array:
    """Cross-correlation of quantized numbers, quantized again."""
    for name, scale in (("x_scale", x_scale), ("w_scale", w_scale), ("y_scale", y_scale)):
        check_scale(scale, name)
    total = _convolution(
        _centred(x, scalar(x_zero_point, "x_zero_point")),
        _centred(w, _per_filter(w_zero_point, w, "w_zero_point")),
        window,
    )
    column = (-1, *(1,) * (x.ndim - 2))
    if bias is not None:
        if bias.shape != w.shape[:1]:
            raise ModelError(f"bias {list(bias.shape)} must be [{w.shape[0]}]")
        total = total + bias.reshape(column)
    filters = np.asarray(_per_filter(w_scale, w, "w_scale"), np.float32)
    if filters.ndim:
        filters = filters.reshape(column)
    factor = np.float32(scalar(x_scale, "x_scale")) * filters
    return _requantized(total, factor, y_scale, y_zero_point)


def _dynamic_types(x: Tensor) -> tuple[OutputType, OutputType, OutputType]:
    return (x.shape, np.dtype(np.uint8)), ((), np.dtype(np.float32)), ((), np.dtype(np.uint8))


@evaluator("DynamicQuantizeLinear", since=11, outputs=_dynamic_types)
def dynamic_quantize_linear(x: Array) -> tuple[Array, Array, Array]:
    """Codes in uint8, with the scale and zero point that the range of x and 0 gives."""
    if not np.isfinite(x).all():
        raise ModelError(NOT_FINITE)
    low = np.float32(x.min(initial=0))
    high = np.float32(x.max(initial=0))
    scale = (
        np.float32((high.astype(np.float64) - low) / 255) if np.isinf(high - low) else (high - low) / np.float32(255)
    )
    if scale == 0:
        scale = np.float32(1)  # also where the range is too small for a scale
    zero_point = np.uint8(np.rint(np.clip(-low / scale, 0, 255)))
    codes = np.rint(x / scale) + np.float32(zero_point)
    return np.clip(codes, 0, 255).astype(np.uint8), np.asarray(scale), np.asarray(zero_point)


def _centred(x: Array, zero_point: Any) -> NDArray[np.float64]:
    """Return integers minus their zero point."""
    values = x.astype(np.float64)
    return values if zero_point is None else values - np.asarray(zero_point, np.float64)


def _row_centred(a: Array, zero_point: Array | None) -> NDArray[np.float64]:
    return _centred(a, None if zero_point is None else _per_row(zero_point, a, "a_zero_point"))


def _column_centred(b: Array, zero_point: Array | None) -> NDArray[np.float64]:
    return _centred(b, None if zero_point is None else _per_column(zero_point, b, "b_zero_point"))


def _per_row(parameter: Array, a: Array, what: str) -> Array:
    """Return a scale or zero point of A as a scalar, or with one number for each row: (..., M, 1)."""
    return parameter.reshape(_per_row_shape(parameter.shape, a.shape, what))


def _per_row_shape(parameter: Shape, a: Shape, what: str) -> Shape:
    """Return the shape in which a scale or zero point of A broadcasts against it."""
    if prod(parameter) == 1:
        return ()
    if len(a) > 1 and parameter == a[-2:-1]:
        return (*parameter, 1)
    return _checked(parameter, a, (*a[:-1], 1), what)


def _per_column(parameter: Array, b: Array, what: str) -> Array:
    """Return a scale or zero point of B as a scalar, or with one number for each column: (..., 1, N)."""
    return parameter.reshape(_per_column_shape(parameter.shape, b.shape, what))


def _per_column_shape(parameter: Shape, b: Shape, what: str) -> Shape:
    """Return the shape in which a scale or zero point of B broadcasts against it."""
    if prod(parameter) == 1:
        return ()
    if len(b) > 1 and parameter == b[-1:]:
        return (1, *parameter)
    return _checked(parameter, b, (*b[:-2], 1, *b[-1:]), what)


def _checked(parameter: Shape, x: Shape, wanted: Shape, what: str) -> Shape:
    if len(x) < 2 or parameter != wanted:
        raise ModelError(
            f"{what} {list(parameter)} of a matrix {list(x)} must be a single number, a number for each "
            f"row or column, or {list(wanted)}"
        )
    return parameter


def _per_filter(parameter: Array | None, w: Array, what: str) -> Any:
    """Return a scale or zero point of filters as a number, or as an array that broadcasts against them."""
    if parameter is None or parameter.size == 1:
        return scalar(parameter, what)
    return parameter.reshape(_filter_shape(parameter.shape, w.shape, what))


def _filter_shape(parameter: Shape, w: Shape, what: str) -> Shape:
    """Return the shape in which a scale or zero point of filters broadcasts against them."""
    if prod(parameter) == 1:
        return ()
    if parameter != w[:1]:
        raise ModelError(f"{what} {list(parameter)} must be a single number or one for each filter, {list(w[:1])}")
    return (-1, *(1,) * (len(w) - 1))


def _matrix_product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.int32]:
    _product_shape(a.shape, b.shape)
    return _wrapped(a @ b)


def _product_shape(a: Shape, b: Shape) -> Shape:
    """Return the shape of a product of matrices; raise ModelError where they do not fit."""
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise ModelError(f"A {list(a)} and B {list(b)} do not fit")
    stack = np.broadcast_shapes(a[:-2], b[:-2])
    return checked_shape((*stack, *a[-2:-1], *(b[-1:] if len(b) > 1 else ())), 8, "the output")


def _convolution(x: NDArray[np.float64], w: NDArray[np.float64], window: IntegerWindow) -> NDArray[np.int32]:
    step = window.step(Tensor("x", x.dtype, x.shape), Tensor("w", w.dtype, w.shape))
    checked_shape(step.shape, 8, "the output")
    checked_shape(step.scratch, 8, "the padded input")
    return _wrapped(step.product(x, w))


def _wrapped(total: Any) -> NDArray[np.int32]:
    """Return exact sums in 32 bits."""
    return np.asarray(total).astype(np.int64).astype(np.int32)


def _requantized(total: NDArray[np.int32], factor: Array, y_scale: Array, y_zero_point: Array) -> Array:
    """Return saturate(round(total * factor / y_scale) + y_zero_point), in float32 as ONNX Runtime does."""
    limits = np.iinfo(y_zero_point.dtype)
    zero_point = np.float32(scalar(y_zero_point, "y_zero_point"))
    real = total.astype(np.float32) * (factor / np.float32(scalar(y_scale, "y_scale")))
    return np.clip(np.rint(real) + zero_point, limits.min, limits.max).astype(y_zero_point.dtype)


__all__ = ["conv_integer", "dynamic_quantize_linear", "matmul_integer", "qlinear_conv", "qlinear_matmul"]
