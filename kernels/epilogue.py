"""What happens to an exact sum before it is stored: one round + overflow, in registers. See `reference.requantize`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference.word import Word

LANES = 16
_FAR_LEFT = 40
_MOST_RIGHT = 62


@dataclass(frozen=True)
class Epilogue:
    """How a kernel ends.

    Attributes
    ----------
    rounding : of the five.
    wraps, signed : keep the low bits, as two's complement or not; otherwise the bounds saturate.
    itemsize : bytes of a stored code.
    wide : sums and shifts in 64 bits; else in 32.
    left : some shift is to the left.
    accumulator : keep the low bits of the sum before it is rounded.
    offset : add the stored code of 0 at the end; else it went into the sum.
    split : sums come as high * 2^16 + low, each in 32 bits, and at least 16 bits are dropped.
    """

    rounding: str
    wraps: bool
    signed: bool
    itemsize: int
    wide: bool = False
    left: bool = False
    accumulator: bool = False
    offset: bool = False
    split: bool = False


@dataclass(frozen=True)
class EpilogueData:
    """An epilogue with its numbers.

    Attributes
    ----------
    form : what the kernel is compiled for.
    channels : int64 (3, channels): what is added to the sum, the shift right, the shift left.
    scalars : int64 (5,): bounds, stored code of 0, bits that wrapping and the accumulator drop.
    """

    form: Epilogue
    channels: NDArray[np.int64]
    scalars: NDArray[np.int64]

    def packed(self, order: NDArray[np.intp], taken: NDArray[np.int64] | None = None) -> NDArray[np.uint8]:
        """Return the channels' numbers as a kernel reads them.

        Parameters
        ----------
        order
            (vectors, 16) channels, -1 where a lane has none: its result is 0.
        taken
            What is taken off each channel's sum: what the stored code of 0 adds to it.
        """
        channels = self.channels
        if taken is not None:
            channels = np.stack([channels[0] - taken, *channels[1:]])
        picked = np.where(order < 0, 0, channels[:, order])
        if self.form.split:
            bias, right, _ = picked
            used = np.stack([bias >> 16, bias & 0xFFFF, np.maximum(right - 16, 0)])
        else:
            used = picked if self.form.wide else picked[:2]
        kind = np.dtype(np.int64 if self.form.wide and not self.form.split else np.int32)
        return np.ascontiguousarray(used.swapaxes(0, 1).astype(kind)).view(np.uint8).ravel()


def stored_zero(word_signed: bool, itemsize: int) -> int:
    """Return what a code of 0 is stored as: signed bytes as code + 128, unsigned pairs of bytes as code - 32768.

    So a kernel multiplies unsigned bytes and signed pairs, which is what processors have instructions for.
    """
    if itemsize == 1:
        return 128 if word_signed else 0
    return 0 if word_signed else -32768


def choose_epilogue(
    bias: NDArray[Any],
    limit: NDArray[Any] | int,
    shift: NDArray[np.int64] | int,
    word: Word,
    *,
    low: int | None = None,
    high: int | None = None,
    accumulator_bits: int | None = None,
    splits: bool = False,
) -> EpilogueData | None:
    """Return the epilogue for sums a: overflow(round((a + bias) * 2^-shift)); None where 64 bits do not hold them.

    Parameters
    ----------
    bias
        int64, one for each channel.
    limit
        On |a + bias| where the accumulator is unbounded, for each channel or for all.
    shift
        Bits to drop, for each channel or for all; negative multiplies.
    splits
        The kernel has sums beyond 32 bits as high * 2^16 + low.
    """
    channels = len(bias)
    limits = np.broadcast_to(np.asarray(limit, object), channels)
    shifts = np.broadcast_to(np.asarray(shift, np.int64), channels)
    right, left = np.clip(shifts, 0, _MOST_RIGHT), np.clip(-shifts, 0, _FAR_LEFT)
    most = max((int(v) for v in limits), default=0)
    dropped = 0
    if accumulator_bits is not None and accumulator_bits <= most.bit_length():
        dropped, most = accumulator_bits, 1 << (accumulator_bits - 1)
    half = (np.int64(1) << right) >> 1
    room = max((min(int(v), most) + (1 << int(r)) for v, r in zip(limits, right, strict=True)), default=0)
    wide = room >= 1 << 31 or bool((left > 0).any()) or int(right.max(initial=0)) > 30
    if wide and room >= 1 << 62:
        return None
    if not dropped and word.rounding.startswith("half"):
        bias = bias + half  # the kernel's rounding constant, once instead of in every sum
    itemsize = word.dtype.itemsize
    zero = stored_zero(word.signed, itemsize)
    least, largest = word.least, word.most
    bounds = [least, largest]
    if low is not None:
        bounds = [max(b, min(max(low, least), largest)) for b in bounds]
    if high is not None:
        bounds = [min(b, min(max(high, least), largest)) for b in bounds]
    wraps = word.overflow == "wrap"
    folds = zero and not (wide or wraps or dropped) and word.rounding in ("half_even", "half_up", "floor")
    if folds and room + (abs(zero) << int(right.max(initial=0))) < 1 << 31:
        # The code of 0 is even, and so changes neither what is a tie nor which way one goes.
        bias = bias + (np.int64(zero) << right)
        bounds, zero = [b + zero for b in bounds], 0
    to_left = bool((left > 0).any())
    split = wide and splits and not dropped and word.rounding in ("half_even", "half_up", "floor")
    split = split and int(right.min(initial=16)) >= 16 and room < 1 << 46
    form = Epilogue(word.rounding, wraps, word.signed, itemsize, wide, to_left, bool(dropped), bool(zero), split)
    size = 64 if wide and not split else 32
    scalars = [*bounds, zero, size - word.bits, size - dropped if dropped else 0]
    return EpilogueData(form, np.stack([np.asarray(bias, np.int64), right, left]), np.array(scalars, np.int64))
