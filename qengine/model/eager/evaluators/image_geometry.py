"""Col2Im, AffineGrid and CenterCropPad."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError, UnsupportedError
from qengine.model.eager.elements import axes_of, check_shape, checked_shape, reals, widened, zero
from qengine.model.eager.evaluator import OutputType, evaluator, known_elements
from qengine.model.ops.window import Window
from qengine.model.steps import Tensor

_Ints = tuple[int, ...]


def _col2im_types(x: Tensor, image_shape: Tensor, block_shape: Tensor, **_: Any) -> tuple[OutputType]:
    image, block = known_elements(image_shape), known_elements(block_shape)
    check_shape(x, (None, None, None), "the input")
    return (((x.shape[0], x.shape[1] // max(prod(block.tolist()), 1), *image.tolist()), x.dtype),)


@evaluator("Col2Im", since=18, outputs=_col2im_types)
def col2im(
    x: NDArray[Any],
    image_shape: NDArray[Any],
    block_shape: NDArray[Any],
    *,
    dilations: _Ints | None = None,
    pads: _Ints | None = None,
    strides: _Ints | None = None,
) -> NDArray[Any]:
    """Images of blocks that may overlap, and are added where they do."""
    if x.dtype.kind in "bO":
        raise UnsupportedError(f"the input is {x.dtype}, and blocks that overlap are added; numbers are supported")
    check_shape(x, (None, None, None), "the input")
    check_shape(image_shape, (None,), "image_shape")
    check_shape(block_shape, image_shape.shape, "block_shape")
    image, block = tuple(image_shape.tolist()), tuple(block_shape.tolist())
    if min((*image, *block), default=0) < 1:
        raise ModelError(f"image_shape {list(image)} and block_shape {list(block)} need positive numbers")
    window = Window.of(image, block, "NOTSET", strides, dilations, pads)
    if x.shape[1] % prod(block) or x.shape[2] != prod(window.out):
        raise ModelError(
            f"the input {list(x.shape)} does not fit blocks of {list(block)} at {list(window.out)} places: "
            f"[batch, channels x {prod(block)}, {prod(window.out)}] is needed"
        )
    channels = x.shape[1] // prod(block)
    y = np.zeros(checked_shape((x.shape[0], channels, *window.padded((1, 1, *image))[2:])), widened(x[:0]).dtype)
    if channels:
        columns = x.reshape(x.shape[0], channels, prod(block), *window.out)
        for i, tap in enumerate(np.ndindex(*block)):
            steps = zip(tap, window.dilations, window.strides, window.out, strict=True)
            cells = tuple(slice(t * d, t * d + (m - 1) * s + 1, s) for t, d, s, m in steps)
            y[(slice(None), slice(None), *cells)] += columns[:, :, i]
    inside = tuple(slice(a, a + n) for n, (a, _) in zip(image, window.pads, strict=True))
    return y[(slice(None), slice(None), *inside)].astype(x.dtype)


def _affine_grid_types(theta: Tensor, size: Tensor, **_: Any) -> tuple[OutputType]:
    lengths = known_elements(size).tolist()
    return (((*lengths[:1], *lengths[2:], max(len(lengths) - 2, 0)), theta.dtype),)


@evaluator("AffineGrid", since=20, outputs=_affine_grid_types)
def affine_grid(theta: NDArray[Any], size: NDArray[Any], *, align_corners: int = 0) -> NDArray[Any]:
    """Coordinates of the pixels of images of a size, from -1 to 1, multiplied by the matrices theta."""
    check_shape(size, (None,), "size")
    axes = size.size - 2
    if axes not in (2, 3):
        raise ModelError(f"size {size.tolist()} has {size.size} numbers, 4 or 5 are needed")
    lengths = tuple(size.tolist())[2:]
    check_shape(theta, (int(size[0]), axes, axes + 1), "theta")
    shape = checked_shape((theta.shape[0], *lengths, axes))
    grid = np.ones((*lengths, axes + 1))
    for axis, n in enumerate(lengths):
        steps = np.arange(n, dtype=np.float64)
        along = 2.0 * steps / max(n - 1, 1) - 1.0 if align_corners else (2.0 * steps + 1.0) / max(n, 1) - 1.0
        if align_corners and n == 1:
            along[:] = 0.0  # as in torch: a single pixel is in the middle
        grid[..., axes - 1 - axis] = along.reshape(-1, *(1,) * (axes - 1 - axis))
    y = grid.reshape(-1, axes + 1) @ reals(theta).transpose(0, 2, 1)
    return y.reshape(shape).astype(theta.dtype)


def _crop_types(x: Tensor, shape: Tensor, *, axes: _Ints | None = None) -> tuple[OutputType]:
    return ((_cropped(x, known_elements(shape), axes), x.dtype),)


def _cropped(x: NDArray[Any] | Tensor, shape: NDArray[Any], axes: _Ints | None) -> _Ints:
    """Return the lengths of all axes after those over `axes` became those of `shape`."""
    over = tuple(range(x.ndim)) if axes is None else axes_of(axes, x.ndim)
    check_shape(shape, (len(over),), "shape")
    lengths = list(x.shape)
    for axis, n in zip(over, shape.tolist(), strict=True):
        lengths[axis] = n
    return tuple(lengths)


@evaluator("CenterCropPad", since=18, outputs=_crop_types)
def center_crop_pad(x: NDArray[Any], shape: NDArray[Any], *, axes: _Ints | None = None) -> NDArray[Any]:
    """x cut or filled with zeros at both ends of axes; an odd element is cut from, or added at, the end."""
    lengths = _cropped(x, shape, axes)
    y = np.full(checked_shape(lengths), zero(x.dtype), x.dtype)
    read, write = [], []
    for n, m in zip(x.shape, lengths, strict=True):
        read.append(slice(max(n - m, 0) // 2, max(n - m, 0) // 2 + min(n, m)))
        write.append(slice(max(m - n, 0) // 2, max(m - n, 0) // 2 + min(n, m)))
    y[tuple(write)] = x[tuple(read)]
    return y
