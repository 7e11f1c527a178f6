"""DeformConv: a convolution whose taps are at computed offsets."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import Reals, check_shape, checked_shape, reals
from qengine.model.eager.evaluator import OutputType, evaluator
from qengine.model.ops.window import Window
from qengine.model.steps import Tensor

_Ints = tuple[int, ...]


@dataclass(frozen=True)
class DeformOptions:
    """The attributes of DeformConv."""

    dilations: _Ints | None = None
    group: int = 1
    kernel_shape: _Ints | None = None
    offset_group: int = 1
    pads: _Ints | None = None
    strides: _Ints | None = None


def _window(x: NDArray[Any] | Tensor, w: NDArray[Any] | Tensor, options: DeformOptions) -> Window:
    """Return the windows; raise ModelError where the weights do not fit the input."""
    if x.ndim < 3 or w.ndim != x.ndim:
        raise ModelError(f"X {list(x.shape)} and W {list(w.shape)} need the same number of axes, 3 or more")
    channels, group = x.shape[1], options.group
    if group < 1 or channels % group or w.shape[0] % group or w.shape[1] * group != channels:
        raise ModelError(f"group {group} does not fit X {list(x.shape)} and W {list(w.shape)}")
    if options.offset_group < 1 or channels % options.offset_group:
        raise ModelError(f"offset_group is {options.offset_group}, a divisor of {channels} channels is needed")
    kernel = w.shape[2:]
    if options.kernel_shape is not None and tuple(options.kernel_shape) != kernel:
        raise ModelError(f"kernel_shape {list(options.kernel_shape)} is not that of W {list(w.shape)}")
    return Window.of(x.shape[2:], kernel, "NOTSET", options.strides, options.dilations, options.pads)


def _interpolated(x: Reals, places: Reals, size: _Ints) -> Reals:
    """Return the elements at places in an image, linear between elements and 0 outside.

    Parameters
    ----------
    x
        Images [batch, group, channel, elements].
    places
        Coordinates [batch, group, axis, place].
    size
        Lengths of the image's axes.
    """
    bounded = places.clip(-2.0, (np.array(size) + 1.0)[:, None])  # so that a place far outside is an integer too
    low = np.floor(bounded)
    fraction, first = bounded - low, low.astype(np.int64)
    total = np.zeros((*x.shape[:3], places.shape[-1]))
    for corner in product((0, 1), repeat=len(size)):
        weight = np.ones(places[:, :, 0].shape)
        flat = np.zeros(weight.shape, np.int64)
        for axis, (high, n) in enumerate(zip(corner, size, strict=True)):
            at = first[:, :, axis] + high
            inside = (at >= 0) & (at < n)
            part = fraction[:, :, axis] if high else 1.0 - fraction[:, :, axis]
            weight = np.where(inside, weight * part, 0.0)
            flat = flat * n + np.where(inside, at, 0)
        taken = np.take_along_axis(x, flat[:, :, None], axis=3)
        total += np.where(weight[:, :, None] > 0, weight[:, :, None] * taken, 0.0)
    return total


def _deform_types(x: Tensor, w: Tensor, *_: Tensor | None, options: DeformOptions) -> tuple[OutputType]:
    return (((x.shape[0], w.shape[0], *_window(x, w, options).out), x.dtype),)


@evaluator("DeformConv", outputs=_deform_types)
def deform_conv(
    x: NDArray[Any],
    w: NDArray[Any],
    offset: NDArray[Any],
    b: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    *,
    options: DeformOptions,
) -> NDArray[Any]:
    """Convolution of x with w, each tap moved by an offset and multiplied by a mask."""
    window = _window(x, w, options)
    count, taps, out = len(window.kernel), prod(window.kernel), window.out
    batch, groups, parts = x.shape[0], options.group, options.offset_group
    places = prod(out)
    check_shape(offset, (batch, parts * taps * count, *out), "offset")
    if mask is not None:
        check_shape(mask, (batch, parts * taps, *out), "mask")
    if b is not None:
        check_shape(b, w.shape[:1], "B")
    shape = checked_shape((batch, w.shape[0], *out))
    checked_shape((batch, x.shape[1], *out))
    if np.isnan(reals(offset)).any():
        raise ModelError("offset has elements that are NaN")
    y = np.zeros((batch, groups, w.shape[0] // groups, places))
    if y.size and x.shape[1]:
        images = reals(x).reshape(batch, parts, x.shape[1] // parts, prod(x.shape[2:]))
        weights = reals(w).reshape(groups, w.shape[0] // groups, w.shape[1], taps)
        moves = reals(offset).reshape(batch, parts, taps, count, places)
        factors = None if mask is None else reals(mask).reshape(batch, parts, taps, places)
        starts = np.indices(out).reshape(count, places) * np.array(window.strides)[:, None]
        starts = starts - np.array([before for before, _ in window.pads])[:, None]
        for i, tap in enumerate(np.ndindex(*window.kernel)):
            at = starts + (np.array(tap) * window.dilations)[:, None] + moves[:, :, i]
            values = _interpolated(images, at, x.shape[2:])
            if factors is not None:
                values *= factors[:, :, i, None]
            y += weights[:, :, :, i] @ values.reshape(batch, groups, w.shape[1], places)
    y = y.reshape(shape)
    return (y if b is None else y + reals(b).reshape(-1, *(1,) * count)).astype(x.dtype)
