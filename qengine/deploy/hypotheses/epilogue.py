"""Epilogue: how exact sums become codes, with every stage that a device may get wrong as a field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from qengine.deploy.hypotheses.exact import Exact, fraction, narrowed
from qengine.kernels.reference.requantize import fit
from qengine.kernels.reference.rounding import divide, shift_left, shift_right
from qengine.kernels.reference.word import Word, wrap

Array = NDArray[Any]

_FAR = 1 << 20  # outside of every word


@dataclass(frozen=True, eq=False)
class Epilogue:
    """Stages from exact sums to codes, in the order in which they run.

    Attributes
    ----------
    word : word of the codes: bits, sign, rounding and overflow.
    accumulator_bits : width of the register of the sums; None for an unbounded one.
    saturates : whether that register stops at its rails, at the end of the sum, instead of wrapping.
    rounds_inside : whether half a step is added in that register, before it wraps, and the rest is cut.
    bias : whether the bias is added to the sums, left out, added to the rounded results, or after the activation.
    bounds : whether the bounds of an activation come last, are left out, come before rounding, or before the bias.
    more_shift : bits that are dropped in addition, one number or an array that broadcasts.
    first_shift : bits of those that are dropped and rounded first, by themselves; 0 for none.
    """

    word: Word
    accumulator_bits: int | None = None
    saturates: bool = False
    rounds_inside: bool = False
    bias: Literal["sums", "none", "rounded"] = "sums"
    bounds: Literal["last", "none", "sums", "products"] = "last"
    more_shift: Any = 0
    first_shift: int = 0

    def at(self, index: NDArray[np.intp], shape: tuple[int, ...]) -> Epilogue:
        """Return the stages for some elements of an output of a shape, by their flat index."""
        if np.ndim(self.more_shift) == 0:
            return self
        more = np.broadcast_to(self.more_shift, shape)[np.unravel_index(index, shape)]
        return replace(self, more_shift=more)

    def codes(self, exact: Exact) -> Array:
        """Return the codes of exact results."""
        shift = np.asarray(exact.shift) + self.more_shift
        acc, later = exact.sums, None
        if self.bounds == "products":
            acc = self._bounded_sums(acc, exact, shift)
        if exact.bias is not None and self.bias == "sums":
            acc = np.asarray(acc + exact.bias)
        elif exact.bias is not None and self.bias == "rounded":
            later = self._round(np.broadcast_to(exact.bias, exact.shape).astype(np.int64), shift, exact.divisor)
        if self.rounds_inside:
            acc = acc + np.where(shift > 0, np.left_shift(1, np.clip(shift - 1, 0, 62)), 0)
        acc = self._in_register(acc)
        if self.bounds == "sums":
            acc = self._bounded_sums(acc, exact, shift)
        rounded = self._round(acc, shift, exact.divisor)
        if later is not None:
            rounded = rounded + later
        if self.bounds != "last":
            return fit(rounded, self.word)
        return fit(rounded, self.word, low=exact.low, high=exact.high)

    def _in_register(self, acc: Array) -> Array:
        bits = self.accumulator_bits
        if bits is None or bits > 62:
            return acc
        if self.saturates:
            return np.clip(acc, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        return wrap(acc, bits, signed=True)

    def _bounded_sums(self, acc: Array, exact: Exact, shift: Array) -> Array:
        """Return sums within the bounds of the activation, which are codes, in units of the sums."""
        by = np.clip(shift, 0, 40)
        if exact.low is not None:
            acc = np.maximum(acc, exact.low * (np.int64(1) << by))
        if exact.high is not None and exact.high < _FAR:
            acc = np.minimum(acc, exact.high * (np.int64(1) << by))
        return acc

    def _round(self, acc: Array, shift: Array, divisor: Any) -> Array:
        """Return acc / (divisor * 2^shift) rounded; what is far outside of every word stays outside."""
        rounding = "floor" if self.rounds_inside else self.word.rounding
        if self.first_shift:
            first = np.clip(shift, 0, self.first_shift)
            acc = np.where(first > 0, shift_right(acc, np.maximum(first, 1), rounding), acc)
            shift = shift - first
        if np.any(np.asarray(divisor) != 1):
            return narrowed(divide(*fraction(acc, shift, divisor), rounding))
        is_right = shift > 0
        if is_right.all():
            return shift_right(acc, shift, rounding)
        near = acc & (2 * _FAR - 1) if self.word.overflow == "wrap" else np.clip(acc, -_FAR, _FAR)
        left = shift_left(near, np.maximum(-shift, 0))
        return np.where(is_right, shift_right(acc, np.maximum(shift, 1), rounding), left)
