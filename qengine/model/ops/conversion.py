"""Conversion of numbers between element types: one rule on every machine, also where ONNX leaves the result open.

ONNX defines most conversions of a number that does not fit the new type: real numbers become infinite or, in float8,
saturate; integers lose their high bits. Real numbers that no integer of the type is near are left open. They convert
here as on x86 processors, so that results agree with ONNX Runtime there and are the same everywhere: by way of int32
(int64 for 32 bits without a sign and for 64 bits), whose least number stands for all that do not fit, and from which
the low bits are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError

_FIRST_FOREIGN = 256  # of NumPy's numbers of types
_NO_POWER = 255
"""Code of NaN in float8e8m0; the code of 2^e is e + 127."""


def bits_per_element(dtype: np.dtype[Any]) -> int:
    """Return the number of bits of a type; NumPy stores those of 2, 4 and 6 bits in a byte each."""
    digits = re.search(r"\d+", dtype.name)
    return int(digits[0]) if digits else 8 * dtype.itemsize


def is_foreign(dtype: np.dtype[Any]) -> bool:
    """Whether a type is of ml_dtypes and not of NumPy, which calls one of them, float8_e5m2, a float too."""
    return dtype.num >= _FIRST_FOREIGN


def is_integer(dtype: np.dtype[Any]) -> bool:
    """Whether elements are integers, those of 2 and 4 bits included, for which NumPy has another kind."""
    return dtype.name.startswith(("int", "uint"))


def converted(x: NDArray[Any], dtype: np.dtype[Any], *, saturate: bool = True, round_mode: str = "up") -> NDArray[Any]:
    """Return numbers or truth values in another element type.

    Parameters
    ----------
    x
        Real numbers, integers or truth values of any type.
    dtype
        Type of the result.
    saturate
        Whether numbers beyond float8 become its largest number; otherwise infinity or, where the type has none, NaN.
    round_mode
        Rounding to float8e8m0: "up", "down" or "nearest".
    """
    if dtype == x.dtype:
        return x
    if is_foreign(x.dtype):  # types of ml_dtypes convert between themselves only by way of a wider one
        x = x.astype(np.int32 if is_integer(x.dtype) else np.float32)
    if dtype.kind == "b":
        return np.asarray(x != 0)
    if is_integer(dtype):
        return to_integers(x, dtype) if x.dtype.kind == "f" else x.astype(dtype)
    if dtype.name == "float8_e8m0fnu":
        return _to_powers(x.astype(np.float64), dtype, saturate, round_mode)
    if saturate and dtype.name.startswith("float8"):
        largest = _largest(dtype)
        x = np.clip(x.astype(np.float64), -largest, largest)  # NaN stays
    return x.astype(dtype)


@dataclass(frozen=True)
class Converted:
    """Elements in another type."""

    dtype: np.dtype[Any]

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the elements."""
        return converted(x, self.dtype)


def to_integers(x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return real numbers truncated toward zero; see above for those that do not fit."""
    bits, is_signed = bits_per_element(dtype), not dtype.name.startswith("u")
    least, most = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1)) if is_signed else (0.0, 2.0**bits)
    if not x.size or (float(x.min()) > least - (bits < 64) and float(x.max()) < most):
        return x.astype(np.int64).astype(dtype) if bits < 8 else x.astype(dtype)
    v = x.astype(np.float64)
    if dtype == np.uint64:
        high = v >= 2.0**63
        low_bits = _truncated(np.where(high, v - 2.0**63, v), np.dtype(np.int64)).view(np.uint64)
        return np.where(high, low_bits ^ np.uint64(1 << 63), low_bits)
    wide = np.dtype(np.int64 if bits == 64 or dtype == np.uint32 else np.int32)
    return _truncated(v, wide).astype(dtype)


def _truncated(v: NDArray[np.float64], wide: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers truncated to int32 or int64, the least integer for those that do not fit."""
    least = float(np.iinfo(wide).min)
    fits = (np.trunc(v) >= least) & (np.trunc(v) < -least)
    return np.where(fits, v, least).astype(wide)


def _largest(dtype: np.dtype[Any]) -> float:
    """Return the largest finite number of a type of one byte."""
    every = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float64)
    return float(every[np.isfinite(every)].max())


def _to_powers(v: NDArray[np.float64], dtype: np.dtype[Any], saturate: bool, round_mode: str) -> NDArray[Any]:
    """Return numbers as powers of two, float8e8m0; negative ones as NaN."""
    fraction, exponent = np.frexp(v)  # v = fraction 2^exponent, fraction from 1/2 to below 1
    if round_mode == "up":
        exponent = exponent - (fraction == 0.5)
    elif round_mode == "down":
        exponent = exponent - 1
    elif round_mode == "nearest":
        exponent = exponent - (fraction < 0.75)
    else:
        raise ModelError(f"round_mode '{round_mode}' is not up, down or nearest")
    exponent = np.where(v == 0, -128, np.where(np.isinf(v), 128, exponent))
    if saturate:
        codes = np.clip(exponent, -127, 127) + 127
    else:
        codes = np.where((v >= 2.0**-127) & (v <= 2.0**127), exponent + 127, _NO_POWER)
    return np.where(np.isnan(v) | (v < 0), _NO_POWER, codes).astype(np.uint8).view(dtype)
