"""LpPool and GlobalLpPool."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.kernels.reference.functions import power
from qengine.model.eager.elements import Reals, checked_shape, reals
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.ops.window import Window, check_pads
from qengine.model.steps import Tensor

_Ints = tuple[int, ...]


_MAX_PRODUCTS = 64  # of a power that is computed as products


def _power(x: Reals, p: int) -> Reals:
    """Return x^p for x from 0 to 1."""
    if p > _MAX_PRODUCTS:
        return power(x, p)
    y, square = np.ones_like(x), x
    while p:
        y, square, p = (y * square if p & 1 else y), square * square, p >> 1
    return y


def _check_order(p: int) -> None:
    if p < 1:
        raise ModelError(f"p is {p}, 1 or more is needed")


def _spatial(x: NDArray[Any] | Tensor) -> tuple[int, ...]:
    if x.ndim < 3:
        raise ModelError(f"X {list(x.shape)} needs the axes batch, channel and at least one more")
    return x.shape[2:]


def _scaled_back(total: Reals, largest: Reals, p: int) -> Reals:
    """Return the norm of elements of which `total` is the sum of powers after division by the largest of them."""
    return np.where(np.isfinite(largest), largest * (total if p == 1 else power(total, 1.0 / p)), largest)


def _lp_types(
    x: Tensor,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: _Ints | None = None,
    kernel_shape: _Ints,
    pads: _Ints | None = None,
    strides: _Ints | None = None,
    **_: Any,
) -> tuple[OutputType]:
    window = Window.of(_spatial(x), kernel_shape, auto_pad, strides, dilations, pads, ceil_mode)
    return (((*x.shape[:2], *window.out), x.dtype),)


@evaluator("LpPool", outputs=_lp_types)
def lp_pool(
    x: NDArray[Any],
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: _Ints | None = None,
    kernel_shape: _Ints,
    p: int = 2,
    pads: _Ints | None = None,
    strides: _Ints | None = None,
) -> NDArray[Any]:
    """The norm of order p of each window; padding is 0."""
    size = _spatial(x)
    _check_order(p)
    window = Window.of(size, kernel_shape, auto_pad, strides, dilations, pads, ceil_mode)
    check_pads(window)
    shape = checked_shape((*x.shape[:2], *window.out))
    places = [
        _places(n, k, s, d, a, m)
        for n, k, s, d, (a, _), m in zip(
            size, window.kernel, window.strides, window.dilations, window.pads, window.out, strict=True
        )
    ]
    magnitude = np.abs(reals(x))
    largest = np.zeros(shape)
    for taps in product(*places):
        largest = np.maximum(largest, _taken(magnitude, taps))
    unit = np.where(largest > 0, largest, 1.0)
    total = np.zeros(shape)
    for taps in product(*places):
        total += _power(_taken(magnitude, taps) / unit, p)
    return _scaled_back(total, largest, p).astype(x.dtype)


_Taps = tuple[NDArray[np.int64], NDArray[np.bool_]]


def _places(length: int, kernel: int, stride: int, dilation: int, before: int, count: int) -> list[_Taps]:
    """Return for each tap the place that it has in each window along an axis, and whether that is inside the input.

    A window has no more taps inside the input than fit there, so taps in the padding are left out.
    """
    start = np.arange(count, dtype=np.int64) * stride - before
    first = np.maximum(-(start // dilation), 0)  # the first tap at or after the begin of the input
    taps = []
    for i in range(min(kernel, -(-length // dilation))):
        place = start + (first + i) * dilation
        inside = (first + i < kernel) & (place < length)
        taps.append((np.where(inside, place, 0), inside))
    return taps


def _taken(x: Reals, taps: tuple[_Taps, ...]) -> Reals:
    """Return an element of each window, 0 where it is outside of the input."""
    for axis, (place, inside) in enumerate(taps, 2):
        column = (-1, *(1,) * (x.ndim - axis - 1))
        x = np.where(inside.reshape(column), np.take(x, place, axis), 0.0)
    return x


def _global_lp_types(x: Tensor, **_: Any) -> tuple[OutputType]:
    return (((*x.shape[:2], *(1 for _ in _spatial(x))), x.dtype),)


@evaluator("GlobalLpPool", outputs=_global_lp_types)
def global_lp_pool(x: NDArray[Any], *, p: int = 2) -> NDArray[Any]:
    """The norm of order p of each channel of each image."""
    _check_order(p)
    rows = np.abs(reals(x)).reshape(*x.shape[:2], prod(_spatial(x)))
    largest = rows.max(-1, keepdims=True, initial=0.0)
    powers = _power(rows / np.where(largest > 0, largest, 1.0), p)
    total = np.add.accumulate(powers, axis=-1)[..., -1:] if powers.shape[-1] else np.zeros(largest.shape)
    return _scaled_back(total, largest, p).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)).astype(x.dtype)
