"""Maximum and mean over windows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .requantize import Tally, requantize_quotient
from .rounding import integer_dtype
from .window import Pads, pad_spatial, windows
from .word import Codes, Integers, Word


def max_pool(
    x: NDArray[Any],
    *,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: Pads,
    least: float | None = None,
) -> NDArray[Any]:
    """Return the largest value in each window of x (N, C, spatial...); padding is never the largest.

    A window wholly in the padding gives `least`: if not given, the smallest value of x's dtype.
    """
    if least is None:
        least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    view = windows(pad_spatial(x, pads, least), kernel, strides, dilations)
    return np.asarray(view.max(axis=tuple(range(-len(kernel), 0))))


def max_index(
    x: NDArray[Any],
    *,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: Pads,
    by_columns: bool = False,
) -> NDArray[np.int64]:
    """Return the flat index into x of the first largest value of each window.

    With `by_columns` the first spatial axis counts fastest. A window wholly in the padding gives -1.
    """
    batch, channels, *spatial = x.shape
    cells = int(np.prod(spatial))
    places = np.arange(cells).reshape(1, 1, *spatial, order="F" if by_columns else "C")
    at = windows(pad_spatial(places, pads, -1), kernel, strides, dilations)
    view = windows(pad_spatial(x, pads, 0), kernel, strides, dilations)
    axes = tuple(range(-len(kernel), 0))
    largest = max_pool(x, kernel=kernel, strides=strides, dilations=dilations, pads=pads)
    hit = ((view == np.expand_dims(largest, axes)) | (view != view)) & (at >= 0)  # NaN is the largest
    flat = (*hit.shape[: -len(kernel)], int(np.prod(kernel)))
    first = hit.reshape(flat).argmax(axis=-1)[..., None]
    index = np.take_along_axis(np.broadcast_to(at, hit.shape).reshape(flat), first, axis=-1)[..., 0]
    planes = np.arange(batch * channels).reshape(batch, channels, *(1,) * len(spatial)) * cells
    return np.where(index < 0, -1, index + planes).astype(np.int64)


def window_sum(
    x: NDArray[Any],
    *,
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: Pads,
) -> NDArray[Any]:
    """Return the sum over each window of x (N, C, spatial...), padding counting as 0, in x's dtype."""
    view = windows(pad_spatial(x, pads, 0), kernel, strides, dilations)
    return np.asarray(view.sum(axis=tuple(range(-len(kernel), 0)), dtype=x.dtype))


def mean_fixed(
    total: Integers,
    count: NDArray[np.int64] | int,
    shift: int,
    word: Word,
    tally: Tally | None = None,
) -> Codes:
    """Return overflow(round(total * 2^-shift / count)): an exact sum, divided exactly, rounded once.

    `count` > 0 broadcasts against `total`.
    """
    left, right = max(-shift, 0), max(shift, 0)
    total_bits = int(np.max(np.abs(total), initial=0)).bit_length() + left
    count_bits = int(np.max(count, initial=1)).bit_length() + right
    wide = integer_dtype(max(total_bits, count_bits))
    numerator = np.asarray(total.astype(wide) * (1 << left), wide)
    denominator = np.asarray(np.asarray(count).astype(wide) * (1 << right), wide)
    return requantize_quotient(numerator, denominator, word, tally=tally)
