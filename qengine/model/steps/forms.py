"""Computations of steps as frozen data: a step calls one like a function, and a native kernel is chosen by its fields.

Each form is called with arrays of any element type, as the reference does: real numbers, or codes in int64.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.elementwise import bounded
from qengine.kernels.reference.linear import (
    Matmul,
    convolution,
    matrix_product,
    mirrored_filters,
    spread_out,
    transposed_convolution,
)
from qengine.kernels.reference.pool import max_pool, window_sum
from qengine.kernels.reference.register import RegisterSums, channels_last
from qengine.kernels.reference.window import Pads, pad_spatial, windows

Array = NDArray[Any]

_STRIP_BYTES = 16 << 20
"""Size of the patches that are made at a time."""


class LinearForm(ABC):
    """Sums of products of an input and weights."""

    @abstractmethod
    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the sums of products."""

    @abstractmethod
    def patches(self, x: Array, shape: tuple[int, ...], groups: int) -> Iterator[NDArray[np.float64]]:
        """Yield what the filters are multiplied with, a strip of output positions at a time.

        Parameters
        ----------
        x
            The input.
        shape
            Shape of the weights.
        groups
            Number of groups of channels.

        Yields
        ------
        ndarray
            Shape (groups, positions, inputs x taps), in the order of `qengine.model.ops.filters`.
        """

    @abstractmethod
    def filters(self, w: Array) -> Array:
        """Return the weights as (filters, taps): the terms of each sum in the order of the matrices of `matmul`."""

    def channels_last(self, shape: tuple[int, ...]) -> NDArray[np.intp] | None:  # noqa: ARG002
        """Return the order of the taps in which channels are innermost, of weights of a shape; None for the usual."""
        return None

    def aligned(self, a: Array, x_ndim: int, w_ndim: int) -> Array:  # noqa: ARG002
        """Return numbers that broadcast against the output so that they do against the result of `matmul`."""
        return a

    def in_order(self, x: Array, w: Array, sums: RegisterSums) -> Array:
        """Return the sums of products in a register."""
        return self(x, w, matmul=sums)


@dataclass(frozen=True)
class Convolution(LinearForm):
    """Cross-correlation of x (N, C, spatial...) with w (M, C/group, kernel...)."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    group: int

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the sums of products."""
        return convolution(x, w, **vars(self), matmul=matmul)

    def filters(self, w: Array) -> Array:
        """Return the weights of each filter, channel after channel."""
        return w.reshape(len(w), -1)

    def channels_last(self, shape: tuple[int, ...]) -> NDArray[np.intp]:
        """Return the order of the taps of a filter in which channels are innermost."""
        return channels_last(shape[1], prod(shape[2:]))

    def aligned(self, a: Array, x_ndim: int, w_ndim: int) -> Array:  # noqa: ARG002
        """Return one number for each channel as (groups, channels of a group, 1)."""
        return a if a.size == 1 else a.reshape(self.group, -1, 1)

    def patches(self, x: Array, shape: tuple[int, ...], groups: int) -> Iterator[NDArray[np.float64]]:
        """Yield the windows of the kernel."""
        kernel = shape[2:]
        view = windows(pad_spatial(x, self.pads, 0), kernel, self.strides, self.dilations)
        yield from _strips(view, groups)


@dataclass(frozen=True)
class TransposedConvolution(LinearForm):
    """Transposed convolution of x (N, C, spatial...) with w (C, M/group, kernel...)."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    output_padding: tuple[int, ...]
    group: int

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the sums of products."""
        return transposed_convolution(x, w, **vars(self), matmul=matmul)

    def filters(self, w: Array) -> Array:
        """Return the weights of each filter, channel after channel, the kernel mirrored."""
        mirrored = mirrored_filters(w, self.group)
        return mirrored.reshape(len(mirrored), -1)

    def channels_last(self, shape: tuple[int, ...]) -> NDArray[np.intp]:
        """Return the order of the taps of a filter in which channels are innermost."""
        return channels_last(shape[0] // self.group, prod(shape[2:]))

    def aligned(self, a: Array, x_ndim: int, w_ndim: int) -> Array:  # noqa: ARG002
        """Return one number for each channel as (groups, channels of a group, 1)."""
        return a if a.size == 1 else a.reshape(self.group, -1, 1)

    def patches(self, x: Array, shape: tuple[int, ...], groups: int) -> Iterator[NDArray[np.float64]]:
        """Yield the windows of the kernel over the input spread out by the strides, mirrored as the kernel is."""
        kernel = shape[2:]
        wide, pads = spread_out(x, kernel, self.strides, self.dilations, self.pads, self.output_padding)
        view = windows(pad_spatial(wide, pads, 0), kernel, (1,) * len(kernel), self.dilations)
        yield from _strips(np.flip(view, tuple(range(2 + len(kernel), 2 + 2 * len(kernel)))), groups)


def _strips(view: Array, groups: int) -> Iterator[NDArray[np.float64]]:
    """Yield windows (N, C, out..., kernel...) as (groups, positions, inputs x taps), some rows of one image each."""
    spatial = (view.ndim - 2) // 2
    channels, *out = view.shape[1 : 2 + spatial]
    taps = channels // groups * prod(view.shape[2 + spatial :])
    rows = max(1, _STRIP_BYTES // max(1, 8 * groups * taps * prod(out[1:])))
    # (C, out..., kernel...) -> (C, kernel..., out...) -> (groups, inputs x taps, positions)
    order = (0, *range(1 + spatial, 1 + 2 * spatial), *range(1, 1 + spatial))
    for image in view:
        for start in range(0, out[0], rows):
            strip = image[:, start : start + rows].transpose(order).astype(np.float64)
            yield strip.reshape(groups, taps, -1).swapaxes(1, 2)


@dataclass(frozen=True)
class MatrixProduct(LinearForm):
    """np.matmul of x and w, each transposed first where the field says so."""

    transposed_x: bool = False
    transposed_w: bool = False

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the sums of products."""
        return matrix_product(x.T if self.transposed_x else x, w.T if self.transposed_w else w, matmul=matmul)

    def filters(self, w: Array) -> Array:
        """Return the columns of the matrices, matrix after matrix."""
        turned = w if self.transposed_w or w.ndim == 1 else w.swapaxes(-1, -2)
        return turned.reshape(-1, turned.shape[-1])

    def aligned(self, a: Array, x_ndim: int, w_ndim: int) -> Array:
        """Return numbers with the axes that vectors lack."""
        if a.ndim and w_ndim == 1:
            a = a[..., None]
        return a[..., None, :] if a.ndim and x_ndim == 1 else a

    def patches(self, x: Array, shape: tuple[int, ...], groups: int) -> Iterator[NDArray[np.float64]]:
        """Yield the rows of the input that each matrix of the weights is multiplied with."""
        turned = x.T if self.transposed_x else x
        matrix = shape[::-1] if self.transposed_w else shape
        yield from _row_strips(_rows_by_matrix(turned, matrix, groups))

    def first_patches(self, x: Array, shape: tuple[int, ...], groups: int) -> Iterator[NDArray[np.float64]]:
        """Yield the columns of the second operand that each matrix is multiplied with, where weights stand first.

        Parameters
        ----------
        x
            The second operand.
        shape, groups
            See `patches`.
        """
        turned = x.T if self.transposed_w else x
        columns = turned.swapaxes(-1, -2) if x.ndim > 1 else turned
        matrix = shape if self.transposed_x or len(shape) == 1 else (*shape[:-2], shape[-1], shape[-2])
        yield from _row_strips(_rows_by_matrix(columns, matrix, groups))


def _rows_by_matrix(x: Array, shape: tuple[int, ...], groups: int) -> Array:
    """Return the rows of x that each matrix of a stack (..., inputs, outputs) meets, (groups, positions, inputs)."""
    inputs = shape[-2] if len(shape) > 1 else shape[0]
    if groups == 1:
        return x.reshape(1, -1, inputs)
    stack = np.broadcast_shapes(x.shape[:-2], shape[:-2])
    x = x if x.ndim > 1 else x[None]
    wide = np.broadcast_to(x, (*stack, *x.shape[-2:]))
    own = (*(1,) * (len(stack) - len(shape) + 2), *shape[:-2])
    by_matrix = [axis for axis, length in enumerate(own) if length != 1]
    shared = [axis for axis, length in enumerate(own) if length == 1]
    return wide.transpose(*by_matrix, *shared, len(stack), len(stack) + 1).reshape(groups, -1, inputs)


def _row_strips(rows: Array) -> Iterator[NDArray[np.float64]]:
    """Yield rows (groups, positions, inputs) a strip of positions at a time."""
    size = max(1, _STRIP_BYTES // (8 * max(1, rows.shape[0] * rows.shape[2])))
    for start in range(0, rows.shape[1], size):
        yield rows[:, start : start + size].astype(np.float64)


@dataclass(frozen=True)
class ChannelScale(LinearForm):
    """x times w (C,), channel by channel.

    Attributes
    ----------
    axis : axis of x that counts channels: 1, or -1 for the last.
    """

    axis: int = 1

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the products; nothing is summed."""
        del matmul
        return np.asarray(x * w.reshape(self.column(x.ndim)))

    def filters(self, w: Array) -> Array:
        """Return one weight for each channel."""
        return w.reshape(-1, 1)

    def in_order(self, x: Array, w: Array, sums: RegisterSums) -> Array:
        """Return the product of each element, in a register that begins with the bias."""
        return sums.sums([self(x, w)], x.shape)

    def column(self, ndim: int) -> tuple[int, ...]:
        """Return the shape in which one number for each channel broadcasts against `ndim` axes."""
        return (-1, *(1,) * (ndim - 1 - self.axis % ndim))

    def patches(self, x: Array, shape: tuple[int, ...], groups: int) -> Iterator[NDArray[np.float64]]:  # noqa: ARG002
        """Yield the elements of each channel."""
        yield np.moveaxis(x, self.axis, 0).reshape(groups, -1, 1).astype(np.float64)


@dataclass(frozen=True)
class WindowSum:
    """The sum over each window; padding counts as 0."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads

    def __call__(self, x: Array) -> Array:
        """Return the sums."""
        return window_sum(x, **vars(self))


@dataclass(frozen=True)
class AxisSum:
    """The sum over whole axes."""

    axes: tuple[int, ...]
    keepdims: bool

    def __call__(self, x: Array) -> Array:
        """Return the sums."""
        return np.asarray(x.sum(axis=self.axes, keepdims=self.keepdims, dtype=x.dtype))


@dataclass(frozen=True)
class WindowMax:
    """The largest value of each window; padding is never the largest, and a window of padding alone gives `least`."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads

    def __call__(self, x: Array, least: Any) -> Array:
        """Return the largest values."""
        return max_pool(x, **vars(self), least=least)


@dataclass(frozen=True)
class AxisExtreme:
    """The largest or smallest element over whole axes; `end` where there is no element."""

    axes: tuple[int, ...]
    keepdims: bool
    largest: bool

    def __call__(self, x: Array, end: Any) -> Array:
        """Return the elements."""
        pick = np.max if self.largest else np.min
        return np.asarray(pick(x, axis=self.axes, keepdims=self.keepdims, initial=end))


@dataclass(frozen=True)
class Bounded:
    """x, not below `low` and not above `high`."""

    def __call__(self, x: Array, low: Any, high: Any) -> Array:
        """Return the bounded elements."""
        return bounded(x, low, high)


@dataclass(frozen=True)
class Reshaped:
    """The same elements in another shape."""

    shape: tuple[int, ...]

    def __call__(self, x: Array) -> Array:
        """Return a view."""
        return x.reshape(self.shape)


@dataclass(frozen=True)
class Concatenated:
    """Tensors one after the other along an axis."""

    axis: int

    def __call__(self, *arrays: Array) -> Array:
        """Return one array."""
        return np.concatenate(arrays, axis=self.axis)


@dataclass(frozen=True)
class Curve:
    """A function of one variable that native kernels know in float32, to about 10^-6 of the largest number.

    Attributes
    ----------
    name : name of the function in `qengine.kernels.emit.function`.
    exact : the function on float64 arrays.
    numbers : factors and offsets of the function, at most two.
    """

    name: str
    exact: Callable[[Array], Array]
    numbers: tuple[float, ...] = ()

    def __call__(self, x: Array) -> Array:
        """Compute in float64."""
        return self.exact(x)
