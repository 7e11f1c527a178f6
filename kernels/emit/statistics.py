"""The code of `kernels.statistics.Statistics`."""

from collections.abc import Callable
from math import inf

from llvmlite import ir

from ..epilogue import OVERFLOWED, SATURATED, UNDERFLOWED
from ..isa import Isa
from ..statistics import RECORD, Statistics
from .loops import Arguments, counted
from .memory import Variable
from .vector import F32, F64, I8, I16, I32, LANES, Value, load, zeros

CODES = {"u8": (I8, False), "i8": (I8, True), "i16": (I16, True), "u16": (I16, False)}
"""LLVM type of a code, and whether it has a sign."""

_NO_CODE = 1 << 20  # beyond every code


def emit(spec: Statistics, isa: Isa, a: Arguments) -> None:
    """Build the kernel."""
    size = 2 if spec.codes.endswith("16") else 1
    lanes = Value(a.b, ir.Constant(ir.VectorType(I32, LANES), list(range(LANES))))
    with counted(a.rows) as r:
        sums = _Sums(spec, a)
        with counted(a.batch) as n, counted(a.blocks) as k:
            x = a.x + n * a.x_batch + k * a.x_block + r * a.x_row
            f = a.f + n * a.f_batch + k * a.f_block + r * a.f_row if spec.has_values else x
            last = a.last.where(k.equals(a.blocks - 1), LANES)
            is_channel = lanes < last.truncated(I32).splat()
            with counted(a.vectors) as v:
                sums.add(x + v * (LANES * size), f + v * (LANES * 4), is_channel)
            with a.b.if_then((a.rest > 0).v):
                # The last vector is moved back to end with the row: an array ends there too. Lanes before it are done.
                done = a.vectors * LANES
                first = (done + a.rest - LANES).at_least(0)
                place = lanes + first.truncated(I32).splat()
                end = (done + a.rest).truncated(I32).splat()
                is_left = (place >= done.truncated(I32).splat()) & (place < end)
                sums.add(x + first * size, f + first * 4, is_left)
        sums.store(a.y + r * a.y_row)


class _Sums:
    """The numbers of a record in 16 lanes each, while a row is read."""

    def __init__(self, spec: Statistics, a: Arguments) -> None:
        self.spec, self.a = spec, a
        count, real = zeros(a.b, I32), zeros(a.b, F64)
        starts = {
            **dict.fromkeys(("saturated", "underflowed", "overflowed"), count),
            "least": count.like(_NO_CODE),
            "largest": count.like(-_NO_CODE),
            **dict.fromkeys(("signal", "noise"), real),
            "minimum": zeros(a.b, F32).like(inf),
            "maximum": zeros(a.b, F32).like(-inf),
        }
        self.lanes = {name: Variable(starts[name]) for name in RECORD}

    def add(self, x: Value, f: Value, mask: Value) -> None:
        """Add the elements in the lanes of a mask."""
        element, signed = CODES[self.spec.codes]
        code = load(x, element).widened(I32, signed=signed) - self.a.zero.truncated(I32).splat()
        self._put("least", lambda least: code.where(mask, _NO_CODE).at_most(least))
        self._put("largest", lambda largest: code.where(mask, -_NO_CODE).at_least(largest))
        if self.spec.has_flags:
            flags = load(x + self.a.x_flags, element).widened(I32).where(mask, 0)
            for name, bit in (("saturated", SATURATED), ("underflowed", UNDERFLOWED), ("overflowed", OVERFLOWED)):
                is_set = flags.shift_right_logical(bit.bit_length() - 1) & 1
                self.lanes[name].put(self.lanes[name].get() + is_set)
        if self.spec.has_values:
            self._add_values(code, load(f, F32), mask)

    def _add_values(self, code: Value, value: Value, mask: Value) -> None:
        is_finite = mask & (value < inf) & (value > -inf)
        self._put("minimum", lambda least: value.where(is_finite, inf).at_most(least))
        self._put("maximum", lambda most: value.where(is_finite, -inf).at_least(most))
        exact = value.where(mask, 0.0).doubled()
        # A code becomes a float32, as the caller gets it.
        real = (code.where(mask, 0).as_floats(F64) * self.a.scale.bits(F64).splat()).halved().doubled()
        apart = exact - real
        self._put("signal", lambda total: total + exact * exact)
        self._put("noise", lambda total: total + apart * apart)

    def _put(self, name: str, change: Callable[[Value], Value]) -> None:
        self.lanes[name].put(change(self.lanes[name].get()))

    def store(self, address: Value) -> None:
        """Write the record: the lanes added up, or the smallest or largest of them."""
        for i, name in enumerate(RECORD):
            lanes = self.lanes[name].get()
            total, *others = (lanes.lane(k) for k in range(LANES))
            for one in others:
                if name in ("least", "minimum"):
                    total = total.at_most(one)
                elif name in ("largest", "maximum"):
                    total = total.at_least(one)
                else:
                    total = total + one
            if lanes.element != F64:
                total = total.as_floats(F64) if lanes.element == I32 else total.doubled()
            total.store(address + 8 * i)
