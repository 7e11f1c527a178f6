"""MaxUnpool: the elements of a MaxPool at their places in its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.kernels.reference.window import Pads
from qengine.model.eager.elements import check_shape, checked_shape
from qengine.model.eager.evaluator import OutputType, evaluator, known_elements
from qengine.model.ops.window import paired, per_axis
from qengine.model.steps import Tensor

_Ints = tuple[int, ...]


@dataclass(frozen=True)
class _Pool:
    """Windows of the MaxPool whose inverse is asked: numbers per spatial axis."""

    kernel: _Ints
    strides: _Ints
    pads: Pads

    def shape(self, pooled: _Ints) -> _Ints:
        """Return the shape that the windows of a result of the MaxPool span."""
        spans = zip(pooled[2:], self.strides, self.pads, self.kernel, strict=True)
        return (*pooled[:2], *((n - 1) * s - a - b + k for n, s, (a, b), k in spans))

    def contain(self, indices: NDArray[np.int64], shape: _Ints) -> bool:
        """Whether each index into a tensor of this shape is inside of the window that its place belongs to."""
        if min(shape, default=0) < 1 or not _are_in_range(indices, shape):
            return False
        places = np.unravel_index(indices, shape)
        strides, pads, kernel = (1, 1, *self.strides), ((0, 0), (0, 0), *self.pads), (1, 1, *self.kernel)
        for axis, (place, s, (a, _), k) in enumerate(zip(places, strides, pads, kernel, strict=True)):
            own = np.arange(indices.shape[axis]).reshape(-1, *(1,) * (indices.ndim - axis - 1))
            offset = place - (own * s - a)
            if (offset < 0).any() or (offset >= k).any():
                return False
        return True


def _are_in_range(indices: NDArray[np.int64], shape: _Ints) -> bool:
    return not indices.size or bool(indices.min() >= 0 and indices.max() < np.prod(shape, dtype=object))


def _scattered(x: NDArray[Any], indices: NDArray[np.int64], shape: _Ints) -> NDArray[Any]:
    """Return zeros of a shape with each element at its index."""
    if not _are_in_range(indices, shape):
        size = int(np.prod(shape, dtype=object))
        wrong = indices[(indices < 0) | (indices >= size)]
        raise ModelError(f"I has the index {wrong[-1]}, outside of 0..{size - 1}")
    y = np.zeros(shape, x.dtype)
    y.reshape(-1)[indices.ravel()] = x.ravel()
    return y


def _unpool_types(
    x: Tensor,
    indices: Tensor,
    output_shape: Tensor | None = None,
    *,
    kernel_shape: _Ints,
    pads: _Ints | None = None,
    strides: _Ints | None = None,
) -> tuple[OutputType]:
    if output_shape is not None:
        return ((tuple(known_elements(output_shape).tolist()), x.dtype),)
    check_shape(indices, x.shape, "I")
    return ((_pool_of(x, kernel_shape, pads, strides).shape(x.shape), x.dtype),)


def _pool_of(x: NDArray[Any] | Tensor, kernel: _Ints, pads: _Ints | None, strides: _Ints | None) -> _Pool:
    if x.ndim < 3:
        raise ModelError(f"X {list(x.shape)} needs the axes batch, channel and at least one more")
    spatial = x.ndim - 2
    sizes, steps = per_axis(kernel, spatial, "kernel_shape"), per_axis(strides, spatial, "strides")
    return _Pool(sizes, steps, paired(pads, spatial))


@evaluator("MaxUnpool", outputs=_unpool_types)
def max_unpool(
    x: NDArray[Any],
    indices: NDArray[Any],
    output_shape: NDArray[Any] | None = None,
    *,
    kernel_shape: _Ints,
    pads: _Ints | None = None,
    strides: _Ints | None = None,
) -> NDArray[Any]:
    """Zeros in the shape of a MaxPool's input, with each element of x at its index.

    Indices count the elements of the result, like those of MaxPool, and as in ONNX Runtime. The tests of ONNX have a
    case whose indices count the elements of the smaller shape that the strides give. Indices are read so where that
    alone puts each inside of the window that its element comes from.
    """
    pool = _pool_of(x, kernel_shape, pads, strides)
    check_shape(indices, x.shape, "I")
    spanned = pool.shape(x.shape)
    if output_shape is None:
        return _scattered(x, indices, checked_shape(spanned))
    check_shape(output_shape, (x.ndim,), "output_shape")
    shape = checked_shape(tuple(output_shape.tolist()))
    if shape[:2] != x.shape[:2]:
        raise ModelError(f"output_shape {list(shape)} begins with other lengths than X {list(x.shape)}")
    is_larger = all(m >= n for m, n in zip(shape, spanned, strict=True))
    if not is_larger or pool.contain(indices, shape) or not pool.contain(indices, spanned):
        return _scattered(x, indices, shape)
    y = np.zeros(shape, x.dtype)
    y[tuple(map(slice, spanned))] = _scattered(x, indices, spanned)
    return y
