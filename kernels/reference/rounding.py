"""The roundings of an exact number to an integer.

`rounding` is a name of the table in `rounding_table`. `shift_right` computes all of them, for integers divided by a
power of two. Quotients and real numbers are brought to that case: the rounding of any number depends only on its
floor, its sign, and on whether the fraction is 0, below, at or above one half. So the number is replaced by an integer
with two fraction bits, 4 * floor + (0, 1, 2 or 3), and that is shifted right by 2, by the rounding called `unshifted`.

Integer arrays are int64, or object arrays of Python integers where int64 would be too narrow (see
`integer_dtype`): every function works on both and returns the dtype that it was given.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rounding_table import rounding_rule, unshifted
from .word import Integers

_SAFE_BITS = 60
_MAX_LEFT_SHIFT = 40  # shifting any non-zero code this far left leaves every format of up to 16 bits
_MIN_WHOLE = 2.0**52  # every float64 of at least this magnitude is a whole number
_NUMPY = {"half_even": np.rint, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc}


def integer_dtype(bits: int) -> np.dtype[Any]:
    """Return the dtype that holds integers of magnitude up to 2^bits with room for a rounding constant."""
    return np.dtype(np.int64) if bits <= _SAFE_BITS else np.dtype(object)


def shift_right(a: Integers, shift: int | NDArray[np.int64], rounding: str) -> Integers:
    """Round a / 2^shift to an integer, shift >= 1: the definition of the roundings.

    Parameters
    ----------
    a
        Integers of magnitude up to 2^60 (int64), or Python integers of any size (object).
    shift
        Shift, or an array that broadcasts against `a`.
    """
    # Beyond 62 the quotient of a 60-bit number is below 1/4 in magnitude: 62 rounds it alike.
    rule, wide = rounding_rule(rounding), a.dtype == object
    s: Any = np.asarray(shift).astype(object)[()] if wide else np.minimum(shift, 62)
    one: Any = a.dtype.type(1)
    numbers = one << (s - 1), one, np.asarray(s >= 2).astype(a.dtype)[()]
    total: Any = a
    if rule.base:
        total = a + rule.base(*numbers)
    if rule.parity:
        total = total + ((a >> s) & rule.parity(*numbers))
    if rule.negative:
        total = total + (rule.negative(*numbers) & -np.asarray(a < 0).astype(a.dtype))
    return np.asarray(total >> s, a.dtype)


def shift_left(a: Integers, shift: int | NDArray[np.int64]) -> Integers:
    """Return a * 2^shift, shift >= 0; a shift beyond 40 counts as 40.

    So a 16-bit code stays within int64, and what leaves every word still does: exact after any overflow.
    """
    return np.asarray(a << np.minimum(shift, _MAX_LEFT_SHIFT), a.dtype)


def divide(a: Integers, by: Any, rounding: str) -> Integers:
    """Round the exact quotient a / by to an integer.

    Parameters
    ----------
    a
        Integers of magnitude up to 2^60 (int64), or Python integers of any size (object).
    by
        Positive divisor, within the same limits: an integer, or an array that broadcasts against `a`.
    """
    by = np.asarray(by).astype(a.dtype)
    quotient = a // by
    rest = a - quotient * by
    fraction = sum(np.asarray(part).astype(a.dtype) for part in (rest > 0, 2 * rest >= by, 2 * rest > by))
    return shift_right(np.asarray(4 * quotient + fraction, a.dtype), 2, unshifted(rounding))


def round_real(x: NDArray[np.float64], rounding: str) -> NDArray[np.float64]:
    """Round float64 numbers to integers, as float64; the result is exact, and infinities stay infinite.

    NumPy has functions for four of the roundings. For the others, bit 0 of an integer with two fraction bits says
    whether anything was cut off below it.
    """
    rounding = unshifted(rounding)
    if rounding in _NUMPY:
        return np.asarray(_NUMPY[rounding](x))
    quarters = 4.0 * np.clip(x, -_MIN_WHOLE, _MIN_WHOLE)
    down = np.floor(quarters)
    rounded = shift_right(np.asarray(down.astype(np.int64) | (down != quarters)), 2, rounding)
    return np.where(np.abs(x) < _MIN_WHOLE, rounded.astype(np.float64), x)
