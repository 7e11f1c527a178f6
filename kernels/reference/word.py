"""The word that a kernel writes: its length and sign, and the rounding and overflow of results that do not fit."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .rounding_table import unshifted

Integers = NDArray[Any]
"""An int64 array, or an object array of Python integers where int64 would be too narrow."""
Codes = NDArray[Any]
"""An array of int8, uint8, int16 or uint16 codes."""

Fitting = Literal["saturate", "wrap", "zero"]
"""Code that a kernel gives an integer that does not fit: the nearest bound, the low bits, or 0."""

_FITTING: dict[str, Fitting] = {"saturate": "saturate", "symmetric": "saturate", "wrap": "wrap", "zero": "zero"}


class Word(NamedTuple):
    """Word of the codes that a fixed-point kernel writes.

    Attributes
    ----------
    bits : word length, 2 to 16, the sign included.
    signed : whether codes are signed, in two's complement.
    rounding : name of a rounding; see `rounding_table`.
    overflow : "saturate", "symmetric", "wrap" or "zero".
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
    def lowest(self) -> int:
        """The smallest code that a result gets: `least`, or where overflow is symmetric and codes signed, -`most`."""
        return self.least + (self.signed and self.overflow == "symmetric")

    @property
    def fitting(self) -> Fitting:
        """The conversion of an integer to a code: all of the overflow but the bounds `lowest` and `most`.

        So "saturate" and "symmetric" have the same kernels.

        Raises
        ------
        ValueError
            If no overflow has the name.
        """
        if self.overflow not in _FITTING:
            raise ValueError(f"no overflow is named {self.overflow!r}")
        return _FITTING[self.overflow]

    @property
    def keeps_sign(self) -> bool:
        """Whether the bits that a kernel keeps are signed; False where codes saturate, as their bounds say it all."""
        return self.signed and self.fitting != "saturate"

    @property
    def unshifted(self) -> "Word":
        """The word of the same codes of numbers that are not shifted; see `rounding_table.unshifted`."""
        return self._replace(rounding=unshifted(self.rounding))

    @property
    def most(self) -> int:
        """The largest code."""
        return (1 << (self.bits - self.signed)) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of codes: int8/uint8 up to 8 bits, int16/uint16 above."""
        return np.dtype(f"{'i' if self.signed else 'u'}{1 if self.bits <= 8 else 2}")


def wrap(v: Integers, bits: int, signed: bool) -> Integers:
    """Return the low `bits` bits (bits <= 62 for int64 arrays), as two's complement if signed."""
    low = v & ((1 << bits) - 1)
    return np.asarray(low - ((low >> (bits - 1)) << bits) if signed else low, v.dtype)
