"""Cast and CastLike of text, and of numbers that NumPy itself does not have: bfloat16, float8, int4 and others."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import ModelError
from qengine.model.eager.elements import is_float
from qengine.model.eager.evaluator import evaluator
from qengine.model.ops.conversion import converted, is_integer
from qengine.model.schemas import dtype_of

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan", re.IGNORECASE | re.ASCII)


@evaluator("Cast")
def cast(x: NDArray[Any], *, to: int, saturate: int = 1, round_mode: str = "up") -> NDArray[Any]:
    """x in the element type with ONNX's number `to`."""
    return _cast(x, dtype_of(to), saturate, round_mode)


@evaluator("CastLike")
def cast_like(x: NDArray[Any], target_type: NDArray[Any], *, saturate: int = 1, round_mode: str = "up") -> NDArray[Any]:
    """x in the element type of another tensor."""
    return _cast(x, target_type.dtype, saturate, round_mode)


def _cast(x: NDArray[Any], dtype: np.dtype[Any], saturate: int, round_mode: str) -> NDArray[Any]:
    if "c" in (x.dtype.kind, dtype.kind):
        raise ModelError(f"a cast from {x.dtype} to {dtype}; ONNX casts no complex numbers")
    if dtype.kind == "O":
        return x if x.dtype.kind == "O" else _text(x)
    if x.dtype.kind == "O":
        x = _numbers(x, dtype)
    return converted(x, dtype, saturate=bool(saturate), round_mode=round_mode)


def _text(x: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as text, real numbers with at most 8 digits, as ONNX Runtime writes them."""
    if is_float(x.dtype):
        special = {"nan": "NaN", "inf": "INF", "-inf": "-INF"}
        words = [f"{v:.8g}" for v in x.astype(np.float64).ravel().tolist()]
        words = [special.get(word, word) for word in words]
    else:
        words = [str(int(v)) for v in x.ravel().tolist()]
    return np.array([*words, None], object)[:-1].reshape(x.shape)


def _numbers(x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers that text spells: integers exactly where the type is of integers, else in float64.

    Integers that do not fit the type lose their high bits, as in other casts.
    """
    words = [str(word).strip() for word in x.ravel().tolist()]
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise ModelError(f"text {word[:40]!r} is not a number, and cannot be cast to {dtype}")
    if is_integer(dtype) and all(re.fullmatch(r"[+-]?[0-9]{1,40}", word) for word in words):
        low_bits = np.array([int(word) & (1 << 64) - 1 for word in words], np.uint64)
        return low_bits.reshape(x.shape).view(np.int64)
    return np.array([float(word) for word in words], np.float64).reshape(x.shape)
