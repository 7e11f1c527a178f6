"""The word that a kernel writes: how wide, signed or not, and how what does not fit is rounded and cut."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[Any]
"""An int64 array, or an object array of Python integers where int64 would be too narrow."""
Codes = NDArray[Any]
"""An array of int8, uint8, int16 or uint16 codes."""


class Word(NamedTuple):
    """The result of a fixed-point kernel.

    Attributes
    ----------
    bits : 2 to 16, the sign included.
    signed : two's complement, or unsigned.
    rounding : "half_even", "half_up", "half_away", "floor" or "trunc".
    overflow : "saturate" or "wrap".
    """

    bits: int
    signed: bool
    rounding: str = "half_even"
    overflow: str = "saturate"

    @property
    def least(self) -> int:
        """The smallest code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        """The largest code."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Storage of a code: int8/uint8 up to 8 bits, int16/uint16 above."""
        return np.dtype(f"{'i' if self.signed else 'u'}{1 if self.bits <= 8 else 2}")


def wrap(v: Integers, bits: int, signed: bool) -> Integers:
    """Keep the low `bits` bits (bits <= 62 for int64 arrays), as two's complement where signed."""
    low = v & ((1 << bits) - 1)
    return np.asarray(low - ((low >> (bits - 1)) << bits) if signed else low, v.dtype)
