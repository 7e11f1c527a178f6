"""What steps compute, as data that can also be called: so that a kernel can be chosen for it.

Each is called with arrays of any element type, as the reference does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.kernels.reference.elementwise import bounded
from qengine.kernels.reference.linear import Matmul, convolution, matrix_product, transposed_convolution
from qengine.kernels.reference.pool import max_pool, window_sum
from qengine.kernels.reference.window import Pads

Array = NDArray[Any]


@dataclass(frozen=True)
class Convolution:
    """Cross-correlation of x (N, C, spatial...) with w (M, C/group, kernel...)."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    group: int

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the sums of products."""
        return convolution(x, w, **vars(self), matmul=matmul)


@dataclass(frozen=True)
class TransposedConvolution:
    """Transposed convolution of x (N, C, spatial...) with w (C, M/group, kernel...)."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads
    output_padding: tuple[int, ...]
    group: int

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the sums of products."""
        return transposed_convolution(x, w, **vars(self), matmul=matmul)


@dataclass(frozen=True)
class MatrixProduct:
    """np.matmul of x and w, each transposed first where asked for."""

    transposed_x: bool = False
    transposed_w: bool = False

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the sums of products."""
        return matrix_product(x.T if self.transposed_x else x, w.T if self.transposed_w else w, matmul=matmul)


@dataclass(frozen=True)
class ChannelScale:
    """x (N, C, ...) times w (C,), channel by channel."""

    def __call__(self, x: Array, w: Array, *, matmul: Matmul = np.matmul) -> Array:
        """Return the products; nothing is summed."""
        del matmul
        return np.asarray(x * w.reshape(-1, *(1,) * (x.ndim - 2)))


@dataclass(frozen=True)
class WindowSum:
    """The sum over each window, padding counting as 0."""

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
    """The largest value of each window; padding never wins, and a window of nothing else gives `least`."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: Pads

    def __call__(self, x: Array, least: Any) -> Array:
        """Return the largest values."""
        return max_pool(x, **vars(self), least=least)


@dataclass(frozen=True)
class AxisExtreme:
    """The largest or smallest element over whole axes; of none it is `end`."""

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
        """Return them as one."""
        return np.concatenate(arrays, axis=self.axis)


@dataclass(frozen=True)
class Curve:
    """A function of one variable that native kernels know in float32, to about 10^-6 of the largest number.

    Attributes
    ----------
    name : "leaky", "hard sigmoid", "hard swish", "logistic", "swish", "tanh", "gelu" or "gelu by tanh".
    exact : it on float64 arrays.
    numbers : its factors and offsets, at most two.
    """

    name: str
    exact: Callable[[Array], Array]
    numbers: tuple[float, ...] = ()

    def __call__(self, x: Array) -> Array:
        """Compute in float64."""
        return self.exact(x)
