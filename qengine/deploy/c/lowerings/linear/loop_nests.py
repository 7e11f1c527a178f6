"""The loops of each form of a linear operator; see `linear_loops`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.lowerings import nests
from qengine.deploy.c.lowerings.linear.loops import WINDOWS, Factor, Loop, Nest, Window
from qengine.model.steps import Linear
from qengine.model.steps.forms import ChannelScale, Convolution, MatrixProduct, TransposedConvolution
from qengine.model.steps.moves import Strided

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
    return nests.broadcast_strides(wide, Strided.whole(wide).strides, wide)


def too_many_windows(step: Linear) -> bool:
    """Whether a convolution has more axes than the kernels have windows."""
    return isinstance(step.product, Convolution | TransposedConvolution) and len(step.x.shape) - 2 > WINDOWS


def nests_of(step: Linear, at: Operands) -> tuple[Nest, ...]:
    """Return the loops of a linear operator: one nest, or one for each phase of a transposed convolution."""
    form = step.product
    if isinstance(form, Convolution):
        return (_convolution(step, form, at),)
    if isinstance(form, TransposedConvolution):
        return _transposed(step, form, at)
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


@dataclass(frozen=True)
class Phases:
    """Outputs of a transposed convolution along an axis that are found alike: a convolution with a stride of 1.

    Output o sums x[i] * w[k] over all i * stride + k * dilation - pad = o. The outputs o = phase + q * stride meet
    every (stride / gcd)-th tap of the kernel only, and neighbours among these taps meet inputs that are dilation / gcd
    apart. Phases with as many taps, outputs and padding differ in nothing but their weights.

    Attributes
    ----------
    first, every, count : first phase, distance of two, and their number.
    taps : taps of each phase, in the order in which a convolution reads them.
    pad, dilation : padding, and distance of the inputs of two taps.
    outputs : number of outputs of each phase.
    """

    first: int
    every: int
    taps: tuple[tuple[int, ...], ...]
    pad: int
    dilation: int
    outputs: int

    @property
    def count(self) -> int:
        """The number of phases."""
        return len(self.taps)

    @property
    def apart(self) -> tuple[Phases, ...]:
        """The phases, each by itself."""
        return tuple(
            replace(self, first=self.first + i * self.every, every=1, taps=(taps,)) for i, taps in enumerate(self.taps)
        )

    def with_next(self, other: Phases) -> Phases | None:
        """Return these phases and a later one; None if it is not like these."""
        every = other.first - self.first if self.count == 1 else self.every
        follows = other.first == self.first + every * self.count
        alike = replace(self, first=other.first, every=1, taps=other.taps) == other
        firsts = [taps[0] if taps else 0 for taps in (*self.taps, *other.taps)]
        evenly = len({b - a for a, b in pairwise(firsts)}) == 1
        if follows and alike and evenly and len(self.taps[0]) == len(other.taps[0]):
            return replace(self, every=every, taps=(*self.taps, *other.taps))
        return None


def phases_of(form: TransposedConvolution, kernel: int, outputs: int, axis: int) -> list[Phases]:
    """Return the phases along a spatial axis, those together that are alike.

    Parameters
    ----------
    form
        The transposed convolution.
    kernel, outputs
        Length of the kernel and of the output along the axis.
    axis
        The axis, counted from the first spatial one.
    """
    stride, dilation, pad = form.strides[axis], form.dilations[axis], form.pads[axis][0]
    found: list[Phases] = []
    for phase in range(min(stride, outputs)):
        first = phase + pad
        taps = tuple(k for k in reversed(range(kernel)) if (first - k * dilation) % stride == 0)
        before = -((first - taps[0] * dilation) // stride) if taps else 0
        apart = dilation // gcd(stride, dilation)
        one = Phases(phase, 1, (taps,), before, apart, -(-(outputs - phase) // stride))
        joined = found[-1].with_next(one) if found else None
        found[-1:] = [joined] if joined is not None else [*found[-1:], one]
    return found


def _transposed(step: Linear, form: TransposedConvolution, at: Operands) -> tuple[Nest, ...]:
    kernel = step.w.shape[2:]
    channels, filters = step.w.shape[0] // form.group, step.w.shape[1]
    known = at.weights
    if known is not None:  # (groups, channels, filters, kernel...), and then as those of a convolution
        known = known.reshape(form.group, channels, filters, *kernel).swapaxes(1, 2)
    own = () if known is not None else (at.w[0] * channels, at.w[1], at.w[0])
    axes = [phases_of(form, n, step.shape[2 + i], i) for i, n in enumerate(kernel)]
    found = []
    for phases in product(*axes):
        windows, loops, array = [], [*_channels(step, at, form.group, filters, channels)], known
        steps, moves, offset, y = [], [], 0, 0
        for i, one in enumerate(phases):
            every, axis = form.strides[i], 2 + i
            loop = at.loop(axis, one.outputs, every=every)
            taps = len(one.taps[0])
            windows.append(Window(loop, taps, one.dilation, 1, one.pad, step.x.shape[axis], at.x[axis], 3 + i))
            loops.append(at.loop(axis, one.count, every=one.every, w=3 + len(kernel) + i))
            y += one.first * at.y[axis]
            if array is not None:
                picked = np.take(array, np.array(one.taps, np.intp).reshape(one.count, taps), axis=3 + i)
                array = np.moveaxis(picked, 3 + i, -1)
            elif taps:
                offset += one.taps[0][0] * at.w[axis]
                steps.append((one.taps[0][1] - one.taps[0][0]) * at.w[axis] if taps > 1 else 0)
                moves.append((one.taps[1][0] - one.taps[0][0]) * at.w[axis] if one.count > 1 else 0)
            else:
                steps.append(0)
                moves.append(0)
        shape = (form.group, filters, channels, *(w.taps for w in windows), *(one.count for one in phases))
        factor = Factor(shape, array, (*own, *steps, *moves) if known is None else (), offset)
        found.append(Nest(tuple(loops), tuple(windows), channels, at.x[1], 2, factor, 0, y))
    return tuple(found)


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
