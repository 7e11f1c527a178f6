"""The code of `kernels.ordered`."""

from typing import Any

from numba import types

from ..isa import Isa
from ..ordered import Ordered
from .memory import at, get, put, unpacker

_TILE = 1024  # columns, of which a row and some of `right` stay in the cache
_AT_ONCE = 8  # products for which a sum is loaded and stored once


def make(spec: Ordered, isa: Isa) -> Any:
    """Return the kernel as a Python function for Numba."""
    unpack = unpacker(len(spec.arguments))
    f64 = types.float64

    def ordered(arguments):
        total, total_row, left, left_row, right, right_row, rows, columns, count = unpack(arguments)
        for first in range(0, columns, _TILE):
            width = _TILE if columns - first > _TILE else columns - first
            for k in range(0, count - count % _AT_ONCE, _AT_ONCE):
                b0 = at(right + (k + 0) * right_row + 8 * first, f64)
                b1 = at(right + (k + 1) * right_row + 8 * first, f64)
                b2 = at(right + (k + 2) * right_row + 8 * first, f64)
                b3 = at(right + (k + 3) * right_row + 8 * first, f64)
                b4 = at(right + (k + 4) * right_row + 8 * first, f64)
                b5 = at(right + (k + 5) * right_row + 8 * first, f64)
                b6 = at(right + (k + 6) * right_row + 8 * first, f64)
                b7 = at(right + (k + 7) * right_row + 8 * first, f64)
                for r in range(rows):
                    to = at(total + r * total_row + 8 * first, f64)
                    a0 = get(at(left + (k + 0) * left_row, f64), r)
                    a1 = get(at(left + (k + 1) * left_row, f64), r)
                    a2 = get(at(left + (k + 2) * left_row, f64), r)
                    a3 = get(at(left + (k + 3) * left_row, f64), r)
                    a4 = get(at(left + (k + 4) * left_row, f64), r)
                    a5 = get(at(left + (k + 5) * left_row, f64), r)
                    a6 = get(at(left + (k + 6) * left_row, f64), r)
                    a7 = get(at(left + (k + 7) * left_row, f64), r)
                    for c in range(width):
                        found = get(to, c) + a0 * get(b0, c)
                        found = found + a1 * get(b1, c)
                        found = found + a2 * get(b2, c)
                        found = found + a3 * get(b3, c)
                        found = found + a4 * get(b4, c)
                        found = found + a5 * get(b5, c)
                        found = found + a6 * get(b6, c)
                        put(to, c, found + a7 * get(b7, c))
            for k in range(count - count % _AT_ONCE, count):
                b = at(right + k * right_row + 8 * first, f64)
                for r in range(rows):
                    to = at(total + r * total_row + 8 * first, f64)
                    a = get(at(left + k * left_row, f64), r)
                    for c in range(width):
                        put(to, c, get(to, c) + a * get(b, c))

    return ordered
