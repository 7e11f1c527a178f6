"""The epilogue in vector code, the same for every kernel that ends in a sum; see `kernels.epilogue`."""

from dataclasses import dataclass

from llvmlite import ir

from ..epilogue import OVERFLOWED, SATURATED, UNDERFLOWED, Epilogue, Sums, flag_arguments
from .loops import Arguments
from .rounding import ShiftRight, overflow
from .sums import WideSum
from .vector import F32, I8, I16, I32, I64, LANES, Value, load, load_scalar

_OUT_OF_RANGE = 1 << 17  # outside every word, and still outside after any left shift


def number_bytes(epilogue: Epilogue | Sums | None) -> int:
    """Return the bytes of the numbers of 16 channels; without an epilogue they are float32 biases."""
    return LANES * 4 if epilogue is None else epilogue.number_bytes


@dataclass(frozen=True)
class FlaggedCodes:
    """Stored codes, and flags of the same type, which are stored together.

    Attributes
    ----------
    codes, flags : vectors of the same type.
    distance : distance in bytes from a code to its flags.
    """

    codes: Value
    flags: Value
    distance: Value

    @property
    def lanes(self) -> int:
        """The number of lanes."""
        return self.codes.lanes

    def store(self, address: Value, align: int = 1) -> None:
        """Write all lanes to an address."""
        self.codes.store(address, align)
        self.flags.store(address + self.distance, align)

    def store_first(self, address: Value, count: Value) -> None:
        """Write the first `count` lanes only."""
        self.codes.store_first(address, count)
        self.flags.store_first(address + self.distance, count)


def flags_of(element: ir.Type, saturated: Value, underflowed: Value, overflowed: Value | None = None) -> Value:
    """Return masks as flags of an element type."""
    flags = saturated.widened(element, signed=False) * SATURATED
    flags = flags | (underflowed.widened(element, signed=False) * UNDERFLOWED)
    return flags if overflowed is None else flags | (overflowed.widened(element, signed=False) * OVERFLOWED)


class SumsEpilogue:
    """The end of the sums of 16 channels that are stored in 32 bits; see `kernels.epilogue.Sums`.

    Attributes
    ----------
    bias : vector that sums begin with.
    """

    def __init__(self, epilogue: Sums, numbers: Value) -> None:
        self.bias = load(numbers, I32)
        self._line = [load(numbers + i * LANES * 4, F32) for i in (1, 2)] if epilogue.real else None

    def codes(self, total: Value | WideSum, *, has_bias: bool = False) -> Value:
        """Return what is stored of sums that include `bias`."""
        assert isinstance(total, Value)
        assert has_bias
        if self._line is None:
            return total
        factor, addend = self._line
        return total.as_floats(F32) * factor + addend


class VectorEpilogue:
    """The epilogue of 16 channels, or of one channel in every lane; its numbers are loaded once.

    Attributes
    ----------
    bias : vector that sums begin with, or that is added to them at the end.
    """

    def __init__(self, epilogue: Epilogue, numbers: Value, a: Arguments) -> None:
        self.epilogue, scalars = epilogue, a.scalars
        self._distance = a.y_flags if flag_arguments(epilogue) else None
        element = I64 if epilogue.wide and not epilogue.split else I32
        size = 8 if element == I64 else 4
        count = number_bytes(epilogue) // LANES // size
        parts = [load(numbers + i * LANES * size, element) for i in range(count)]
        self.bias, right = parts[0], parts[2] if epilogue.split else parts[1]
        self._low_bias = parts[1] if epilogue.split else None
        self._left = parts[2] if epilogue.shifts_left else None
        self._shift = ShiftRight(right, epilogue.rounding, in_parts=epilogue.split)
        self._scalars = [
            load_scalar(scalars + 8 * i, I64).truncated(element) for i in range(7 if epilogue.counts else 5)
        ]
        self._splat: dict[int, list[Value]] = {}
        self._constants(LANES)

    def _constants(self, lanes: int) -> list[Value]:
        if lanes not in self._splat:
            self._splat[lanes] = [scalar.splat(lanes) for scalar in self._scalars]
        return self._splat[lanes]

    def __call__(self, total: Value, below: Value | None = None) -> Value | FlaggedCodes:
        """Return stored codes, as i8 or i16, of sums that include `bias`.

        The sums have 16 lanes, or that repeated or cut. Sums without their low 16 bits come with those in `below`.
        """
        if self._distance is not None:
            return self._flagged(total, self._distance)
        epilogue, lanes = self.epilogue, total.lanes
        low, high, zero, above, dropped = self._constants(lanes)
        shift = self._shift.repeated(lanes)
        if epilogue.wraps_sums:
            total = self._wrapped(total, shift, dropped)
        codes = shift(total, below)
        if self._left is not None:
            if epilogue.fitting != "wrap":
                codes = codes.at_least(-_OUT_OF_RANGE).at_most(_OUT_OF_RANGE)
            codes = codes << self._left.repeated(lanes)
        codes = overflow(codes, low, high, epilogue.fitting, above, signed=epilogue.signed)
        return self._stored(codes, zero)

    def _wrapped(self, total: Value, shift: ShiftRight, dropped: Value) -> Value:
        """Return what the accumulator keeps of sums, with the addend of the rounding."""
        if self.epilogue.wraps_half:
            return (shift.with_addend(total) << dropped) >> dropped
        return shift.with_addend((total << dropped) >> dropped)

    @property
    def start(self) -> WideSum:
        """Sums of two parts before the first tap: the bias, or 0 where it is added to whole sums."""
        return WideSum.nothing(self.bias.b) if self._low_bias is None else WideSum(self.bias, self._low_bias)

    def _stored(self, codes: Value, zero: Value) -> Value:
        return (codes + zero if self.epilogue.adds_zero else codes).truncated(self._element)

    @property
    def _element(self) -> ir.Type:
        return I8 if self.epilogue.itemsize == 1 else I16

    def _flagged(self, total: Value, distance: Value) -> FlaggedCodes:
        """Return stored codes with their flags, of whole sums."""
        epilogue, lanes = self.epilogue, total.lanes
        low, high, zero, above, dropped, first, last = self._constants(lanes)
        shift = self._shift.repeated(lanes)
        overflowed, nothing = None, shift.with_addend(total.like(0))
        if epilogue.wraps_sums:
            exact, total = total, self._wrapped(total, shift, dropped)
            overflowed = total.differs(shift.with_addend(exact))
        else:
            total = shift.with_addend(total)
        codes = exact = shift(total)
        if self._left is not None:
            left = self._left.repeated(lanes)
            exact = codes.at_least(-_OUT_OF_RANGE).at_most(_OUT_OF_RANGE) << left
            codes = codes << left if epilogue.fitting == "wrap" else exact
        flags = flags_of(
            self._element, (exact > last) | (exact < first), exact.equals(0) & total.differs(nothing), overflowed
        )
        codes = overflow(codes, low, high, epilogue.fitting, above, signed=epilogue.signed)
        return FlaggedCodes(self._stored(codes, zero), flags, distance)

    def codes(self, total: Value | WideSum, *, has_bias: bool = False) -> Value | FlaggedCodes:
        """Return stored codes of the sums of a loop over taps, which began with the bias or did not."""
        if isinstance(total, WideSum):
            return self._split(total, has_bias) if self._low_bias is not None else self.codes(total.whole())
        return self(total if has_bias else total + self.bias.repeated(total.lanes))

    def _split(self, total: WideSum, has_bias: bool) -> Value | FlaggedCodes:
        """Return stored codes of sums high * 2^16 + low; with the bias, low has 16 bits."""
        if has_bias:
            return self(total.high, total.low)
        assert self._low_bias is not None
        lanes = total.high.lanes
        low = total.low + self._low_bias.repeated(lanes)
        return self(total.high + self.bias.repeated(lanes) + low.shift_right_logical(16), low & 0xFFFF)
