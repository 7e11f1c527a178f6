"""Resize: coordinates, taps in integers, and their sums."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from .codes import Ambiguous, Codes, Fmt, Options, object_array, quantize_value, round_fraction, scaled


def source_coordinate(mode: str, i: int, n_in: int, n_out: int, scale: Fraction, roi) -> Fraction:
    """Where output index i reads, by the formulas of ONNX."""
    half = Fraction(1, 2)
    # The resized length before it is cut to a whole number, as in ONNX's own test data.
    resized = max(scale * n_in, Fraction(n_out))
    if mode == "asymmetric":
        return i / scale
    if mode == "half_pixel":
        return (i + half) / scale - half
    if mode == "pytorch_half_pixel":
        return (i + half) / scale - half if n_out > 1 else Fraction(0)
    if mode == "align_corners":
        return i * (n_in - 1) / (resized - 1) if n_out > 1 else Fraction(0)
    if mode == "half_pixel_symmetric":
        adjustment = n_out / (scale * n_in)
        return n_in * half * (1 - adjustment) + (i + half) / scale - half
    if mode == "tf_crop_and_resize":
        start, end = (Fraction(float(edge)) for edge in roi)
        if n_out == 1:
            return (start + end) * (n_in - 1) * half
        return start * (n_in - 1) + i * (end - start) * (n_in - 1) / (resized - 1)
    raise Ambiguous(mode)


def nearest_index(x, nearest_mode: str) -> int:
    if nearest_mode == "floor":
        return math.floor(x)
    if nearest_mode == "ceil":
        return math.ceil(x)
    below = math.floor(x)
    rest = x - below
    if nearest_mode == "round_prefer_floor":
        return below if rest <= Fraction(1, 2) else below + 1
    assert nearest_mode == "round_prefer_ceil"
    return below if rest < Fraction(1, 2) else below + 1


def kernel(mode: str, t, a):
    """The weight at a distance of t."""
    t = abs(t)
    if mode == "linear":
        return max(1 - t, 0 * t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0 * t


def integer_taps(mode: str, x, n_in: int, a, exclude_outside: int, stretch, c: int) -> list[tuple[int, int]]:
    """(input index, integer weight) of one output coordinate; the weights sum to exactly 2^c.

    `stretch` is the scale where antialiasing makes the kernel wider by its inverse, else 1.
    """
    reach = math.ceil((1 if mode == "linear" else 2) / stretch)
    where = list(range(math.floor(x) - reach, math.ceil(x) + reach + 1))
    weights = [kernel(mode, (p - x) * stretch, a) for p in where]
    if stretch != 1:
        total = sum(weights)
        weights = [w / total for w in weights]
    if exclude_outside:
        weights = [w if 0 <= p < n_in else 0 * w for w, p in zip(weights, where, strict=True)]
        total = sum(weights)
        if abs(total) < 1e-6:
            raise Ambiguous("every sampled position lies outside")
        weights = [w / total for w in weights]
    taps = [round_fraction(scaled(Fraction(w), c), "half_even") for w in weights]
    largest = taps.index(max(taps))
    taps[largest] += 2**c - sum(taps)
    return [(min(max(p, 0), n_in - 1), t) for p, t in zip(where, taps, strict=True)]


def resize_scales(shape, scales, sizes):
    """The output shape and per axis the scale as ONNX has it: a float32 that was given, or out / in."""
    if sizes is not None:
        out = [int(s) for s in sizes]
        return out, [Fraction(o, i) for o, i in zip(out, shape, strict=True)]
    out = [int(np.floor(np.float32(i) * np.float32(s))) for i, s in zip(shape, scales, strict=True)]
    return out, [Fraction(float(np.float32(s))) for s in scales]


def resize(x: Codes, roi, scales, sizes, attrs: dict, fmt: Fmt, opt: Options) -> Codes:
    mode = attrs.get("mode", "nearest")
    coordinates = attrs.get("coordinate_transformation_mode", "half_pixel")
    nearest_mode = attrs.get("nearest_mode", "round_prefer_floor")
    a = attrs.get("cubic_coeff_a", -0.75)
    exclude = attrs.get("exclude_outside", 0)
    stretched = attrs.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    if not stretched:
        raise Ambiguous("an option of Resize that this model leaves out")
    fill = quantize_value(attrs.get("extrapolation_value", 0.0), fmt)
    crops = coordinates == "tf_crop_and_resize"
    out, exact_scales = resize_scales(x.shape, scales, sizes)
    c = 11 if x.fmt.bits <= 8 else 14
    # Per axis and output index: the input positions with their integer weights.
    axes, resized = [], 0
    for axis, (n_in, n_out, scale) in enumerate(zip(x.shape, out, exact_scales, strict=True)):
        edges = (float(roi[axis]), float(roi[axis + len(out)])) if crops else (0.0, 1.0)
        if n_in == n_out and scale == 1 and edges == (0.0, 1.0):
            axes.append([[(i, 1)] for i in range(n_in)])
            continue
        resized += 1
        lines = []
        for i in range(n_out):
            place = source_coordinate(coordinates, i, n_in, n_out, scale, edges)
            if crops and not 0 <= place <= n_in - 1:
                line = None
            elif mode == "nearest":
                line = [(min(max(nearest_index(place, nearest_mode), 0), n_in - 1), 1)]
            else:
                stretch = min(scale, 1) if attrs.get("antialias", 0) else Fraction(1)
                line = integer_taps(mode, float(place), n_in, a, exclude, float(stretch), c)
                again = integer_taps(mode, place, n_in, Fraction(a), exclude, stretch, c)
                if spread_taps(line) != spread_taps(again):
                    raise Ambiguous("a tap hangs on the last bit of a float")
            lines.append(line)
        axes.append(lines)
    data = x.exact()
    y = object_array(tuple(out))
    for i in np.ndindex(y.shape):
        lines = [axes[d][j] for d, j in enumerate(i)]
        if None in lines:
            y[i] = fill
            continue
        total = 0
        for combination in itertools.product(*lines):
            weight = math.prod(w for _, w in combination)
            if weight:
                total += weight * data[tuple(p for p, _ in combination)]
        # Nearest copies: it has no arithmetic, and its two tensors share one format.
        shift = fmt.n - x.fmt.n - c * resized
        y[i] = total if mode == "nearest" else opt.requantize(scaled(total, shift), fmt, -shift)
    return Codes(y, fmt)


def spread_taps(line) -> dict[int, int]:
    total: dict[int, int] = {}
    for p, t in line:
        total[p] = total.get(p, 0) + t
    return {p: t for p, t in total.items() if t}
