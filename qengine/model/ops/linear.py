"""Conv, ConvTranspose, Gemm, MatMul, and a BatchNormalization that cannot be folded into the operator before it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.ops.filters import ConvFilters, MatrixFilters, RowScaleFilters, ScaleFilters, TransposedConvFilters
from qengine.model.ops.operator import NUMBER, REAL, Bias, Ints, Since, Until, Weights, operator
from qengine.model.ops.window import Transposed, Window, spatial_axes
from qengine.model.steps import Island, Linear, Tensor
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution


def _check_filters(x: Tensor, w: Tensor, kernel_shape: Ints | None, group: int, channels: int) -> Ints:
    """Return the spatial shape of the kernel; `channels` is the number of input channels that w has filters for."""
    if w.ndim != x.ndim:
        raise ModelError(f"'{x.name}' {list(x.shape)} and weights '{w.name}' {list(w.shape)} differ in rank")
    if group < 1 or w.shape[0] % group:
        raise ModelError(f"group {group} does not divide the {w.shape[0]} filters of '{w.name}'")
    if channels != x.shape[1]:
        raise ModelError(
            f"'{x.name}' has {x.shape[1]} channels, weights '{w.name}' {list(w.shape)} in {group} group(s) "
            f"expect {channels}"
        )
    if kernel_shape is not None and kernel_shape != w.shape[2:]:
        raise ModelError(f"kernel_shape {list(kernel_shape)} is not that of the weights, {list(w.shape[2:])}")
    return w.shape[2:]


def _check_bias(b: Tensor | None, filters: int) -> None:
    if b is not None and b.shape != (filters,):
        raise ModelError(f"bias '{b.name}' has shape {list(b.shape)}, not [{filters}]")


@operator("Conv", filters=ConvFilters(), padding_value=0.0)
def conv(
    x: Tensor,
    w: Weights,
    b: Bias | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Linear:
    """Cross-correlation over 1, 2 or more spatial axes."""
    size = spatial_axes(x)
    kernel = _check_filters(x, w, kernel_shape, group, w.shape[1] * group if w.ndim > 1 else 0)
    _check_bias(b, w.shape[0])
    window = Window.of(size, kernel, auto_pad, strides, dilations, pads)
    product = Convolution(window.strides, window.dilations, window.pads, group)
    column = (w.shape[0], *(1,) * len(size))
    shape = (x.shape[0], w.shape[0], *window.out)
    return Linear(x, w, b, product, shape, tuple(range(1, w.ndim)), 1, column, scratch=window.padded(x.shape))


@operator("ConvTranspose", filters=TransposedConvFilters())
def conv_transpose(
    x: Tensor,
    w: Weights,
    b: Bias | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Linear:
    """Transposed convolution."""
    size = spatial_axes(x)
    kernel = _check_filters(x, w, kernel_shape, group, w.shape[0])
    filters = w.shape[1] * group
    _check_bias(b, filters)
    window = Transposed.of(size, kernel, auto_pad, strides, dilations, pads, output_padding, output_shape)
    product = TransposedConvolution(window.strides, window.dilations, window.pads, window.output_padding, group)
    column = (filters, *(1,) * len(size))
    shape, spread = (x.shape[0], filters, *window.out), window.spread(x.shape)
    return Linear(x, w, b, product, shape, (0, *range(2, w.ndim)), 1, column, scratch=spread)


@dataclass(frozen=True)
class ScaledProduct:
    """alpha times a product of matrices, plus beta times a third one.

    Attributes
    ----------
    product : product of the first two.
    alpha, beta : factors.
    """

    product: MatrixProduct
    alpha: float
    beta: float

    def __call__(self, a: NDArray[Any], b: NDArray[Any], *c: NDArray[Any]) -> NDArray[Any]:
        """Return the matrix."""
        # Sums of products of codes are exact in float64, and so the same on every machine.
        wide = np.dtype(np.float64) if a.dtype.kind == "f" else a.dtype
        y = self.product(a.astype(wide), b.astype(wide)) * self.alpha
        return np.asarray(y + c[0] * self.beta if c else y)


@operator("Gemm", elements=NUMBER, filters=MatrixFilters())
def gemm(
    a: Tensor,
    b: Weights,
    c: Bias | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's name
    transB: int = 0,  # noqa: N803
) -> Linear | Island:
    """alpha * A' B' + beta * C; a pass has folded factors into constant matrices."""
    if a.ndim != 2 or b.ndim != 2:
        raise ModelError(f"A {list(a.shape)} and B {list(b.shape)} must be matrices")
    rows, inner = a.shape[::-1] if transA else a.shape
    inner_b, columns = b.shape[::-1] if transB else b.shape
    if inner != inner_b:
        raise ModelError(f"A' {[rows, inner]} and B' {[inner_b, columns]} do not fit")
    shape = (rows, columns)
    if c is not None and np.broadcast_shapes(c.shape, shape) != shape:
        raise ModelError(f"C {list(c.shape)} does not broadcast to {list(shape)}")

    product = MatrixProduct(bool(transA), bool(transB))
    if alpha != 1.0 or (c is not None and beta != 1.0):
        return Island((a, b) if c is None else (a, b, c), ScaledProduct(product, alpha, beta), shape, a.dtype)
    return Linear(a, b, c, product, shape, (1 if transB else 0,), 1, () if c is None else c.shape)


@operator("MatMul", elements=NUMBER, filters=MatrixFilters())
def matmul(a: Tensor, b: Weights) -> Linear:
    """np.matmul: vectors, matrices and stacks of them."""
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ModelError(f"'{a.name}' {list(a.shape)} and '{b.name}' {list(b.shape)} do not fit")
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*stack, *(a.shape[-2:-1] if a.ndim > 1 else ()), *(b.shape[-1:] if b.ndim > 1 else ()))
    return Linear(a, b, None, MatrixProduct(), shape, (-2 if b.ndim > 1 else 0,), -1, ())


@operator("MatMul", domain="qengine", elements=REAL, filters=MatrixFilters())
def matmul_with_bias(a: Tensor, b: Weights, c: Bias) -> Linear:
    """np.matmul plus a row, or plus a column: a MatMul with the constant that is added to its result."""
    linear = matmul(a, b)
    if np.broadcast_shapes(c.shape, linear.shape) != linear.shape:
        raise ModelError(f"'{c.name}' {list(c.shape)} does not broadcast to {list(linear.shape)}")
    return replace(linear, b=c, bias_shape=c.shape)


@operator("ScaleShift", domain="qengine", filters=ScaleFilters())
def scale_shift(x: Tensor, scale: Weights, shift: Bias) -> Linear:
    """x * scale + shift, channel by channel: a BatchNormalization with constant statistics."""
    return _scaled(x, scale, shift, 1)


@operator("RowScaleShift", domain="qengine", filters=RowScaleFilters())
def row_scale_shift(x: Tensor, scale: Weights, shift: Bias) -> Linear:
    """x * scale + shift, with a number for each place of the last axis."""
    return _scaled(x, scale, shift, -1)


def _scaled(x: Tensor, scale: Tensor, shift: Tensor, axis: int) -> Linear:
    if x.ndim < 2 or scale.shape != (x.shape[axis],):
        raise ModelError(f"'{x.name}' {list(x.shape)} and scale {list(scale.shape)} do not fit")
    form = ChannelScale(axis)
    return Linear(x, scale, shift, form, x.shape, (), axis, (x.shape[axis], *form.column(x.ndim)[1:]))


@operator("BatchNormalization")
def batch_normalization(
    x: Tensor,
    scale: Tensor,
    b: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: Annotated[int, Until(9)] = 1,
    training_mode: Annotated[int, Since(14)] = 0,
    outputs: int,
) -> tuple[Island, ...]:
    """(x - mean) / sqrt(var + epsilon) * scale + b, channel by channel, with statistics that are not constants.

    They are inputs or, in training mode, those of the batch. With spatial 0 each element of a sample has its own.
    Before opset 14 a node with more than one output is in training mode; torch exports a BatchNorm without running
    statistics so.
    """
    column = (x.shape[1:2] + (1,) * (x.ndim - 2)) if spatial else x.shape[1:]
    for t in (scale, b, mean, var):
        if x.ndim < 2 or prod(t.shape) != prod(column):
            each = "channel" if spatial else "element of a sample"
            raise ModelError(f"'{t.name}' {list(t.shape)} must have one number for each {each} of '{x.name}'")

    def normalize(values: NDArray[Any], *parameters: NDArray[Any]) -> NDArray[Any]:
        gain, offset, centre, variance = (p.reshape(column) for p in parameters)
        return np.asarray((values - centre) / np.sqrt(variance + variance.dtype.type(epsilon)) * gain + offset)

    if not training_mode and outputs == 1:
        return (Island((x, scale, b, mean, var), normalize, x.shape, x.dtype),)
    over = (0, *range(2, x.ndim)) if spatial else (0,)

    def mean_of(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(values.mean(axis=over, dtype=np.float64))

    def variance_of(values: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(values.var(axis=over, dtype=np.float64))

    def trained(values: NDArray[Any], gain: NDArray[Any], offset: NDArray[Any]) -> NDArray[Any]:
        return normalize(values.astype(np.float64), gain, offset, mean_of(values), variance_of(values))

    def running(measure: Callable[..., NDArray[Any]], values: NDArray[Any], old: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(old * momentum + measure(values) * (1 - momentum))

    statistics = [(mean_of, mean), (variance_of, var)]
    steps = [Island((x, scale, b), trained, x.shape, x.dtype)]
    steps += [Island((x, t), partial(running, measure), t.shape, t.dtype) for measure, t in statistics]
    steps += [Island((x,), measure, t.shape, t.dtype) for measure, t in statistics]
    return tuple(steps)
