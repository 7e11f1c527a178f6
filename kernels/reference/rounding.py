"""The five roundings of an exact rational number to an integer.

`rounding` is one of "half_even", "half_up", "half_away", "floor", "trunc". Integer arrays are int64, or
object arrays of Python integers where int64 would be too narrow (see `integer_dtype`): every function here
works on both and returns the kind it was given.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .word import Integers

_SAFE_BITS = 60
_FAR_LEFT = 40  # shifting any non-zero code this far left leaves every format of up to 16 bits


def integer_dtype(bits: int) -> np.dtype[Any]:
    """Return the dtype that holds integers of magnitude up to 2^bits with room for a rounding constant."""
    return np.dtype(np.int64) if bits <= _SAFE_BITS else np.dtype(object)


def shift_right(a: Integers, shift: int | NDArray[np.int64], rounding: str) -> Integers:
    """Round a / 2^shift to an integer, shift >= 1.

    One expression serves all five roundings: `(a + c0 + (c1 & (a >> s)) + (c2 & sign)) >> s`.

    Parameters
    ----------
    a
        Integers of magnitude up to 2^60 (int64), or Python integers of any size (object).
    shift
        One shift, or an array that broadcasts against `a`.
    """
    # Beyond 62 the quotient of a 60-bit number is below 1/4 in magnitude: 62 rounds it alike.
    wide = a.dtype == object
    s: Any = np.asarray(shift).astype(object)[()] if wide else np.minimum(shift, 62)
    one: Any = a.dtype.type(1)
    sign = -np.asarray(a < 0).astype(a.dtype)
    total: Any = a
    if rounding == "half_even":
        total = a + ((one << (s - 1)) - 1) + ((a >> s) & 1)
    elif rounding == "half_up":
        total = a + (one << (s - 1))
    elif rounding == "half_away":
        total = a + (one << (s - 1)) + sign
    elif rounding == "trunc":
        total = a + (((one << s) - 1) & sign)
    elif rounding != "floor":
        raise ValueError(f"no rounding is named {rounding!r}")
    return np.asarray(total >> s, a.dtype)


def shift_left(a: Integers, shift: int | NDArray[np.int64]) -> Integers:
    """Return a * 2^shift, shift >= 0; a shift beyond 40 counts as 40.

    So a 16-bit code stays within int64, and what leaves every word still does: exact after any overflow.
    """
    return np.asarray(a << np.minimum(shift, _FAR_LEFT), a.dtype)


def divide(a: Integers, by: Any, rounding: str) -> Integers:
    """Round the exact quotient a / by to an integer.

    Parameters
    ----------
    a
        Integers of magnitude up to 2^60 (int64), or Python integers of any size (object).
    by
        Positive, within the same limits: an integer, or an array that broadcasts against `a`.
    """
    by = np.asarray(by).astype(a.dtype)
    quotient = a // by
    twice = 2 * (a - quotient * by)
    up: Any
    if rounding == "half_even":
        up = (twice > by) | ((twice == by) & (quotient % 2 == 1))
    elif rounding == "half_up":
        up = twice >= by
    elif rounding == "half_away":
        up = (twice > by) | ((twice == by) & (a > 0))
    elif rounding == "trunc":
        up = (twice > 0) & (a < 0)
    elif rounding == "floor":
        up = False
    else:
        raise ValueError(f"no rounding is named {rounding!r}")
    return np.asarray(quotient + np.asarray(up).astype(a.dtype), a.dtype)


def round_real(x: NDArray[np.float64], rounding: str) -> NDArray[np.float64]:
    """Round float64 numbers to integers, still float64; exact (no `x + 0.5`, which itself rounds)."""
    if rounding == "half_even":
        return np.rint(x)
    if rounding == "floor":
        return np.floor(x)
    if rounding == "trunc":
        return np.trunc(x)
    magnitude = np.abs(x)
    whole = np.floor(magnitude)
    # The difference is exact; of infinities it is NaN, which compares false and leaves the infinity alone.
    with np.errstate(invalid="ignore"):
        rest = magnitude - whole
    if rounding == "half_up":
        up = np.where(x < 0, rest > 0.5, rest >= 0.5)
    elif rounding == "half_away":
        up = rest >= 0.5
    else:
        raise ValueError(f"no rounding is named {rounding!r}")
    return np.asarray(np.copysign(whole + up, x))
