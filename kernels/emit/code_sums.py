"""Exact sums of products of codes, and their rounding to codes, as parts of kernels in Python.

`add_product` keeps its sum in 32 bits: Numba alone would make it 64 bits, and LLVM finds the instructions for products
of pairs of 16-bit integers only where their sum has 32.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_WORD = ir.IntType(32)
_NARROW = 1 << 17  # outside every word, and still outside after any left shift


@intrinsic
def _zero(_: Any) -> Any:
    def codegen(*_: Any) -> Any:
        return ir.Constant(_WORD, 0)

    return types.int32(), codegen


@intrinsic
def _add_product(_: Any, total: Any, x: Any, w: Any) -> Any:
    def codegen(context: Any, b: ir.IRBuilder, signature: Any, values: Any) -> Any:
        wide = [(b.sext if t.signed else b.zext)(v, _WORD) for v, t in zip(values[1:], (x, w), strict=True)]
        return b.add(values[0], b.mul(*wide))

    return types.int32(total, x, w), codegen


@cache
def product_sum(split: bool) -> Callable[..., int]:
    """Return the function that sums products of `length` codes with weights, which may be split in two."""

    @njit(inline="always")
    def product(codes: Any, at: int, weights: Any, row: int, length: int, chunk: int) -> int:
        low, high = weights
        total, begin = 0, 0
        while begin < length:
            stop = begin + chunk
            if stop > length:
                stop = length
            part = _zero()
            for i in range(begin, stop):
                part = _add_product(part, codes[at + i], low[row + i])
            total += part
            if split:
                part = _zero()
                for i in range(begin, stop):
                    part = _add_product(part, codes[at + i], high[row + i])
                total += part * 256
            begin = stop
        return total

    return product


@cache
def shifted(rounding: str) -> Callable[[int, int], int]:
    """Return the function of v and s that rounds v / 2^s, s >= 1, as `reference.rounding.shift_right`."""

    @njit(inline="always")
    def shift(v: int, s: int) -> int:
        half = 1 << (s - 1)
        if rounding == "half_even":
            return (v + (half - 1) + ((v >> s) & 1)) >> s
        if rounding == "half_up":
            return (v + half) >> s
        if rounding == "half_away":
            return (v + half + (v >> 63)) >> s
        if rounding == "trunc":
            return (v + ((2 * half - 1) & (v >> 63))) >> s
        return v >> s

    return shift


@cache
def rounded(rounding: str, wraps: bool, shifts_left: bool) -> Callable[..., int]:
    """Return the function that makes a code of an exact number.

    Its arguments are the number, a right shift or 0, a left shift, and the word: its least and largest code, the mask
    of its bits and the bit of its sign.
    """
    shift = shifted(rounding)

    @njit(inline="always")
    def code(v: int, right: int, left: int, least: int, most: int, mask: int, sign: int) -> int:
        if shifts_left:
            at_least_1 = right if right > 1 else 1
            narrow = v & (_NARROW - 1)
            if not wraps:
                narrow = v if v < _NARROW else _NARROW
                narrow = narrow if narrow > -_NARROW else -_NARROW
            found = shift(v, at_least_1) if right > 0 else narrow << left
        else:
            found = shift(v, right)
        if wraps:
            return ((found & mask) ^ sign) - sign
        found = found if found < most else most
        return found if found > least else least

    return code
