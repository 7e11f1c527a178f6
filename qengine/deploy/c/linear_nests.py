"""The loops of each form of a linear operator; see `nest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.nest import WINDOWS, Factor, Loop, Nest, Window
from qengine.model.steps import Linear
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operands:
    """Places of the operands of a linear operator in memory.

    Attributes
    ----------
    x, y : elements along each axis of input and output, from one place to the next.
    w : elements along each axis of the weights, if they are computed; () if they are known.
    weights : known weights; None if they are computed.
    bias, shift : elements along each axis of the output in the bias and in the table of shifts.
    """

    x: Shape
    y: Shape
    w: Shape
    weights: Array | None
    bias: Shape
    shift: Shape

    def loop(self, axis: int, count: int, *, every: int = 1, x: int = 0, w: int | None = None) -> Loop:
        """Return a loop over an axis of the output, `every` places a step."""
        y, bias, shift = (strides[axis] * every for strides in (self.y, self.bias, self.shift))
        return Loop(count, x, y, bias, shift, w)


def broadcast_strides(shape: Shape, ndim: int) -> Shape:
    """Return the elements along each axis of `ndim` in an array of a shape that broadcasts, in ONNX's order."""
    wide = (*(1,) * (ndim - len(shape)), *shape)
    return tuple(0 if n == 1 else prod(wide[axis + 1 :]) for axis, n in enumerate(wide))


def too_many_windows(step: Linear) -> bool:
    """Whether a convolution has more axes than the kernels have windows."""
    return isinstance(step.product, Convolution | TransposedConvolution) and len(step.x.shape) - 2 > WINDOWS


def nests_of(step: Linear, at: Operands) -> tuple[Nest, ...]:
    """Return the loops of a linear operator: one nest, or one for each phase of a transposed convolution."""
    form = step.product
    if isinstance(form, Convolution):
        return (_convolution(step, form, at),)
    if isinstance(form, TransposedConvolution):
        return _phases(step, form, at)
    if isinstance(form, MatrixProduct):
        return (_matrix_product(step, form, at),)
    assert isinstance(form, ChannelScale), form
    return (_channel_scale(step, form, at),)


def _convolution(step: Linear, form: Convolution, at: Operands) -> Nest:
    kernel = step.w.shape[2:]
    filters, channels = step.w.shape[0] // form.group, step.w.shape[1]
    shape = (form.group, filters, channels, *kernel)
    weights = None if at.weights is None else at.weights.reshape(shape)
    strides = () if at.weights is not None else (at.w[0] * filters, *at.w)
    windows = tuple(
        Window(
            at.loop(2 + i, step.shape[2 + i]),
            kernel[i],
            form.dilations[i],
            form.strides[i],
            form.pads[i][0],
            step.x.shape[2 + i],
            at.x[2 + i],
            3 + i,
        )
        for i in range(len(kernel))
    )
    factor = Factor(shape, weights, strides)
    return Nest(_channels(step, at, form.group, filters, channels), windows, channels, at.x[1], 2, factor)


def _channels(step: Linear, at: Operands, group: int, filters: int, channels: int) -> tuple[Loop, ...]:
    """Return the loops over images, groups and filters."""
    return (
        at.loop(0, step.shape[0], x=at.x[0]),
        at.loop(1, group, every=filters, x=at.x[1] * channels, w=0),
        at.loop(1, filters, w=1),
    )


def _phases(step: Linear, form: TransposedConvolution, at: Operands) -> tuple[Nest, ...]:
    """Return a nest for each phase of a transposed convolution.

    Output o sums x[i] * w[k] over all i * stride + k * dilation - pad = o. The outputs o = phase + q * stride meet
    every (stride / gcd)-th tap of the kernel only, and neighbours among these taps meet inputs that are dilation / gcd
    apart. So each phase is a convolution with stride 1, of weights of its own.
    """
    kernel, spatial = step.w.shape[2:], range(len(step.w.shape) - 2)
    channels, filters = step.w.shape[0] // form.group, step.w.shape[1]
    known = at.weights
    if known is not None:  # (groups, channels, filters, kernel...), and then as those of a convolution
        known = known.reshape(form.group, channels, filters, *kernel).swapaxes(1, 2)
    own = () if known is not None else (at.w[0] * channels, at.w[1], at.w[0])
    loops = _channels(step, at, form.group, filters, channels)
    found = []
    for phase in product(*(range(min(form.strides[i], step.shape[2 + i])) for i in spatial)):
        windows, picks, moves, offset = [], [], [], 0
        for i in spatial:
            taps, pad, dilation = _taps_of(phase[i] + form.pads[i][0], kernel[i], form.strides[i], form.dilations[i])
            loop = at.loop(2 + i, -(-(step.shape[2 + i] - phase[i]) // form.strides[i]), every=form.strides[i])
            windows.append(Window(loop, len(taps), dilation, 1, pad, step.x.shape[2 + i], at.x[2 + i], 3 + i))
            picks.append(taps)
            if known is None:
                offset += taps[0] * at.w[2 + i] if taps else 0
                moves.append((taps[1] - taps[0]) * at.w[2 + i] if len(taps) > 1 else 0)
        shape = (form.group, filters, channels, *(len(taps) for taps in picks))
        array = known
        for i, taps in enumerate(picks):
            array = None if array is None else np.take(array, taps, axis=3 + i)
        x = 0
        y = sum(p * at.y[2 + i] for i, p in enumerate(phase))
        factor = Factor(shape, array, (*own, *moves) if known is None else (), offset)
        found.append(Nest(loops, tuple(windows), channels, at.x[1], 2, factor, x, y))
    return tuple(found)


def _taps_of(first: int, kernel: int, stride: int, dilation: int) -> tuple[list[int], int, int]:
    """Return the taps of a phase, mirrored as a convolution reads them, its padding, and the distance of their inputs.

    The phase begins at output `first`, counted from the start of the padding: it sums inputs (first - k * dilation) /
    stride over the taps k for which that is a whole number.
    """
    taps = [k for k in reversed(range(kernel)) if (first - k * dilation) % stride == 0]
    if not taps:
        return [], 0, 1
    return taps, -((first - taps[0] * dilation) // stride), dilation // gcd(stride, dilation)


def _matrix_product(step: Linear, form: MatrixProduct, at: Operands) -> Nest:
    x, w = _turned(at.x, form.transposed_x), _turned(tuple(range(len(step.w.shape))), form.transposed_w)
    x_shape, w_shape = _turned(step.x.shape, form.transposed_x), _turned(step.w.shape, form.transposed_w)
    has_rows, has_columns = len(x) > 1, len(w) > 1
    inner = w[-2] if has_columns else w[0]
    stacks = len(step.shape) - has_rows - has_columns
    loops = []
    for axis in range(stacks):
        xi, wi = axis - stacks + len(x) - 2, axis - stacks + len(w) - 2
        moves = at_axis(x, x_shape, xi)
        loops.append(at.loop(axis, step.shape[axis], x=moves, w=w[wi] if wi >= 0 and w_shape[wi] != 1 else None))
    if has_rows:
        loops.append(at.loop(stacks, step.shape[stacks], x=x[-2]))
    if has_columns:
        loops.append(at.loop(len(step.shape) - 1, step.shape[-1], w=w[-1]))
    factor = Factor(step.w.shape, at.weights, at.w)
    return Nest(tuple(loops), (), x_shape[-1], x[-1], inner, factor)


def at_axis(strides: Sequence[int], shape: Shape, axis: int) -> int:
    """Return the stride of an axis that is broadcast where it has length 1 or is missing."""
    return strides[axis] if axis >= 0 and shape[axis] != 1 else 0


def _turned(axes: Shape, is_transposed: bool) -> Shape:
    return axes[::-1] if is_transposed else axes


def _channel_scale(step: Linear, form: ChannelScale, at: Operands) -> Nest:
    channel = form.axis % len(step.shape)
    loops = tuple(at.loop(axis, n, x=at.x[axis], w=0 if axis == channel else None) for axis, n in enumerate(step.shape))
    return Nest(loops, (), 1, 0, None, Factor(step.w.shape, at.weights, at.w))
