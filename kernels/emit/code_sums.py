"""Exact sums of products of codes, and their rounding to codes, as parts of kernels in Python."""

from collections.abc import Callable
from dataclasses import astuple
from functools import cache
from typing import Any, cast

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from ..code_recurrence import BLOCK_ROWS, Factors
from ..reference.rounding_table import rounding_rule
from ..reference.word import Fitting
from .products import VECTOR, Products
from .vector import I32, I64, LANES, Value

_NARROW = 1 << 17  # outside every word, and still outside after any left shift
_VECTORS = BLOCK_ROWS // LANES


@cache
def _adder(factors: Factors, shift: int) -> Callable[[int, int, int, int], int]:
    """Return the function that adds products with a block of rows of weights, times 2^shift, to sums of 64 bits.

    Its arguments are the addresses of weights and codes, the number of vectors of weights for each row, at least one,
    and the address of the sums.
    """

    def codegen(_: Any, b: ir.IRBuilder, __: Any, values: Any) -> Any:
        weights, codes, count, sums = values
        products = Products(b, factors.kind, factors.known_isa)
        begin, loop, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
        wide, many = ir.VectorType(I32, LANES), ir.VectorType(I64, LANES)
        b.branch(loop)
        b.position_at_end(loop)
        k = b.phi(I64)
        k.add_incoming(ir.Constant(I64, 0), begin)
        totals = [b.phi(wide) for _ in range(_VECTORS)]
        lane = b.load(b.inttoptr(b.add(codes, b.shl(k, ir.Constant(I64, 2))), I32.as_pointer()), align=1)
        first = b.insert_element(ir.Constant(wide, ir.Undefined), lane, ir.Constant(I32, 0))
        x = products.inputs(Value(b, b.shuffle_vector(first, first, ir.Constant(wide, [0] * LANES))))
        at = Value(b, b.add(weights, b.mul(k, ir.Constant(I64, VECTOR * _VECTORS))))
        added = [products.add(Value(b, t), x, products.weights(at + VECTOR * i)).v for i, t in enumerate(totals)]
        following = b.add(k, ir.Constant(I64, 1))
        k.add_incoming(following, b.block)
        for total, found in zip(totals, added, strict=True):
            total.add_incoming(ir.Constant(wide, [0] * LANES), begin)
            total.add_incoming(found, b.block)
        b.cbranch(b.icmp_signed("<", following, count), loop, end)
        b.position_at_end(end)
        for i, found in enumerate(added):
            place = b.inttoptr(b.add(sums, ir.Constant(I64, 8 * LANES * i)), many.as_pointer())
            part = b.shl(b.sext(found, many), ir.Constant(many, [shift] * LANES))
            b.store(b.add(b.load(place, align=8), part), place, align=8)
        return ir.Constant(I64, 0)

    @intrinsic
    def add(_: Any, weights: Any, codes: Any, count: Any, sums: Any) -> Any:
        return types.int64(types.int64, types.int64, types.int64, types.int64), codegen

    return cast("Callable[[int, int, int, int], int]", add)


@cache
def row_sums(factors: Factors) -> Callable[..., None]:
    """Return the function that sums products of codes with blocks of rows of weights, see `kernels.code_recurrence`.

    Its arguments are the addresses of the weights, of their high parts and of the codes, the number of vectors of each
    row and of those of a chunk, the address of the sums, those sums, and the number of blocks.
    """
    add, add_high, split = _adder(factors, 0), _adder(factors, 8), factors.split

    @njit(inline="always")
    def sums_of(weights: Any, codes: int, length: int, chunk: int, sums: int, found: Any, blocks: int) -> None:
        low, high = weights
        for block in range(blocks):
            for j in range(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS):
                found[j] = 0
            begin = 0
            while begin < length:
                count = length - begin
                if count > chunk:
                    count = chunk
                place = (block * length + begin) * (4 * BLOCK_ROWS)
                add(low + place, codes + 4 * begin, count, sums + 8 * BLOCK_ROWS * block)
                if split:
                    add_high(high + place, codes + 4 * begin, count, sums + 8 * BLOCK_ROWS * block)
                begin += count

    return sums_of


@cache
def shifted(rounding: str) -> Callable[[int, int], int]:
    """Return the function of v and s that rounds v / 2^s, s >= 1, as `reference.rounding.shift_right`."""
    rule = rounding_rule(rounding)
    of_all, of_negative = astuple(rule.base), astuple(rule.negative)
    is_even, looks_at_sign = bool(rule.parity), rule.looks_at_sign

    @njit(inline="always")
    def constant(factors: Any, s: int) -> int:
        return factors[0] * (1 << (s - 1)) + factors[1] + factors[2] * (1 if s > 1 else 0)

    @njit(inline="always")
    def shift(v: int, s: int) -> int:
        total = v + constant(of_all, s)
        if is_even:
            total += (v >> s) & 1
        if looks_at_sign:
            total += constant(of_negative, s) & (v >> 63)
        return total >> s

    return shift


@cache
def rounded(rounding: str, fitting: Fitting, shifts_left: bool) -> Callable[..., int]:
    """Return the function that makes a code of an exact number.

    Its arguments are the number, a right shift or 0, a left shift, and the word: its least and largest code, the mask
    of its bits and the bit of its sign.
    """
    shift, wraps, zeroes = shifted(rounding), fitting == "wrap", fitting == "zero"

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
        if zeroes:
            return found if least <= found <= most else 0
        found = found if found < most else most
        return found if found > least else least

    return code
