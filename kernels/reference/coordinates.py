"""Coordinates of a resize: where each output index lies on the input's axis, as exact rational numbers.

Each of ONNX's formulas is a straight line in the output index, with a rational start and step: lengths are whole
numbers, and a scale or a region of interest that a model gives is the exact value of its float32. So a coordinate is a
whole number and a rest over one common denominator. Whether it is whole, a tie or outside is decided on integers.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_INT, LARGEST_FLOAT = 1 << 62, 1 << 53
"""Magnitudes up to which int64 holds the numerators, and float64 the denominator exactly."""
FAR = 1 << 60
"""A coordinate beyond any length of an axis; what lies farther out is drawn in to it."""


@dataclass(frozen=True)
class Axis:
    """Resize of one axis, in ONNX's terms.

    Attributes
    ----------
    axis : number of the axis in the tensor.
    size, out : length of the axis before and after.
    scale : factor: out / size where the model gives sizes, else the factor in the model.
    roi : start and end of the region of interest, for tf_crop_and_resize.
    """

    axis: int
    size: int
    out: int
    scale: Fraction
    roi: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Coordinates:
    """A coordinate of the input for every output index: whole + rest / denominator.

    Attributes
    ----------
    whole : floor of every coordinate, (out,).
    rest : numerators, 0 <= rest < denominator, (out,); Python integers where int64 or float64 is too short.
    denominator : denominator of all.
    """

    whole: NDArray[np.int64]
    rest: NDArray[Any]
    denominator: int

    @property
    def fraction(self) -> NDArray[np.float64]:
        """The distance to the floor, each rounded once to float64."""
        return (self.rest / self.denominator).astype(np.float64)

    def nearest(self, mode: str, *, shrinks: bool) -> NDArray[np.int64]:
        """Return the whole number that ONNX's nearest_mode picks, which may lie outside of the axis.

        "simple" is ONNX Runtime's choice of opset 10 and before: up where the axis shrinks, else down.
        """
        other = self.denominator - self.rest
        if mode == "round_prefer_floor":
            up = self.rest > other
        elif mode == "round_prefer_ceil":
            up = self.rest >= other
        elif mode == "ceil" or (mode == "simple" and shrinks):
            up = self.rest > 0
        elif mode in {"floor", "simple"}:
            up = np.zeros(self.whole.shape, np.bool_)
        else:
            raise ValueError(f"no nearest_mode is named {mode!r}")
        return self.whole + up.astype(np.int64)

    def outside(self, size: int) -> NDArray[np.bool_]:
        """Return a mask of the coordinates below 0 or above size - 1."""
        above = (self.whole == size - 1) & (self.rest > 0).astype(np.bool_)
        return np.asarray((self.whole < 0) | (self.whole >= size) | above)


def coordinates(a: Axis, mode: str) -> Coordinates:
    """Return the input coordinate of every output index, by ONNX's formula for the mode."""
    start, step = _line(a, mode) if a.out else (Fraction(0), Fraction(0))
    denominator = lcm(start.denominator, step.denominator)
    first, each = (r.numerator * (denominator // r.denominator) for r in (start, step))
    fits = abs(first) + abs(each) * a.out < LARGEST_INT and denominator <= LARGEST_FLOAT
    numerator = np.arange(a.out).astype(np.int64 if fits else object) * each + first
    whole = numerator // denominator
    return Coordinates(np.clip(whole, -FAR, FAR).astype(np.int64), numerator - whole * denominator, denominator)


def _line(a: Axis, mode: str) -> tuple[Fraction, Fraction]:
    """Return the coordinate of output index 0, and the distance from one to the next.

    Where the formula says `length_resized`, it is scale * size before it is cut to a whole number, as in ONNX's own
    test data, but no less than the output's length, which is rounded up where the product is in float32; only the
    comparison with 1 uses the output's length itself.
    """
    zero, half, step, last = Fraction(0), Fraction(1, 2), 1 / a.scale, a.size - 1
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and a.out > 1):
        return half * step - half, step
    if mode == "half_pixel_symmetric":
        centre = half * a.size * (1 - a.out / (a.scale * a.size))
        return centre + half * step - half, step
    if mode == "asymmetric":
        return zero, step
    if mode == "tf_half_pixel_for_nn":
        return half * step, step
    resized = max(a.scale * a.size, Fraction(a.out))
    if mode == "align_corners" and a.out > 1:
        return zero, last / (resized - 1)
    if mode in {"pytorch_half_pixel", "align_corners"}:
        return zero, zero
    if mode == "tf_crop_and_resize":
        start, end = (Fraction(r) for r in a.roi)
        if a.out > 1:
            return start * last, (end - start) * last / (resized - 1)
        return half * (start + end) * last, zero
    raise ValueError(f"no coordinate_transformation_mode is named {mode!r}")
