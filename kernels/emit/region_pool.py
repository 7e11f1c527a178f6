"""The code of `kernels.sampling.RegionPool`: samples of many parts, each four elements and weights; then channels.

Coordinates are in float32, in the order of the reference: their rounding decides which elements a region has.
"""

from collections.abc import Callable
from typing import Any

import numba
from numba import njit

from ..sampling import SAMPLES, RegionPool
from .python_loops import elements

_ROUNDER, _ROUNDER_BITS = 6755399441055744.0, 0x4338000000000000  # 1.5 * 2**52: adding it rounds to an integer
_MOST = 1 << 22
_INFINITY = float("inf")


def python_kernel(spec: RegionPool) -> Callable[..., None]:
    """Return the kernel."""
    singles, reals, integers, index_of = elements("f32"), elements("f64"), elements("i64"), elements(spec.index)
    single = numba.float32

    @njit(inline="always")
    def integer(x: float, scratch: int) -> Any:
        """Return the largest integer that is not above a number."""
        rounded = x + _ROUNDER
        reals(scratch)[0] = rounded
        whole = integers(scratch)[0] - _ROUNDER_BITS
        return whole - 1 if rounded - _ROUNDER > x else whole

    @njit(inline="always")
    def flush(source: Any, out: Any, table: Any, shares: Any, size: int, facts: Any, image: int, target: int) -> None:
        """Add samples to the parts of all channels, or keep the largest."""
        channels, plane, parts, takes_largest = facts[1], facts[2] * facts[3], facts[4] * facts[5], facts[8]
        for c in range(channels):
            own, result = (image * channels + c) * plane, target + c * parts
            if takes_largest == 0:
                part, total = table[4], 0.0  # neighbouring samples of a part are added first, in float64
                for s in range(size):
                    if table[5 * s + 4] != part:
                        out[result + part] += total
                        part, total = table[5 * s + 4], 0.0
                    total += (
                        source[own + table[5 * s]] * shares[4 * s]
                        + source[own + table[5 * s + 1]] * shares[4 * s + 1]
                        + source[own + table[5 * s + 2]] * shares[4 * s + 2]
                        + source[own + table[5 * s + 3]] * shares[4 * s + 3]
                    )
                if size > 0:
                    out[result + part] += total
            else:
                for s in range(size):
                    at = result + table[5 * s + 4]
                    for k in range(4):
                        value = single(0.0)
                        if shares[4 * s + k] > 0:
                            value = source[own + table[5 * s + k]] * shares[4 * s + k]
                        if value > out[at] or value != value:
                            out[at] = value

    @njit(inline="always")
    def neighbours(coordinate: Any, length: int, scratch: int) -> Any:
        """Return the elements before and after a coordinate, and their shares, which are 0 outside of the image."""
        at, is_inside = coordinate, coordinate >= -1 and coordinate <= length
        if not is_inside or at < 0:
            at = single(0.0)
        before = integer(at, scratch)
        if before >= length - 1:
            before, at = length - 1, single(length - 1)
        after = before + 1 if before + 1 < length else length - 1
        low = at - single(before)
        high = single(1.0) - low
        if not is_inside:
            low, high = single(0.0), single(0.0)
        return before, after, high, low

    def region_pool(
        x: int,
        regions: int,
        images: int,
        y: int,
        first: int,
        end: int,
        facts: int,
        scale: int,
        fault: int,
        scratch: int,
    ) -> None:
        source, corners, image_of, out = singles(x), singles(regions), index_of(images), singles(y)
        numbers, faults = integers(facts), integers(fault)
        channels, height, width, rows, columns = numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
        each_given, is_half, takes_largest, factor = numbers[6], numbers[7], numbers[8], singles(scale)[0]
        table, shares = integers(scratch + 8), singles(scratch + 8 + 40 * SAMPLES)
        per = rows * columns
        for r in range(first, end):
            image, target = image_of[r] + 0, r * channels * per
            if image < 0 or image >= numbers[0]:
                faults[0] = image
                continue
            offset, is_finite = single(0.5), True
            if is_half == 0:
                offset = single(0.0)
            for k in range(4):
                one = corners[4 * r + k]
                if one - one != 0:
                    is_finite = False
            if not is_finite:
                faults[1] = 1
                continue
            left, top = corners[4 * r] * factor - offset, corners[4 * r + 1] * factor - offset
            wide = (corners[4 * r + 2] * factor - offset) - left
            tall = (corners[4 * r + 3] * factor - offset) - top
            if is_half == 0:
                if wide < 1:
                    wide = single(1.0)
                if tall < 1:
                    tall = single(1.0)
            part_width, part_height = wide / single(columns), tall / single(rows)
            down, across = each_given, each_given
            if each_given == 0:
                if part_height > _MOST or part_width > _MOST:
                    faults[2] = 1
                    continue
                down, across = -integer(-part_height, scratch), -integer(-part_width, scratch)
                if down < 0:
                    down = 0
                if across < 0:
                    across = 0
            if down * rows > _MOST or across * columns > _MOST:
                faults[2] = 1
                continue
            for i in range(channels * per):
                out[target + i] = 0.0
                if takes_largest != 0 and down * across > 0:
                    out[target + i] = -_INFINITY
            size = 0
            for row in range(rows):
                for i in range(down):
                    v = top + single(row) * part_height + (single(i) + single(0.5)) * part_height / single(down)
                    above, below, high_v, low_v = neighbours(v, height, scratch)
                    for column in range(columns):
                        for j in range(across):
                            u = (single(j) + single(0.5)) * part_width / single(across)
                            u = left + single(column) * part_width + u
                            before, after, high_u, low_u = neighbours(u, width, scratch)
                            t, w = 5 * size, 4 * size
                            table[t], table[t + 1] = above * width + before, above * width + after
                            table[t + 2], table[t + 3] = below * width + before, below * width + after
                            table[t + 4] = row * columns + column
                            shares[w], shares[w + 1] = high_v * high_u, high_v * low_u
                            shares[w + 2], shares[w + 3] = low_v * high_u, low_v * low_u
                            size += 1
                            if size == SAMPLES:
                                flush(source, out, table, shares, size, numbers, image, target)
                                size = 0
            flush(source, out, table, shares, size, numbers, image, target)
            if takes_largest == 0 and down * across > 1:
                count = single(down * across)
                for i in range(channels * per):
                    out[target + i] = out[target + i] / count

    return region_pool
