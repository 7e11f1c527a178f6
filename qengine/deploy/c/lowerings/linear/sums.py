"""Sums of a linear operator in C: types that are proved to be wide enough, and the numbers of its register.

The ends of the input, the weights and the bias bound every part of a sum, in any order. With the constant of the
rounding that decides the type: int32_t, else int64_t, else the operator cannot be exported. Three kinds of sums:

- *exact*: the bound proves the type;
- *wrapped*: the register of the device loses high bits that may be set. Sums are uint32_t or uint64_t, which lose
  high bits too, and the low bits of the last sum are the number;
- *in order*: the register saturates, or cuts products. Each step is as on the device, in a type for the largest number
  that a step may reach.

`half_up` inside of the register adds half a step of the output before sums wrap. It is taken off and added again by the
rounding, which cancels: it is a part of the bias, and the sum is rounded down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.c.epilogue import MOST_SHIFT, epilogue, room
from qengine.deploy.c.ir import Parameters
from qengine.deploy.c.lowering import Context, NotExportable
from qengine.kernels.reference.word import Word
from qengine.model.steps import Linear
from qengine.model.steps.accumulator import Accumulation

Array = NDArray[Any]
Ends = tuple[int, int]

_EXACT_BITS = 60  # of sums for which all shifts beyond 62 are alike


@dataclass
class Sums:
    """Numbers and types of the sums of a step.

    Attributes
    ----------
    context : the step.
    """

    context: Context
    x_ends: Ends = field(init=False)

    def __post_init__(self) -> None:
        self.x_ends = self._ends(self.step.x)
        self._check()

    @property
    def step(self) -> Linear:
        """The step."""
        step: Linear = self.context.step
        return step

    @cached_property
    def rules(self) -> Accumulation:
        """The rules of its accumulator and its bias, by the words of the tensors: what the runtime does."""
        return Accumulation(self.step, self.context.out, self.context.arithmetic)

    def _ends(self, tensor: Any) -> Ends:
        if tensor.value is None:
            return self.context.tensors[tensor.name].ends
        codes = tensor.elements
        return (int(codes.min()), int(codes.max())) if codes.size else (0, 0)

    # The bias

    @cached_property
    def bias_ends(self) -> Ends:
        """The least and the most of the bias, in units of the products."""
        b = self.step.b
        if b is None:
            return 0, 0
        if b.value is not None:
            bias = np.asarray(self.rules.bias).astype(object)
            return (int(bias.min()), int(bias.max())) if bias.size else (0, 0)
        found = [
            np.asarray(self.rules.computed_bias(np.full(b.shape, end))) for end in self.context.tensors[b.name].ends
        ]
        return int(found[0].min(initial=0)), int(found[1].max(initial=0))

    @property
    def start_ends(self) -> Ends:
        """The least and the most of a computed bias in units of the register, with the constant of a rounding."""
        shift = int(self.cuts.min()) if self.in_order else 0
        least, most = ((end << -shift if shift < 0 else end) for end in self.bias_ends)
        low, high = self.stops or (least, most + _largest(self.half))
        return max(low, least), min(high, most + _largest(self.half))

    # Bounds in units of the products

    @cached_property
    def product_ends(self) -> tuple[Array, Array]:
        """The least and the most of any part of the products of a filter."""
        if self.step.w.value is not None:
            alone = Accumulation(replace(self.step, b=None), self.context.out, self.context.arithmetic, self.x_ends)
            return alone.limits
        products = [a * b for a in self.x_ends for b in self._ends(self.step.w)]
        return tuple(np.array([f(*products, 0) * self.step.taps], object) for f in (min, max))  # type: ignore[return-value]

    @cached_property
    def bound(self) -> int:
        """An upper limit of the magnitude of every part of a sum with its bias."""
        b = self.step.b
        if b is not None and b.value is not None and self.step.w.value is not None:
            low, high = Accumulation(self.step, self.context.out, self.context.arithmetic, self.x_ends).limits
        else:
            low, high = (ends + end for ends, end in zip(self.product_ends, self.bias_ends, strict=True))
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        return max(-int(low.min(initial=0)), int(high.max(initial=0)), *map(abs, self.bias_ends))

    @cached_property
    def largest_product(self) -> int:
        """An upper limit of the magnitude of a product."""
        largest = [max(map(abs, ends)) for ends in (self.x_ends, self._ends(self.step.w))]
        return largest[0] * largest[1]

    # The register

    @property
    def in_order(self) -> bool:
        """Whether sums are computed one tap after the other."""
        return self.rules.in_order

    @cached_property
    def wrapped_bits(self) -> int | None:
        """The low bits of a sum that count, where higher ones may be set; None where there are none."""
        rule = self.rules.rule
        if self.in_order:
            return None if rule.overflow == "saturate" else rule.bits
        kept = self.rules.kept_bits
        if kept is None or kept > (self.bound + _largest(self.rules.half)).bit_length():
            return None
        return kept

    @property
    def stops(self) -> Ends | None:
        """The rails of a register that saturates; None for one that does not."""
        rule = self.rules.rule
        if not self.in_order or rule.overflow != "saturate" or rule.bits is None:
            return None
        return -(1 << (rule.bits - 1)), (1 << (rule.bits - 1)) - 1

    @property
    def half(self) -> Array:
        """The constant of the rounding that the register holds, in its units; 0 where it is left to the rounding."""
        if self.in_order:
            return np.asarray(self.rules.register_half)
        return np.asarray(0 if self.wrapped_bits is None else self.rules.half)

    @property
    def word(self) -> Word:
        """The word of the output, with the rounding that is left."""
        word = self.context.arithmetic.word(self.context.out.one_format)
        return word._replace(rounding="floor") if self.half.any() else word

    @cached_property
    def shifts(self) -> Array:
        """The bits that sums drop: one number, or one for each channel, which broadcast against the output."""
        return self._tables[0]

    @cached_property
    def cuts(self) -> Array:
        """The bits that products drop, in the shape of `shifts`."""
        return self._tables[1]

    @cached_property
    def _tables(self) -> tuple[Array, Array]:
        both = np.broadcast_arrays(np.asarray(self.rules.shift, np.int64), np.asarray(self.rules.cut, np.int64))
        same = [(t == t.flat[0]).all() for t in both]
        if all(same):
            return np.array(both[0].flat[0]), np.array(both[1].flat[0])
        return both[0], both[1]

    # Types

    @cached_property
    def _left(self) -> int:
        """The most bits that a product gets."""
        return max(0, -int(self.cuts.min()))

    @cached_property
    def largest_term(self) -> int:
        """An upper limit of the magnitude of a product in units of the register."""
        return (max(1, self.largest_product) << self._left) + 1

    @cached_property
    def largest(self) -> int:
        """An upper limit of the magnitude of a sum, as the kernel holds it, at every step."""
        if not self.in_order:
            return self.bound + (_largest(self.half) if self.wrapped_bits is not None else 0)
        whole = (
            (max(map(abs, self.bias_ends)) << self._left) + _largest(self.half) + 1 + self.step.taps * self.largest_term
        )
        return whole if self.stops is None else min(whole, -self.stops[0] + self.largest_term)

    @cached_property
    def last(self) -> int:
        """An upper limit of the magnitude of the sum that is rounded."""
        bits = self.wrapped_bits
        if bits is not None:
            return 1 << (bits - 1)
        return self.largest if self.stops is None else min(self.largest, -self.stops[0])

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The type of sums: unsigned where they wrap."""
        bits = self.wrapped_bits
        if bits is not None:
            return np.dtype(np.uint32 if bits <= 32 else np.uint64)
        return np.dtype(np.int32 if self.largest < 1 << 31 else np.int64)

    @cached_property
    def wide(self) -> np.dtype[Any]:
        """The signed type in which products are cut, and sums are rounded."""
        most = max(self._room_of_terms, self._room_of_codes)
        return np.dtype(np.int32 if most < 1 << 31 else np.int64)

    @property
    def _room_of_terms(self) -> int:
        return room(self.largest_term, int(self.cuts.max())) if self.in_order else 0

    @property
    def _room_of_codes(self) -> int:
        return room(self.last, int(self.shifts.max()))

    def _check(self) -> None:
        most = max(0 if self.wrapped_bits is not None else self.largest, self._room_of_terms, self._room_of_codes)
        if most >= 1 << 63 or (self.wrapped_bits or 0) > 64:
            bits = max(most.bit_length() + 1, self.wrapped_bits or 0)
            raise NotExportable(
                f"its sums need {bits} bits and C has 64: give its tensors formats whose fraction bits are closer"
            )
        for table, size in ((self.shifts, self.last), (self.cuts, self.largest_term)):
            if int(table.max()) > MOST_SHIFT and size >= 1 << _EXACT_BITS:
                raise NotExportable(f"its sums have {size.bit_length()} bits, of which {int(table.max())} are dropped")

    # What the kernel gets

    @property
    def register(self) -> dict[str, Any]:
        """The numbers of a register that has an order."""
        rule, stops = self.rules.rule, self.stops
        info = np.iinfo(self.dtype if self.dtype.kind == "i" and self.wide == self.dtype else np.int32)
        least, most = stops or (0, 0)
        return {
            "cut": _rounding(rule.rounding, int(self.cuts.flat[0])),
            "is_cast": stops is not None and rule.fraction_bits is not None,
            "saturates": stops is not None,
            "channels_first": rule.order == "channels_first",
            "least": max(least, int(info.min)),
            "most": min(most, int(info.max)),
        }

    @property
    def comments(self) -> tuple[str, ...]:
        """The proof of the types, as lines for the source."""
        if self.wrapped_bits is not None:
            size = 8 * self.dtype.itemsize
            lines = [f"sums modulo 2^{size}, of which the low {self.wrapped_bits} bits count"]
        else:
            lines = [f"|sum| <= {self.largest:,} < 2^{8 * self.dtype.itemsize - 1}"]
        if self.stops is not None:
            lines.append(
                f"a register of {self.rules.rule.bits} bits that saturates after each of {self.step.taps} products"
            )
        if self.in_order and self.cuts.any():
            drops = f"{int(self.cuts.min())} to {int(self.cuts.max())}" if self.cuts.ndim else str(int(self.cuts))
            lines.append(f"each product drops {drops} bits before it is added")
        return tuple(lines)


def _rounding(rounding: str, shift: int) -> Parameters:
    """Return the numbers of an epilogue of which only the rounding is used."""
    return epilogue(Word(16, True, str(rounding)), max(shift, -MOST_SHIFT))


def _largest(numbers: Any) -> int:
    return int(np.max(np.asarray(numbers), initial=0))


def table_of(context: Context, role: str, numbers: Array, comment: str) -> Any:
    """Return the constant table of a number for each channel; None where one number serves all."""
    if not numbers.ndim:
        return None
    small = np.clip(numbers, -MOST_SHIFT, MOST_SHIFT).astype(np.int8)
    return context.constant(role, small, comment, is_visible=small.size <= 64)
