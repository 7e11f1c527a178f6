"""Which kernel a linear step gets: dots over taps, the form for few channels, or the one for a filter per channel."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.dot import Kind
from qengine.kernels.epilogue import LANES, choose_epilogue
from qengine.kernels.isa import Isa
from qengine.kernels.layout import natural_block
from qengine.kernels.narrow_conv import pixels_in_vector
from qengine.model.graph import NO_ACTIVATION
from qengine.model.steps import Arithmetic, Linear, Tensor
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution
from qengine.model.steps.linear import bias_codes
from qengine.runtime.native.channelwise import DepthwiseOp, FewOp
from qengine.runtime.native.convolution import DotOp
from qengine.runtime.native.exact import Finishing
from qengine.runtime.native.op import Op, Unfit, float_bounds
from qengine.runtime.native.place import Place, images
from qengine.runtime.native.sampling import Sampling, convolution_sampling, transposed_sampling

_FEW = 8
_LONGEST_STRIDE = 8  # along a row, of the kernel that has a filter for every channel: it reads whole vectors
_MOST_PHASES = 64  # of a transposed convolution: each has a table of its own

Want = Callable[..., Place]
"""(tensor, block=, stored=, shape=) -> the place of an input, in the block and the form that are asked for."""


def lower_linear(step: Linear, out: Tensor, arithmetic: Arithmetic, isa: Isa, want: Want) -> list[Op]:
    """Return the ops of a linear step.

    Raises
    ------
    Unfit
        If native kernels do not compute it.
    """
    if step.w.value is None or (step.b is not None and step.b.value is None):
        raise Unfit("weights that are computed during the run")
    w, group, samplings, as_pixels = _filters(step)
    kind = _kind(step, w)
    shape = _input_shape(step)
    x = want(step.x, stored={"s8": "u8", "s16": "i16", "f32": "f32"}[kind], shape=shape)
    channels = w.shape[0]
    w = w.astype({"s8": np.int8, "s16": np.int16, "f32": np.float32}[kind])
    finishing, low, high = _finishing(step, out, arithmetic, w, x)
    one = samplings[0]
    plain = len(samplings) == 1 and one.down == one.along == 1
    channelwise = group == channels == x.shape[1] and w.shape[1] == 1 and x.block == LANES and not as_pixels
    if channelwise and len(samplings) == 1 and one.along <= _LONGEST_STRIDE:
        place = _out_place(out, shape, low, high, natural_block(channels))
        return [DepthwiseOp(isa, (x,), place, kind, w, one, finishing)]
    wide_enough = out.shape[-1] >= 2 * pixels_in_vector(kind)
    whole_blocks = kind != "f32" or x.shape[1] % LANES == 0
    if (
        plain
        and group == 1
        and x.block == LANES
        and channels <= _FEW
        and wide_enough
        and not as_pixels
        and whole_blocks
    ):
        return [FewOp(isa, (x,), _out_place(out, shape, low, high, 1), kind, w, one, finishing)]
    place = _out_place(out, shape, low, high, natural_block(channels))
    return [DotOp(isa, (x,), place, kind, w, group, samplings, finishing, as_pixels)]


def _out_place(
    out: Tensor, x_shape: tuple[int, int, int, int] | None, low: int | None, high: int | None, block: int
) -> Place:
    if x_shape is None:
        return Place.of(out, block, low, high)
    flat = Tensor(out.name, out.dtype, (x_shape[0], out.shape[-1]), None, out.format)
    return Place.of(flat, block, low, high)


def _input_shape(step: Linear) -> tuple[int, int, int, int] | None:
    """Return the shape as which a matrix product takes its input: rows are images of one pixel."""
    if not isinstance(step.product, MatrixProduct):
        return None
    rows = int(np.prod(step.x.shape[:-1], dtype=np.int64))
    return rows, step.x.shape[-1], 1, 1


def _filters(step: Linear) -> tuple[NDArray[Any], int, list[Sampling], bool]:
    """Return weights (channels, inputs of a group, rows, columns), groups, taps, and whether images are pixels."""
    product, w = step.product, step.w.elements
    if isinstance(product, ChannelScale):
        if images(step.x.shape) is None or step.x.ndim < 3:
            raise Unfit(f"{step.x.ndim} axes")
        return w.reshape(-1, 1, 1, 1), len(w), convolution_sampling((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0))), False
    if isinstance(product, MatrixProduct):
        if product.transposed_x or w.ndim != 2 or step.x.ndim < 2 or not step.x.shape[-1]:
            raise Unfit("a product of other than rows with a constant matrix")
        matrix = w if product.transposed_w else w.T
        return matrix[:, :, None, None], 1, convolution_sampling((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0))), True
    if not isinstance(product, Convolution | TransposedConvolution) or images(step.x.shape) is None:
        raise Unfit(f"{step.x.ndim - 2} spatial axes")
    flat = step.x.ndim == 3
    if min(min(p) for p in product.pads) < 0:
        raise Unfit("negative padding")

    def both(values: tuple[Any, ...], other: Any) -> tuple[Any, Any]:
        return (other, values[0]) if flat else (values[0], values[1])

    w = w[:, :, None] if flat else w
    kernel, pads = (w.shape[2], w.shape[3]), both(product.pads, (0, 0))
    strides, dilations = both(product.strides, 1), both(product.dilations, 1)
    if isinstance(product, Convolution):
        return w, product.group, convolution_sampling(kernel, strides, dilations, pads), False
    if prod(strides) > _MOST_PHASES:
        raise Unfit(f"a transposed convolution of strides {list(product.strides)}")
    per_group = w.shape[0] // product.group
    # (C, M/group, kernel) -> (M, C/group, kernel)
    split = w.reshape(product.group, per_group, *w.shape[1:]).swapaxes(1, 2)
    filters = split.reshape(product.group * w.shape[1], per_group, *kernel)
    return filters, product.group, transposed_sampling(kernel, strides, dilations, pads), False


def _kind(step: Linear, w: NDArray[Any]) -> Kind:
    if step.x.format is None:
        if step.x.dtype != np.float32:
            raise Unfit(f"{step.x.dtype}")
        return "f32"
    if w.size and w.max() > np.iinfo(np.int16).max:
        raise Unfit("unsigned weights of 16 bits")
    narrow = step.x.one_format.bits <= 8 and (not w.size or (w.min() >= -128 and w.max() <= 127))
    return "s8" if narrow else "s16"


def _finishing(
    step: Linear, out: Tensor, arithmetic: Arithmetic, w: NDArray[Any], x: Place
) -> tuple[Finishing, int | None, int | None]:
    """Return how the sums end, and the bounds of the codes that come out."""
    channels = w.shape[0]
    activation = step.activation or NO_ACTIVATION
    if out.format is None:
        bias = np.zeros(channels, np.float32)
        if step.b is not None:
            bias = _per_channel(step, step.b.elements.reshape(step.bias_shape), channels)
        return Finishing(None, 0, bias.astype(np.float32), float_bounds(activation.low, activation.high)), None, None
    n = step.weight_fraction_bits()
    held = step.x.fraction_bits + n
    bias = np.zeros(channels, np.int64)
    if step.b is not None:
        bias = _per_channel(step, bias_codes(step.b, step.bias_shape, held), channels)
    sums = np.abs(w.astype(np.int64)).sum(axis=(1, 2, 3))
    word = step.x.one_format.word()
    largest = max(word.most, -word.least)
    if int(sums.max(initial=0)) * largest >= 1 << 45:
        raise Unfit("sums beyond 45 bits")
    limit = np.abs(bias) + sums * largest
    shift = np.broadcast_to(np.asarray(held - out.fraction_bits).reshape(-1), channels)
    low, high = out.encode_bound(activation.low), out.encode_bound(activation.high)
    found = choose_epilogue(
        bias,
        limit,
        shift,
        arithmetic.word(out.one_format),
        low=low,
        high=high,
        accumulator_bits=arithmetic.accumulator_bits,
        splits=True,
    )
    if found is None:
        raise Unfit("sums that 64 bits do not hold")
    # A format of less than 8 or 16 bits wraps and saturates to its own limits.
    return Finishing(found, x.zero, np.zeros(channels, np.float32), float_bounds(None, None)), low, high


def _per_channel(step: Linear, bias: NDArray[Any], channels: int) -> NDArray[Any]:
    """Return a bias, of a shape that broadcasts against the output, as one number a channel."""
    axis = step.channel_axis % len(step.shape)
    shape = (1,) * (len(step.shape) - bias.ndim) + bias.shape
    if any(n != 1 for i, n in enumerate(shape) if i != axis):
        raise Unfit("a bias that differs from row to row")
    return np.broadcast_to(bias.reshape(-1), channels).copy()
