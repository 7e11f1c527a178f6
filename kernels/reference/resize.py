"""Resize: taps around the coordinates of the input, and weighted sums over the taps.

ONNX defines a resize by coordinates: an output index is mapped to a coordinate of the input by one of seven formulas
(`coordinates`), along each axis on its own. The input has values at whole coordinates only, so an output is a
weighted sum of a few neighbours, the *taps*: one for "nearest" (`nearest_taps`), two for linear and four for cubic
interpolation, more with antialiasing (`interpolation_taps`). Taps depend on the shapes alone, so they are computed once
and every axis is a table (out, taps) of indices and of weights; `ResizeTaps` is that table.

Float32 applies the tables one axis after the other. In fixed point weights are integers with `tap_bits` fraction bits
that sum to exactly one (`integer_taps`), so that a constant image keeps its value; the sums over all axes are exact and
are rounded once, by tap_bits * axes bits more than the change of format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coordinates import Axis, Coordinates, coordinates
from .requantize import LARGEST, Tally, requantize
from .rounding import integer_dtype, round_real
from .word import Codes, Word


@dataclass(frozen=True)
class ResizeTaps:
    """Taps of every output index of an axis.

    Attributes
    ----------
    index : indices of the input, (out, taps).
    weight : weights, (out, taps): float64, or int64 after `integer_taps`.
    outside : mask (out,) of the outputs whose coordinate lies outside of the input and is extrapolated; None for none.
    """

    index: NDArray[np.intp]
    weight: NDArray[Any]
    outside: NDArray[np.bool_] | None


def _outside(at: Coordinates, a: Axis, mode: str) -> NDArray[np.bool_] | None:
    return at.outside(a.size) if mode == "tf_crop_and_resize" else None


def nearest_taps(a: Axis, mode: str, nearest_mode: str) -> ResizeTaps:
    """Return one tap of weight 1 per output coordinate; `nearest_mode` is that of `Coordinates.nearest`."""
    at = coordinates(a, mode)
    index = np.clip(at.nearest(nearest_mode, shrinks=a.scale < 1), 0, a.size - 1).astype(np.intp)
    return ResizeTaps(index[:, None], np.ones((a.out, 1)), _outside(at, a, mode))


def _linear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(1.0 - np.abs(distance), 0.0, None)


def _cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Return Keys' kernel in ONNX's order of operations (IEEE TASSP 29(6), 1981)."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def interpolation_taps(
    a: Axis, kind: str, mode: str, *, cubic_coeff_a: float, exclude_outside: bool, antialias: bool
) -> ResizeTaps:
    """Return the taps of linear or cubic interpolation; those beyond the edge read the edge.

    With `antialias`, shrinking stretches the kernel by 1 / scale and divides by the sum of the taps. With
    `exclude_outside`, those beyond the edge weigh nothing and the rest are divided by their sum.
    """
    if a.out == 0:  # the scale may be tiny, and the stretched kernel huge
        return ResizeTaps(np.zeros((0, 1), np.intp), np.zeros((0, 1)), None)
    at = coordinates(a, mode)
    radius = 1 if kind == "linear" else 2
    stretch = min(a.scale, Fraction(1)) if antialias else Fraction(1)
    reach = radius if stretch == 1 else floor(radius / stretch) + 1
    steps = np.arange(1 - reach, reach + 1)
    index = at.whole[:, None] + steps
    distance = (steps - at.fraction[:, None]) * float(stretch)
    weight = _linear(distance) if kind == "linear" else _cubic(distance, cubic_coeff_a)
    if antialias:
        weight = weight / _row_sums(weight)
    if exclude_outside:
        weight = np.where((index < 0) | (index >= a.size), 0.0, weight)
        total = _row_sums(weight)
        weight = weight / np.where(total == 0, 1.0, total)
    return ResizeTaps(np.clip(index, 0, a.size - 1).astype(np.intp), weight, _outside(at, a, mode))


def _row_sums(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of rows from left to right; NumPy's `sum` promises no order."""
    return np.asarray(np.add.accumulate(weight, axis=1)[:, -1:])


def integer_taps(taps: ResizeTaps, fraction_bits: int) -> ResizeTaps:
    """Round the weights (half_even) to `fraction_bits`, the largest adjusted so that they sum to exactly one.

    The largest is determined after rounding, and is the first of equal ones. Where every tap was excluded, all
    stay 0.
    """
    weight = round_real(np.ldexp(taps.weight, fraction_bits), "half_even").astype(np.int64)
    missing = np.where(taps.weight.any(axis=1), (1 << fraction_bits) - weight.sum(axis=1), 0)
    weight[np.arange(len(weight)), weight.argmax(axis=1)] += missing
    return ResizeTaps(taps.index, weight, taps.outside)


def pick(x: NDArray[Any], axes: Sequence[Axis], taps: Sequence[ResizeTaps], fill: Any) -> NDArray[Any]:
    """Return one input element for every output, and `fill` where a coordinate is outside."""
    for a, t in zip(axes, taps, strict=True):
        x = np.take(x, t.index[:, 0], axis=a.axis)
    return _extrapolated(x, axes, taps, fill)


def _extrapolated(x: NDArray[Any], axes: Sequence[Axis], taps: Sequence[ResizeTaps], fill: Any) -> NDArray[Any]:
    """Write `fill` to every output that lies outside along any axis, in place; return x."""
    for a, t in zip(axes, taps, strict=True):
        if t.outside is not None and t.outside.any():
            x[(slice(None),) * a.axis + (t.outside,)] = fill
    return x


def _sum_taps(x: NDArray[Any], a: Axis, t: ResizeTaps) -> NDArray[Any]:
    column = (1,) * a.axis + (-1,) + (1,) * (x.ndim - a.axis - 1)
    total = np.take(x, t.index[:, 0], axis=a.axis) * t.weight[:, 0].reshape(column)
    for k in range(1, t.index.shape[1]):
        total += np.take(x, t.index[:, k], axis=a.axis) * t.weight[:, k].reshape(column)
    return np.asarray(total)


def interpolate_float(x: NDArray[Any], axes: Sequence[Axis], taps: Sequence[ResizeTaps], fill: float) -> NDArray[Any]:
    """Return the weighted sums in x's own floating type, one axis after the other."""
    for a, t in zip(axes, taps, strict=True):
        x = _sum_taps(x, a, ResizeTaps(t.index, t.weight.astype(x.dtype), t.outside))
    return _extrapolated(x, axes, taps, fill)


def tap_sums(x: Codes, axes: Sequence[Axis], taps: Sequence[ResizeTaps]) -> NDArray[Any]:
    """Return the exact sums over the integer taps of all axes; 0 where a coordinate is outside."""
    growth = sum(int(np.abs(t.weight).sum(axis=1).max(initial=1)).bit_length() for t in taps)
    acc: NDArray[Any] = x.astype(integer_dtype(17 + growth))
    for a, t in zip(axes, taps, strict=True):
        acc = _sum_taps(acc, a, t)
    return _extrapolated(acc, axes, taps, 0)


def interpolate_fixed(
    x: Codes,
    axes: Sequence[Axis],
    taps: Sequence[ResizeTaps],
    tap_bits: int,
    shift: int,
    word: Word,
    fill: int,
    tally: Tally | None = None,
) -> Codes:
    """Return the exact sums over the taps of all axes, requantized once by tap_bits * axes + shift bits."""
    # Outputs that `fill` replaces count neither as saturations nor as underflows: their sums are 0.
    codes = requantize(tap_sums(x, axes, taps), tap_bits * len(axes) + shift, word, tally=tally)
    if tally is not None and any(t.outside is not None and t.outside.any() for t in taps):
        tally[LARGEST] = max(int(tally[LARGEST]), abs(fill))
    return _extrapolated(codes, axes, taps, fill)
