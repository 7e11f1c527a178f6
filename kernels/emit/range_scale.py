"""The code of `kernels.quantization.RangeScale`."""

from collections.abc import Callable

import numpy as np

from ..quantization import RangeScale
from .python_loops import elements

_STEPS, _NOTHING, _ONE = np.float32(255), np.float32(0), np.float32(1)
_LARGEST = float(np.finfo(np.float32).max)
_ADDEND = 1.5 * 2.0**52  # adding a number to it rounds the number to an integer


def python_kernel(spec: RangeScale) -> Callable[..., None]:
    """Return the kernel."""
    floats, codes = elements("f32"), elements("u8")

    def range_scale(ranges: int, count: int, scale: int, zero: int) -> None:
        found, step_place, zero_place = floats(ranges), floats(scale), codes(zero)
        low, high = _NOTHING, _NOTHING
        for i in range(count):
            if found[2 * i] < low or found[2 * i] != found[2 * i]:
                low = found[2 * i]
            if found[2 * i + 1] > high or found[2 * i + 1] != found[2 * i + 1]:
                high = found[2 * i + 1]
        width = high - low
        step = width / _STEPS
        if width > _LARGEST:
            step_place[0] = (high * 1.0 - low * 1.0) / 255.0
            step = step_place[0]
        if step == _NOTHING:
            step = _ONE
        step_place[0] = step
        place = (_NOTHING - low) / step * 1.0
        if place > 255.0:
            place = _STEPS
        zero_place[0] = place + _ADDEND - _ADDEND

    return range_scale
