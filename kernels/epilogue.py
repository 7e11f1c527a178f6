"""The epilogue of fixed-point kernels: an exact sum becomes a stored code, rounded once, in registers.

The definition is `reference.requantize`: code = overflow(round((sum + bias) * 2^-shift)), then the bounds of a fused
activation. A kernel does this for 16 channels at once, right after their sums are complete, so it must take few
instructions. `choose_epilogue` finds the cheapest form that is exact for the given sums, from a limit on their
magnitude:

- *narrow*: everything fits 32 bits. What a rounding adds before it shifts (`RoundingRule.addend`) is put into the bias;
  so is the stored code of 0, shifted left, where rounding and overflow allow it. What is left is a shift, two bounds,
  and a test for ties or for the sign, if the rounding needs one.
- *wide*: sums and shifts in 64 bits. Also for shifts to the left or by more than 30.
- *split*: the sum comes as high * 2^16 + low in 32 bits each and at least 16 bits are dropped, so the high half is
  rounded in 32 bits; the low half gives a carry and shows ties. A rounding that looks at the sign adds its addend at
  the end, as the sign of the high half is then that of the sum.

With `counts` an epilogue also stores the *flags* of each code: whether it saturated, whether a number other than 0 got
the code 0, whether the sum left a simulated accumulator. Flags describe the sum before it is rounded. So the sum is
kept whole: nothing is put into the bias, and sums beyond 32 bits are not split.

An `Epilogue` is the form, which a kernel is compiled for. `EpilogueData` adds the numbers, which are loaded: bias and
shifts for each channel, bounds for all. A code is *stored* with an offset that suits the CPU: see `stored_zero`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference.rounding_table import rounding_rule
from .reference.word import Fitting, Word

LANES = 16
"""Channels of a vector."""

SATURATED, UNDERFLOWED, OVERFLOWED = 1, 2, 4
"""Bits of a flag: what `reference.requantize` counts as saturated, underflowed, and overflowed in the accumulator."""

FLAG_ARGUMENTS = ("y_flags",)
"""Arguments of a kernel that stores flags: the distance in bytes from a code to its flags."""

_NARROW = 32  # bits of a lane
_MAX_LEFT_SHIFT = 40  # a larger shift to the left makes no difference, see `reference.rounding.shift_left`
_MAX_RIGHT_SHIFT = 62  # a larger shift to the right makes none for sums below 2^60


@dataclass(frozen=True)
class Epilogue:
    """Form of an epilogue, which a kernel is compiled for.

    Attributes
    ----------
    rounding : name of the rounding.
    fitting, signed : `Word.fitting` and `Word.keeps_sign` of the codes.
    itemsize : number of bytes of a stored code.
    wide : whether sums and shifts have 64 bits instead of 32.
    shifts_left : whether some channel shifts to the left.
    wraps_sums : whether the sum wraps at the width of an accumulator before it is rounded.
    wraps_half : whether half of the divisor, which the rounding adds, is in the sum when it wraps.
    adds_zero : whether the stored code of 0 is added at the end; if not, the bias includes it.
    split : whether sums come as high * 2^16 + low, in 32 bits each, with at least 16 bits to drop.
    counts : whether flags are stored with the codes.
    """

    rounding: str
    fitting: Fitting
    signed: bool
    itemsize: int
    wide: bool = False
    shifts_left: bool = False
    wraps_sums: bool = False
    adds_zero: bool = False
    split: bool = False
    counts: bool = False
    wraps_half: bool = False

    @property
    def number_bytes(self) -> int:
        """The bytes of the numbers of 16 channels; see `EpilogueData.packed`."""
        return LANES * (3 * 4 if self.split else 3 * 8 if self.wide else 2 * 4)


@dataclass(frozen=True)
class Sums:
    """End of sums of integers that are not codes: each is stored in 32 bits, modulo 2^32.

    Attributes
    ----------
    real : whether a sum is stored as a float32, times a factor plus a number of its channel.
    """

    real: bool = False

    wide = False
    itemsize = 4

    @property
    def number_bytes(self) -> int:
        """The bytes of the numbers of 16 channels: where sums begin (int32), and factors and addends (float32)."""
        return 4 * LANES * (3 if self.real else 1)


def flag_arguments(epilogue: Epilogue | Sums | None) -> tuple[str, ...]:
    """Return the names of the arguments that a kernel takes for the flags of an epilogue, if it has any."""
    return FLAG_ARGUMENTS if isinstance(epilogue, Epilogue) and epilogue.counts else ()


@dataclass(frozen=True)
class EpilogueData:
    """Epilogue with its numbers.

    Attributes
    ----------
    epilogue : epilogue that the kernel is compiled for.
    channels : int64 (3, channels): bias, shift to the right, shift to the left.
    scalars : int64 (7,): lower bound, upper bound, stored code of 0, how many bits are above the word and how many
        the accumulator drops, and the smallest and largest integer that does not count as saturated.
    """

    epilogue: Epilogue
    channels: NDArray[np.int64]
    scalars: NDArray[np.int64]

    def packed(self, order: NDArray[np.intp], surplus: NDArray[np.int64] | None = None) -> NDArray[np.uint8]:
        """Return the channels' numbers as a kernel reads them.

        Parameters
        ----------
        order
            (vectors, 16) channels, -1 for a lane without a channel, whose code is that of a sum of 0.
        surplus
            Amount that each channel's sum is too large by, because codes are stored with an offset.
        """
        bias, right, left = self.channels
        if surplus is not None:
            bias = bias - surplus
        used: tuple[Any, ...] = (bias, right)
        if self.epilogue.split:
            used = (bias >> 16, bias & 0xFFFF, np.maximum(right - 16, 0))
        elif self.epilogue.wide:
            used = (bias, right, left)
        kind = np.int64 if self.epilogue.wide and not self.epilogue.split else np.int32
        numbers = np.empty((len(order), len(used), LANES), kind)
        for i, row in enumerate(used):
            numbers[:, i] = row[order]
        numbers.swapaxes(0, 1)[:, order < 0] = 0
        return numbers.view(np.uint8).ravel()


def stored_zero(word_signed: bool, itemsize: int) -> int:
    """Return the stored form of a code of 0: signed bytes are stored as code + 128, unsigned 16 bits as code - 32768.

    So kernels multiply unsigned bytes and signed 16 bits, which CPUs have instructions for.
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
    wraps_half: bool = False,
    splits: bool = False,
    counts: bool = False,
    zero: int | None = None,
) -> EpilogueData | None:
    """Return the epilogue overflow(round((a + bias) * 2^-shift)) for sums a; None if 64 bits do not hold them.

    Parameters
    ----------
    bias
        int64, one for each channel.
    limit
        Upper limit of |a + bias| in an unbounded accumulator, for each channel or for all.
    shift
        Number of bits to drop, for each channel or for all; a negative number multiplies.
    word
        Word of the codes.
    low, high
        Bounds of a fused activation, as codes.
    accumulator_bits
        Width of the accumulator, which wraps; None for an unbounded one.
    wraps_half
        Whether half of the divisor, which the rounding adds, is in the accumulator when it wraps.
    splits
        Whether the kernel has sums beyond 32 bits as high * 2^16 + low.
    counts
        Whether flags are stored with the codes.
    zero
        Stored code of 0; None for that of `stored_zero`.
    """
    # Sums of 62 bits or more are refused below, however large they are.
    limits = np.asarray(np.minimum(np.asarray(limit), 1 << 62), np.int64)
    shifts = np.asarray(shift, np.int64)
    right: Any
    left: Any
    half: Any
    once: Any
    twice: Any
    if shifts.size == 1:  # without arrays, which take ten times as long
        one = shifts.item()
        right, left = min(max(one, 0), _MAX_RIGHT_SHIFT), min(max(-one, 0), _MAX_LEFT_SHIFT)
        least_right = most_right = right
        most_left, half, once, twice = left, (1 << right) >> 1, int(right >= 1), int(right >= 2)
    else:
        right = np.minimum(np.maximum(shifts, 0), _MAX_RIGHT_SHIFT)
        left = np.minimum(np.maximum(-shifts, 0), _MAX_LEFT_SHIFT)
        least_right, most_right = int(right.min(initial=16)), int(right.max(initial=0))
        most_left, half = int(left.max(initial=0)), (np.int64(1) << right) >> 1
        once, twice = (right >= 1).astype(np.int64), (right >= 2).astype(np.int64)
    most = int(limits.max(initial=0)) if len(bias) else 0
    dropped = 0
    inside = (1 << most_right) >> 1 if wraps_half else 0
    if accumulator_bits is not None and accumulator_bits <= (most + inside).bit_length():
        dropped = accumulator_bits
        if not counts:  # the low bits are enough
            most = 1 << (accumulator_bits - 1)
    if shifts.size == 1:
        room = most + (1 << most_right) if len(bias) else 0
    else:
        limits = np.broadcast_to(limits, len(bias))
        highest = [min(int(limits[right == r].max()), most) + (1 << int(r)) for r in np.unique(right)]
        room = max(highest, default=0)
    to_left = most_left > 0
    # Registers of 32 bits lose what an accumulator of 32 bits loses, if nothing is added after it has wrapped.
    rule = rounding_rule(word.rounding)
    adds_nothing = wraps_half or not (rule.addend or rule.looks_at_sign)
    is_free = dropped == _NARROW and not (counts or to_left) and adds_nothing
    is_free = is_free and most_right < _NARROW - 1
    dropped = 0 if is_free else dropped
    wide = (room >= 1 << 31 or to_left) and not is_free
    if wide and room >= 1 << 62:
        return None
    split = wide and splits and not (dropped or counts) and least_right >= 16 and room < 1 << 46
    if rule.addend and not (dropped or counts or (split and rule.looks_at_sign)):
        bias = bias + rule.addend(half, once, twice)  # once here instead of in every sum
    itemsize = word.dtype.itemsize
    zero = stored_zero(word.signed, itemsize) if zero is None else zero
    least, largest = word.least, word.most
    bounds = [word.lowest, largest]
    if low is not None:
        bounds = [max(b, min(max(low, least), largest)) for b in bounds]
    if high is not None:
        bounds = [min(b, min(max(high, least), largest)) for b in bounds]
    saturates = word.fitting == "saturate"
    folds = zero and saturates and not (wide or dropped or counts or is_free or rule.looks_at_sign)
    if folds and room + (abs(zero) << most_right) < 1 << 31:
        # The stored code of 0 is even: adding it changes neither what is a tie nor which way a tie goes.
        bias = bias + (np.int64(zero) << right)
        bounds, zero = [b + zero for b in bounds], 0
    forms = wide, to_left, bool(dropped), bool(zero), split, counts, bool(dropped) and wraps_half
    epilogue = Epilogue(word.rounding, word.fitting, word.keeps_sign, itemsize, *forms)
    size = 64 if wide and not split else 32
    # A saturation that the fused activation would have made anyway is not counted.
    unbounded = 1 << (size - 1)
    first = -unbounded if saturates and low is not None and low >= word.lowest else word.lowest
    last = unbounded - 1 if saturates and high is not None and high <= largest else largest
    scalars = [*bounds, zero, size - word.bits, size - dropped if dropped else 0, first, last]
    channels = np.empty((3, len(bias)), np.int64)
    for row, numbers in zip(channels, (bias, right, left), strict=True):
        row[:] = numbers
    return EpilogueData(epilogue, channels, np.array(scalars, np.int64))
