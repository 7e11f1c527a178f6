"""Lowering of linear steps: their filters, their output stage, and the best kernel that computes them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.dot import FactorType
from qengine.kernels.epilogue import LANES, choose_epilogue
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Linear, Tensor
from qengine.model.steps.accumulator import Accumulation
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution
from qengine.runtime.native.encoding import encoded
from qengine.runtime.native.lowering_table import Lowered, LoweringContext, NotLowered, lowers
from qengine.runtime.native.lowerings.depthwise import DepthwiseOp
from qengine.runtime.native.lowerings.dot import DotOp
from qengine.runtime.native.lowerings.linear_op import Filters, LinearOp
from qengine.runtime.native.lowerings.narrow_conv import NarrowConvOp
from qengine.runtime.native.op import float_bounds
from qengine.runtime.native.output_stage import OutputStage
from qengine.runtime.native.sampling import Sampling, convolution_sampling, transposed_sampling
from qengine.runtime.native.tensor_buffer import TensorBuffer, images

OPS: tuple[type[LinearOp], ...] = (DepthwiseOp, NarrowConvOp, DotOp)
"""The kernels of linear steps, best first: the first that accepts a step's filters computes it."""

MAX_SUM = 1 << 45
"""The smallest magnitude of a sum of products that is not lowered: two 32-bit registers, 16 bits apart, hold 47 bits
with their sign, and bias and rounding need room too."""

_MAX_PHASES = 64  # of a transposed convolution: each phase has a table of taps

_STORED: dict[FactorType, str] = {"s8": "u8", "s16": "i16", "f32": "f32"}
_WEIGHT_DTYPE: dict[FactorType, Any] = {"s8": np.int8, "s16": np.int16, "f32": np.float32}
_SIGNED = (np.dtype(np.int8), np.dtype(np.int16))
_ONE_TAP = convolution_sampling((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))


@lowers(Linear, product=Convolution)
def lower_convolution(context: LoweringContext[Linear]) -> Lowered:
    """Lower a convolution."""
    w, sums, *geometry = _window(context)
    return _lower(context, w, context.function.group, convolution_sampling(*geometry), sums=sums)


@lowers(Linear, product=TransposedConvolution)
def lower_transposed_convolution(context: LoweringContext[Linear]) -> Lowered:
    """Lower a transposed convolution, with a table of taps for each phase of its output."""
    w, _, *geometry = _window(context)
    kernel, strides, *_ = geometry
    if prod(strides) > _MAX_PHASES:
        raise NotLowered(f"a transposed convolution of strides {list(context.function.strides)}")
    group = context.function.group
    per_group = w.shape[0] // group
    # (C, M/group, kernel) -> (M, C/group, kernel)
    split = w.reshape(group, per_group, *w.shape[1:]).swapaxes(1, 2)
    filters = split.reshape(group * w.shape[1], per_group, *kernel)
    return _lower(context, filters, group, transposed_sampling(*geometry))


@lowers(Linear, product=ChannelScale)
def lower_channel_scale(context: LoweringContext[Linear]) -> Lowered:
    """Lower one factor for every channel, as a depthwise convolution of one tap."""
    (w, _), x = _constant_weights(context), context.step.x
    if context.function.axis == -1 and x.shape[-1]:
        rows = (int(np.prod(x.shape[:-1], dtype=np.int64)), x.shape[-1], 1, 1)
        return _lower(context, w.reshape(-1, 1, 1, 1), w.size, _ONE_TAP, rows=rows, as_pixels=w.size < LANES)
    if images(x.shape) is None or x.ndim < 3:
        raise NotLowered(f"a tensor with {x.ndim} axes")
    return _lower(context, w.reshape(-1, 1, 1, 1), w.size, _ONE_TAP)


@lowers(Linear, product=MatrixProduct)
def lower_matrix_product(context: LoweringContext[Linear]) -> Lowered:
    """Lower the product of rows with a constant matrix, as a convolution of images of one pixel."""
    (w, sums), x, product = _constant_weights(context), context.step.x, context.function
    if product.transposed_x or w.ndim != 2 or x.ndim < 2 or not x.shape[-1]:
        raise NotLowered("a product of other than rows with a constant matrix")
    matrix = w if product.transposed_w else w.T
    rows = int(np.prod(x.shape[:-1], dtype=np.int64))
    shape = (rows, x.shape[-1], 1, 1)
    sums = sums if product.transposed_w else None
    return _lower(context, matrix[:, :, None, None], 1, _ONE_TAP, rows=shape, sums=sums)


def _lower(
    context: LoweringContext[Linear],
    w: NDArray[Any],
    group: int,
    samplings: list[Sampling],
    *,
    rows: tuple[int, int, int, int] | None = None,
    as_pixels: bool = True,
    sums: NDArray[np.int64] | None = None,
) -> Lowered:
    """Return the op of filters w (channels, inputs of a group, rows, columns).

    Parameters
    ----------
    rows
        Shape as which a matrix product reads its input; None for a convolution.
    as_pixels
        Whether these rows are taken as pixels of an image, which the kernel of dot products can do.
    sums
        See `Filters`; None where they are not known.
    """
    step, out = context.step, context.out
    kind = _kind(step.x, w)
    x = context.request_buffer(step.x, stored=_STORED[kind], shape=rows)
    if sums is None and kind != "f32":
        wide = w.astype(np.int64)
        sums = np.stack([wide.sum(axis=(1, 2, 3)), np.abs(wide).sum(axis=(1, 2, 3))], axis=1)
    own = w.astype(_WEIGHT_DTYPE[kind], copy=False)
    filters = Filters(kind, own, group, samplings, as_pixels=as_pixels and rows is not None, sums=sums)
    stage = _output_stage(context, filters, x)
    op = next(op for op in OPS if op.accepts(filters, x, out))
    shaped = out if rows is None else Tensor(out.name, out.dtype, (rows[0], out.shape[-1]), None, out.format)
    activation = step.activation or NO_ACTIVATION
    bounds = (None, None) if out.format is None else map(out.encode_bound, (activation.low, activation.high))
    buffer = TensorBuffer.of(shaped, op.output_block(filters.channels), *bounds, flagged=context.counts)
    return Lowered.by(op(context.isa, (x,), buffer, filters, stage))


def _constant_weights(context: LoweringContext[Linear]) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Return the elements of the weights, and the sums along all axes but the first, as far as they are known.

    Raises
    ------
    NotLowered
        If weights or bias are computed during the run.
    """
    step = context.step
    if step.w.value is None or (step.b is not None and step.b.value is None):
        raise NotLowered("weights that are computed during the run")
    return encoded(step.w, context.isa)


def _window(
    context: LoweringContext[Linear],
) -> tuple[NDArray[Any], NDArray[np.int64] | None, tuple[int, int], tuple[int, int], tuple[int, int], Any]:
    """Return the weights of a convolution with two spatial axes, their sums, kernel, strides, dilations and pads."""
    product, (w, sums), x = context.function, _constant_weights(context), context.step.x
    if images(x.shape) is None:
        raise NotLowered(f"a convolution with {x.ndim - 2} spatial axes")
    if min(min(p) for p in product.pads) < 0:
        raise NotLowered("negative padding")
    has_one_axis = x.ndim == 3

    def both(values: tuple[Any, ...], other: Any) -> tuple[Any, Any]:
        return (other, values[0]) if has_one_axis else (values[0], values[1])

    w = w[:, :, None] if has_one_axis else w
    return (
        w,
        sums,
        (w.shape[2], w.shape[3]),
        both(product.strides, 1),
        both(product.dilations, 1),
        both(product.pads, (0, 0)),
    )


def _kind(x: Tensor, w: NDArray[Any]) -> FactorType:
    """Return the type of the factors: bytes where input and weights have 8 bits."""
    if x.format is None:
        if x.dtype != np.float32:
            raise NotLowered(f"elements of type {x.dtype}")
        return "f32"
    if x.one_format.bits <= 8 and (not w.size or w.dtype == np.int8 or (w.min() >= -128 and w.max() <= 127)):
        return "s8"
    if w.dtype not in _SIGNED and w.size and w.max() > np.iinfo(np.int16).max:
        raise NotLowered("unsigned weights of 16 bits")
    return "s16"


def _output_stage(context: LoweringContext[Linear], filters: Filters, x: TensorBuffer) -> OutputStage:
    """Return the output stage: bias, requantization and bounds of the activation."""
    step, out, arithmetic = context.step, context.out, context.arithmetic
    channels, activation = filters.channels, step.activation or NO_ACTIVATION
    no_bias = np.zeros(channels, np.float32)
    if out.format is None:
        bias = no_bias
        if step.b is not None:
            bias = _per_channel(step, step.b.elements.reshape(step.bias_shape), channels).astype(np.float32)
        return OutputStage(None, 0, bias, float_bounds(activation.low, activation.high))
    rules = Accumulation(step, out, arithmetic, (x.low, x.high))
    if rules.in_order:
        raise NotLowered("sums that are computed in order, in a register")
    codes = np.zeros(channels, np.int64)
    if rules.bias is not None:
        if rules.bias.dtype == object:
            raise NotLowered("a bias of more than 60 bits")
        codes = _per_channel(step, rules.bias, channels)
    assert filters.sums is not None
    sums = filters.sums[:, 1]
    word = step.x.one_format.word()
    largest = max(word.most, -word.least)
    if int(sums.max(initial=0)) * largest >= MAX_SUM:
        raise NotLowered("sums of products of more than 45 bits")
    requantization = choose_epilogue(
        codes,
        np.abs(codes) + sums * largest,
        np.ravel(rules.shift),
        arithmetic.word(out.one_format),
        low=out.encode_bound(activation.low),
        high=out.encode_bound(activation.high),
        accumulator_bits=rules.kept_bits,
        wraps_half=bool(np.any(rules.half)),
        splits=True,
        counts=context.counts,
    )
    if requantization is None:
        raise NotLowered("sums of more than 64 bits")
    return OutputStage(requantization, x.zero, no_bias, float_bounds(None, None))


def _per_channel(step: Linear, bias: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return a bias, of a shape that broadcasts against the output, as one number for each channel."""
    axis = step.channel_axis % len(step.shape)
    shape = (1,) * (len(step.shape) - bias.ndim) + bias.shape
    if any(n != 1 for i, n in enumerate(shape) if i != axis):
        raise NotLowered("a bias that differs from row to row")
    return np.broadcast_to(bias.reshape(-1), channels).copy()
