"""Functions that choose the format with the most fraction bits for given values."""

from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.word import Word
from qengine.qformat.channels import ChannelFormats
from qengine.qformat.single import FRACTION_BITS, QFormat


def finest_format(values: NDArray[Any], bits: int, signed: bool = True) -> QFormat:
    """Return the format of `bits` bits with the largest n at which no value saturates.

    Values are rounded half_even, as constants are. If all values are 0, any n would do, and the format without
    integer bits is returned.

    Parameters
    ----------
    values
        Finite real numbers of any shape. In an unsigned format negative values saturate for every n.
    bits
        Word length.
    signed
        Whether the format is signed.

    Raises
    ------
    FormatError
        If a value is infinite, NaN, or too large for any format of that many bits.
    """
    plain = QFormat(0, bits - signed, signed)
    least, most = float(np.min(values, initial=0)), float(np.max(values, initial=0))
    if not (isfinite(least) and isfinite(most)):
        raise FormatError("no format holds an infinity or NaN: all values must be finite numbers")
    if not signed:
        least = 0.0
    largest = max(most, -least)
    if largest == 0.0:
        return plain
    n = min(largest_scale(least, most, bits, signed), FRACTION_BITS[-1])
    if n in FRACTION_BITS:
        return plain.with_fraction_bits(n)
    raise FormatError(f"no format of {bits} bits holds the value {most if most == largest else least:g}")


def largest_scale(least: float, most: float, bits: int, signed: bool = True) -> int:
    """Return the largest n at which finite values from `least` to `most`, not both 0, fit `bits` bits as codes."""
    return int(largest_scales(np.array([least]), np.array([most]), bits, signed)[0])


def largest_scales(
    least: NDArray[np.floating], most: NDArray[np.floating], bits: int, signed: bool = True
) -> NDArray[np.int64]:
    """Return the `largest_scale` of each of some pairs of a smallest and a largest value."""
    # 2^(e-1) <= largest < 2^e. One more fraction bit than fits `largest` whole may do for a negative power
    # of two; one fewer is needed where rounding reaches the next power of two.
    word = Word(bits, signed, "half_even", "saturate")
    least, most = np.asarray(least, np.float64), np.asarray(most, np.float64)  # float32 does not hold codes of 32 bits
    fits_whole = bits - signed - np.frexp(np.maximum(most, -least))[1].astype(np.int64)
    found: NDArray[np.int64] = fits_whole - 1
    for n in (fits_whole, fits_whole + 1):
        fits = (word.least <= np.rint(np.ldexp(least, n))) & (np.rint(np.ldexp(most, n)) <= word.most)
        found = np.where(fits, n, found)
    return found


def exact_format(values: NDArray[Any]) -> QFormat | None:
    """Return a signed format of 8 or else 16 bits that represents every value exactly; None if there is none.

    It has the smallest number of fraction bits that suffices.

    Parameters
    ----------
    values
        Real numbers of any shape.
    """
    wide = values.astype(np.float64).ravel()
    wide = wide[wide != 0]
    if not np.isfinite(wide).all():
        return None
    if not wide.size:
        return QFormat(7, 0)
    # A float64 is an odd number of at most 53 bits times a power of two.
    fraction, exponent = np.frexp(wide)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    trailing = np.log2((mantissa & -mantissa).astype(np.float64)).astype(np.int64)
    n = int(np.max(53 - trailing - exponent))
    for bits in (8, 16):
        least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        codes = np.ldexp(wide, n)
        if n in FRACTION_BITS and least <= codes.min() and codes.max() <= most:
            return QFormat(bits - 1 - n, n)
    return None


def finest_per_channel(values: NDArray[Any], bits: int, axis: int, signed: bool = True) -> ChannelFormats:
    """Return the `finest_format` of every channel; `axis` counts channels."""
    channels = np.moveaxis(values, axis, 0)
    return ChannelFormats(tuple(finest_format(c, bits, signed) for c in channels), axis % values.ndim)
