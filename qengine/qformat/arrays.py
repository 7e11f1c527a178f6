"""Functions that convert arrays of real numbers to codes and back."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qengine.errors import FormatError
from qengine.kernels.reference import requantize
from qengine.qformat.modes import overflow_mode, rounding_mode
from qengine.qformat.parts import Format, fraction_bits_of
from qengine.qformat.single import QFormat


def quantize(
    x: ArrayLike, qformat: QFormat | str, rounding: str = "half_even", overflow: str = "saturate"
) -> NDArray[Any]:
    """Return overflow(round(x * 2^n)): the codes of x, computed exactly.

    Parameters
    ----------
    x
        Real numbers of any shape. +-inf saturates.
    qformat
        The format, or its text.
    rounding, overflow
        Names of a `Rounding` and an `Overflow`.

    Returns
    -------
    ndarray
        Codes of the shape of x: int8 or uint8 for words of up to 8 bits, int16 or uint16 above.

    Raises
    ------
    FormatError
        If the format or a mode does not exist, or x holds NaN or is not of real numbers.

    Examples
    --------
    >>> quantize([0.3, -16.2, 99.0], "Q4.3")
    array([   2, -128,  127], dtype=int8)
    """
    fmt = QFormat.of(qformat)
    real = _array(x)
    if real.dtype.kind not in "fiub" or real.dtype.itemsize > 8:
        raise FormatError(f"cannot quantize {real.dtype} values: real numbers of up to 64 bits are needed")
    if real.dtype.kind == "f" and np.isnan(real).any():
        raise FormatError(f"cannot quantize NaN to {fmt}: fixed point has no code for it")
    word = fmt.word(rounding_mode(rounding), overflow_mode(overflow))
    return requantize.quantize(real, fmt.fraction_bits, word)


def dequantize(codes: ArrayLike, qformat: QFormat | str) -> NDArray[np.float32]:
    """Return float32(code * 2^-n): the real numbers that codes represent.

    Parameters
    ----------
    codes
        Integers of any shape.
    qformat
        The format, or its text.

    Returns
    -------
    ndarray
        float32 of the shape of `codes`.

    Raises
    ------
    FormatError
        If the format does not exist, or the codes are not integers within its range.

    Examples
    --------
    >>> dequantize([2, -128], "Q4.3")
    array([  0.25, -16.  ], dtype=float32)
    """
    fmt = QFormat.of(qformat)
    whole = _array(codes)
    word = fmt.word()
    if whole.size and whole.dtype.kind not in "iu":
        raise FormatError(f"codes of {fmt} are integers, not {whole.dtype}")
    if whole.size and not word.least <= int(whole.min()) <= int(whole.max()) <= word.most:
        raise FormatError(f"codes of {fmt} lie within {word.least}..{word.most}; found {whole.min()}..{whole.max()}")
    return requantize.dequantize(whole, fmt.fraction_bits)


def holds(fmt: Format, values: NDArray[Any]) -> bool:
    """Whether the format represents every value exactly."""
    word = fmt.word()
    scaled = np.ldexp(values.astype(np.float64), fraction_bits_of(fmt, values.ndim))
    return np.array_equal(np.clip(np.rint(scaled), word.least, word.most), scaled)


def _array(values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:
        raise FormatError("an array is needed, and the nested lists have different lengths") from None
