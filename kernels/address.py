"""Addresses of arrays, as arguments of kernels."""

import ctypes
from typing import Any

from numpy.typing import NDArray


def address(array: NDArray[Any]) -> int:
    """Return the address of the first element of an array; `ndarray.ctypes` takes five times as long."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # empty, not writable, not contiguous, or a type that buffers do not have
        return int(array.ctypes.data)


__all__ = ["address"]
