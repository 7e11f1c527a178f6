"""The exponential function for kernels that are plain Python, which may not call the machine's library."""

from collections.abc import Callable
from typing import Any

from numba import njit

from .python_loops import elements

_LOG2_HIGH, _LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # their sum is log 2
_ROUNDER, _ROUNDER_BITS = 6755399441055744.0, 0x4338000000000000  # 1.5 * 2**52: adding it rounds to an integer
_FACTORS = tuple(1.0 / f for f in (1, 1, 2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800, 479001600))


def exponential() -> Callable[[float, int], float]:
    """Return exp(x, scratch) in float64, right to 1e-15 of the result; `scratch` is the address of 8 bytes.

    x is n log 2 + r with |r| <= log 2 / 2. The exponent of 2^n is written as bits, in two factors where 2^n itself is
    too small or too large for a number.
    """
    integers, reals = elements("i64"), elements("f64")
    c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12 = _FACTORS[2:]

    @njit(inline="always")
    def power_of_two(n: int, scratch: int) -> Any:
        integers(scratch)[0] = (n + 1023) << 52
        return reals(scratch)[0]

    @njit(inline="always")
    def exp(x: float, scratch: int) -> Any:
        bounded = x
        if x > 710.0:
            bounded = 710.0
        if x < -746.0:
            bounded = -746.0
        if x != x:
            bounded = 0.0
        rounded = bounded * 1.4426950408889634 + _ROUNDER
        reals(scratch)[0] = rounded
        n = integers(scratch)[0] - _ROUNDER_BITS
        whole = rounded - _ROUNDER
        r = (bounded - whole * _LOG2_HIGH) - whole * _LOG2_LOW
        tail = c5 + r * (c6 + r * (c7 + r * (c8 + r * (c9 + r * (c10 + r * (c11 + r * c12))))))
        value = 1.0 + r * (1.0 + r * (c2 + r * (c3 + r * (c4 + r * tail))))
        half = n >> 1
        value = value * power_of_two(half, scratch) * power_of_two(n - half, scratch)
        if x != x:
            value = x
        return value

    return exp
