"""The code of `kernels.sampling.GridSample`: offsets and weights of the taps of some places, then sums by channel.

Coordinates and weights are in float64, as those of the reference.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

from ..sampling import PLACES, GridSample, Interpolation, Padding
from .python_loops import elements

_ROUNDER, _ROUNDER_BITS = 6755399441055744.0, 0x4338000000000000  # 1.5 * 2**52: adding it rounds to an integer
_FAR = 1e6
_CUBIC_A = -0.75
_NEAREST, _LINEAR, _CUBIC = int(Interpolation.NEAREST), int(Interpolation.LINEAR), int(Interpolation.CUBIC)
_ZEROS, _REFLECTION = int(Padding.ZEROS), int(Padding.REFLECTION)


def python_kernel(_: GridSample) -> Callable[..., None]:
    """Return the kernel."""
    singles, reals, integers = elements("f32"), elements("f64"), elements("i64")

    @njit(inline="always")
    def floor(x: float) -> Any:
        whole = (x + _ROUNDER) - _ROUNDER
        return whole - 1.0 if whole > x else whole

    @njit(inline="always")
    def integer(x: float, scratch: int) -> Any:
        reals(scratch)[0] = x + _ROUNDER
        return integers(scratch)[0] - _ROUNDER_BITS

    @njit(inline="always")
    def inside(place: float, size: int, padding: int, aligned: int) -> Any:
        """Return a coordinate moved into the image; with zeros around it, the coordinate."""
        moved = place
        if padding == _REFLECTION:
            low, span = -0.5, 1.0 * size
            if aligned != 0:
                low, span = 0.0, size - 1.0
            if span == 0.0:
                moved = 0.0
            else:
                away = moved - low
                if away < 0.0:
                    away = -away
                times = floor(away / span)
                rest = away - times * span
                if times - 2.0 * floor(times * 0.5) != 0.0:
                    rest = span - rest
                moved = rest + low
        if padding != _ZEROS:
            if moved > size - 1.0:
                moved = size - 1.0
            if moved < 0.0:
                moved = 0.0
        return moved

    @njit(inline="always")
    def cubic(distance: float) -> Any:
        d = -distance if distance < 0.0 else distance
        if d <= 1.0:
            return ((_CUBIC_A + 2.0) * d - (_CUBIC_A + 3.0)) * d * d + 1.0
        return ((_CUBIC_A * d - 5.0 * _CUBIC_A) * d + 8.0 * _CUBIC_A) * d - 4.0 * _CUBIC_A

    def grid_sample(x: int, grid: int, y: int, first: int, end: int, facts: int, scratch: int) -> None:
        source, at, out, numbers = singles(x), singles(grid), singles(y), integers(facts)
        axes, channels, places, plane = numbers[0], numbers[1], numbers[2], numbers[3]
        mode, padding, aligned, taps = numbers[4], numbers[5], numbers[6], numbers[7]
        offsets, weights = integers(scratch + 8), reals(scratch + 8 + 8 * PLACES * taps)
        begin = first
        while begin < end:
            batch = begin // places
            count = (batch + 1) * places - begin
            if count > end - begin:
                count = end - begin
            if count > PLACES:
                count = PLACES
            for j in range(count):
                base, made = j * taps, 1
                offsets[base], weights[base] = 0, 1.0
                for a in range(axes):
                    size = numbers[8 + a]
                    place = at[(begin + j) * axes + axes - 1 - a] + 1.0
                    place = place / 2.0 * (size - 1) if aligned != 0 else (place * size - 1.0) / 2.0
                    if place != place or place < -_FAR:
                        place = -_FAR
                    if place > _FAR:
                        place = _FAR
                    if mode != _CUBIC:
                        place = inside(place, size, padding, aligned)
                    start = floor(place)
                    if mode == _NEAREST:
                        start = (place + _ROUNDER) - _ROUNDER
                    rest = place - start
                    if mode == _CUBIC:
                        start -= 1.0
                    for t in range(made - 1, -1, -1):
                        old, factor = offsets[base + t] * size, weights[base + t]
                        for k in range(mode - 1, -1, -1):
                            tap, weight = start + k, 1.0
                            if mode == _LINEAR:
                                weight = rest if k == 1 else 1.0 - rest
                            if mode == _CUBIC:
                                weight = cubic(rest - (k - 1.0))
                                tap = inside(tap, size, padding, aligned)
                            if tap < 0.0:
                                tap, weight = 0.0, 0.0
                            if tap > size - 1.0:
                                tap, weight = size - 1.0, 0.0
                            offsets[base + t * mode + k] = old + integer(tap, scratch)
                            weights[base + t * mode + k] = factor * weight
                    made *= mode
            for c in range(channels):
                own, target = (batch * channels + c) * plane, (batch * channels + c) * places + begin - batch * places
                for j in range(count):
                    total = 0.0
                    for t in range(j * taps, (j + 1) * taps):
                        total += source[own + offsets[t]] * weights[t]
                    out[target + j] = total
            begin += count

    return grid_sample
