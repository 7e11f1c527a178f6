"""The register that holds a sum of products on a device, where it is not wide enough for an exact sum.

An exact sum has no order, and one that wraps has none either: the low bits of a sum are the low bits of the sum of low
bits, so that a register that wraps at every step ends like one that wraps once. Two things give a sum an order or
change it term by term:

- A register that *saturates* stops at its rails at every step. 100 + 100 - 100 is 27 in 8 bits, and 100 - 100 + 100 is
  100. So the order of the terms is part of the definition: the bias first, then the taps as they are stored, or with
  the channels innermost.
- A register with *fewer fraction bits* than the products cuts each product before it is added. The sum of cut
  products is not the cut sum. Such a register takes each product as a number of its own format, so it saturates a
  product, too, if it saturates. With more fraction bits than the products it drops nothing: products are shifted left.

Here a sum is computed as the device does it, one tap after the other, for all outputs at once. Sums that the bounds of
the weights prove to be exact do not come here; see `qengine.model.steps.accumulator`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .rounding import integer_dtype, shift_right
from .word import Integers, wrap


class Register(NamedTuple):
    """Register of the sums of a linear operator.

    Attributes
    ----------
    bits : width; None for an unbounded one.
    saturates : whether it stops at its rails at every step; False where it wraps.
    rounding : rounding of products that are cut.
    is_cast : whether products are brought to its word before they are added, as its format has its own fraction bits.
    """

    bits: int | None
    saturates: bool = False
    rounding: str = "floor"
    is_cast: bool = False

    @property
    def least(self) -> int:
        """The smallest number that it holds."""
        assert self.bits is not None
        return -(1 << (self.bits - 1))

    @property
    def most(self) -> int:
        """The largest number that it holds."""
        assert self.bits is not None
        return (1 << (self.bits - 1)) - 1


def moved(a: Integers, shift: int | NDArray[np.int64], rounding: str) -> Integers:
    """Return round(a * 2^-shift) for shifts to either side; the caller's dtype has room for one to the left."""
    right = np.asarray(shift) > 0
    left = np.maximum(-np.asarray(shift), 0).astype(a.dtype)
    if not right.any():
        return np.asarray(a << left, a.dtype)
    cut = shift_right(a, np.maximum(shift, 1), rounding)
    return cut if right.all() else np.where(right, cut, np.asarray(a << left, a.dtype)).astype(a.dtype)


class RegisterSums:
    """Sums of products in a register, in order: a replacement of np.matmul that begins with a bias.

    The columns of the left matrix and the rows of the right one are the taps. Products are cut by `shift` bits, and
    added to `start`; both broadcast against the result.

    Parameters
    ----------
    register
        The register.
    start
        Start of the sums, in units of the register.
    shift
        Bits that each product drops; negative for those that it gets.
    order
        Order of the taps; None for that of the matrices.
    magnitude
        Upper limit of |start| + sum(|product|), in units of the register.

    Attributes
    ----------
    overflows : number of sums that reached a rail, or whose high bits were lost, so far.
    """

    def __init__(
        self,
        register: Register,
        start: Integers | int,
        shift: int | NDArray[np.int64],
        order: NDArray[np.intp] | None,
        magnitude: int,
    ) -> None:
        self.register, self.shift, self.order, self.magnitude = register, shift, order, magnitude
        self.dtype = integer_dtype(max(magnitude.bit_length(), (register.bits or 0) + 1))
        self.start = np.asarray(start).astype(self.dtype)
        self.overflows = 0

    def __call__(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        """Return the sums of the products of rows of a and columns of b, as np.matmul does."""
        rows = a if a.ndim > 1 else a[None]
        columns = b if b.ndim > 1 else b[:, None]
        rows, columns = rows.astype(self.dtype), columns.astype(self.dtype)
        shape = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
        taps = range(rows.shape[-1]) if self.order is None else self.order.tolist()
        terms = (rows[..., k, None] * columns[..., k, None, :] for k in taps)
        total = self.sums(terms, (*shape, rows.shape[-2], columns.shape[-1]))
        total = total if b.ndim > 1 else total[..., 0]
        return total if a.ndim > 1 else total[..., 0, :] if b.ndim > 1 else total[..., 0]

    def sums(self, terms: Any, shape: tuple[int, ...]) -> Integers:
        """Return the sums of an iterable of products in order."""
        register = self.register
        total, reached = np.broadcast_to(self.start, shape).copy(), np.zeros(shape, bool)
        self._saturate(total, reached)
        for term in terms:
            term = moved(np.asarray(term, self.dtype), self.shift, register.rounding)
            if register.is_cast:
                term = np.array(np.broadcast_to(term, shape))
                self._saturate(term, reached)
            total += term
            self._saturate(total, reached)
        if register.bits is not None and not register.saturates:
            exact, total = total, wrap(total, register.bits, signed=True)
            reached = np.asarray(exact != total, bool)
        self.overflows += int(np.count_nonzero(reached))
        return total

    def _saturate(self, v: Integers, reached: NDArray[np.bool_]) -> None:
        """Stop numbers at the rails, in place, and mark those that reached one."""
        register = self.register
        if register.saturates and register.bits is not None:
            reached |= np.asarray((v > register.most) | (v < register.least), bool)
            np.clip(v, register.least, register.most, out=v)


def channels_last(channels: int, taps: int) -> NDArray[np.intp]:
    """Return the order of channels x taps, stored channel after channel, in which the channels of a tap follow."""
    return np.arange(channels * taps).reshape(channels, taps).T.ravel()
