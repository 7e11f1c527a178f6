"""The epilogue in vector code: the same for every kernel that ends in a sum."""

from llvmlite import ir

from ..epilogue import Epilogue
from .sums import WideSum
from .vector import I8, I16, I32, I64, LANES, Vec, i64, load, load_scalar, splat


def parameter_bytes(form: Epilogue | None) -> int:
    """Return the bytes of the numbers for 16 channels; without an epilogue they are float32 biases."""
    if form is None:
        return LANES * 4
    return LANES * (3 * 4 if form.split else 3 * 8 if form.wide else 2 * 4)


def accumulator_type(form: Epilogue) -> ir.Type:
    """Return the type of the sums that `Finish` takes."""
    return I64 if form.wide and not form.split else I32


class Finish:
    """The epilogue of 16 channels, or of one channel in every lane: its numbers, loaded once."""

    def __init__(self, b: ir.IRBuilder, form: Epilogue, parameters: ir.Value, scalars: ir.Value) -> None:
        self.b, self.form = b, form
        element = accumulator_type(form)
        size = 8 if element == I64 else 4
        parts = [
            load(b, b.add(parameters, i64(i * LANES * size)), element)
            for i in range(parameter_bytes(form) // LANES // size)
        ]
        self.bias, right = parts[0], parts[2] if form.split else parts[1]
        one = right.like(1) << right
        half = one.shift_right_logical(1)
        shifts = half.is_(">", 0)
        # By name: the shift, half and all of the bits it drops, and a mask that is 0 where nothing is shifted.
        self._vectors = {
            "right": right,
            "half": half,
            "rest": one - 1,
            "shifts": right.like(-1).where(shifts, right.like(0)),
        }
        if form.left:
            self._vectors["left"] = parts[2]
        if form.split:
            self._vectors |= {"bias": parts[0], "low bias": parts[1]}
        self._scalars = [b.trunc(load_scalar(b, b.add(scalars, i64(8 * i)), I64), element) for i in range(5)]
        self._fitted: dict[int, tuple[dict[str, Vec], list[Vec]]] = {}

    def _numbers(self, lanes: int) -> tuple[dict[str, Vec], list[Vec]]:
        if lanes not in self._fitted:
            repeat = [i % LANES for i in range(lanes)]
            vectors = {name: v if lanes == LANES else v.picked(repeat) for name, v in self._vectors.items()}
            self._fitted[lanes] = vectors, [splat(self.b, s, lanes) for s in self._scalars]
        return self._fitted[lanes]

    def __call__(self, total: Vec, below: Vec | None = None) -> Vec:
        """Return stored codes, as i8 or i16, of sums that include `bias`; 16 lanes, or that repeated or cut.

        Where the shift is by whole units of `below` more, those bits are told apart from 0 for what is a tie.
        """
        form = self.form
        by, (low, high, zero, wrapped, dropped) = self._numbers(total.lanes)
        if form.accumulator:
            total = (total << dropped) >> dropped
            if form.rounding.startswith("half"):
                total = total + by["half"]
        codes = self._rounded(total, by, below)
        if form.left:
            if not form.wraps:
                near = codes.at_least(codes.like(-(1 << 17))).at_most(codes.like(1 << 17))
                codes = near.where(by["left"].is_(">", 0), codes)
            codes = codes << by["left"]
        if form.wraps:
            codes = codes << wrapped
            codes = codes >> wrapped if form.signed else codes.shift_right_logical(wrapped)
        codes = codes.at_least(low).at_most(high)
        if form.offset:
            codes = codes + zero
        return codes.truncated(I8 if form.itemsize == 1 else I16)

    def of_sum(self, total: Vec | WideSum, *, with_bias: bool = False) -> Vec:
        """Return stored codes of what a loop over taps gave, whose bias was or was not in it."""
        if isinstance(total, WideSum):
            return self.split(total.high, total.low) if self.form.split else self.of_sum(total.whole())
        if with_bias:
            return self(total)
        bias = self.bias if total.lanes == LANES else self.bias.picked([i % LANES for i in range(total.lanes)])
        return self(total + bias)

    def split(self, high: Vec, low: Vec) -> Vec:
        """Return stored codes of sums high * 2^16 + low, to which the bias is added here; low is 0 or more."""
        by, _ = self._numbers(high.lanes)
        low = low + by["low bias"]
        total = high + by["bias"] + low.shift_right_logical(16)
        return self(total, low & 0xFFFF)

    def _rounded(self, total: Vec, by: dict[str, Vec], below: Vec | None) -> Vec:
        """Round total / 2^right; of the roundings to the nearest, `total` has half of the divisor in it already."""
        rounding, right = self.form.rounding, by["right"]
        if rounding in ("floor", "half_up"):
            return total >> right
        sign_bits = 63 if self.form.wide else 31
        if rounding == "trunc":
            return (total + (by["rest"] & (total >> sign_bits))) >> right
        if rounding == "half_away":
            return (total + (by["shifts"] & ((total - by["half"]) >> sign_bits))) >> right
        quotient = total >> right
        # With half the divisor added, a tie is a multiple of it.
        if below is not None:
            return (quotient & -2).where(((total & by["rest"]) | below).is_("==", 0), quotient)
        even = quotient & ((by["shifts"] & 1) ^ -1)  # a shift by 0 has no ties
        return even.where((total & by["rest"]).is_("==", 0), quotient)
