"""Formats, the roundings and overflows, and tensors of codes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

ROUNDINGS = (
    *("half_even", "half_up", "half_down", "half_away", "half_zero", "floor", "ceil", "trunc", "away"),
    *("tflite", "ruy"),
)
OVERFLOWS = ("saturate", "symmetric", "wrap", "zero")


class Ambiguous(Exception):  # noqa: N818 - not an error: the definition leaves the value open
    """The definition does not pin this value down, or this model of it has no rule for the graph."""


@dataclass(frozen=True)
class Fmt:
    bits: int
    n: int
    signed: bool = True

    @classmethod
    def parse(cls, text: str) -> Fmt:
        u, m, n = re.fullmatch(r"(U?)Q(-?\d+)\.(-?\d+)", text).groups()
        return cls(int(m) + int(n) + (not u), int(n), not u)

    @property
    def low(self) -> int:
        return -(2 ** (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1

    @property
    def dtype(self) -> type:
        if self.bits <= 8:
            return np.int8 if self.signed else np.uint8
        return np.int16 if self.signed else np.uint16

    def __str__(self) -> str:
        return f"{'Q' if self.signed else 'UQ'}{self.bits - self.n - self.signed}.{self.n}"


def round_fraction(v: Fraction, mode: str, dropped: int = 0) -> int:
    """v, an integer over 2^dropped if that is above 0, rounded to an integer."""
    if mode in ("tflite", "ruy"):
        if dropped >= 2:
            first = round_fraction(v * 2 ** (dropped - 1), "half_up")
            v = Fraction(first, 2 ** (dropped - 1))
        mode = "half_up" if mode == "ruy" or dropped == 1 else "half_away"
    below = v.numerator // v.denominator  # Python's // goes toward -inf
    rest = v - below
    if rest == 0 or mode == "floor":
        return below
    if mode == "ceil":
        return below + 1
    if mode == "trunc":
        return below if v > 0 else below + 1
    if mode == "away":
        return below + 1 if v > 0 else below
    half = Fraction(1, 2)
    if rest != half:
        return below if rest < half else below + 1
    if mode == "half_even":
        return below if below % 2 == 0 else below + 1
    if mode == "half_up":
        return below + 1
    if mode == "half_down":
        return below
    if mode == "half_away":
        return below + 1 if v > 0 else below
    if mode == "half_zero":
        return below if v > 0 else below + 1
    raise ValueError(mode)


def overflow_code(code: int, fmt: Fmt, mode: str) -> int:
    if mode == "saturate":
        return min(max(code, fmt.low), fmt.high)
    if mode == "symmetric":
        return min(max(code, -fmt.high if fmt.signed else 0), fmt.high)
    if mode == "zero":
        return code if fmt.low <= code <= fmt.high else 0
    assert mode == "wrap"
    low = code % 2**fmt.bits
    return low - 2**fmt.bits if fmt.signed and low >= 2 ** (fmt.bits - 1) else low


def scaled(v: Fraction | int, n: int) -> Fraction:
    """v * 2^n."""
    return Fraction(v) * 2**n if n >= 0 else Fraction(v) / 2**-n


def quantize_value(x: float, fmt: Fmt, rounding: str = "half_even", overflow: str = "saturate") -> int:
    x = float(x)
    if math.isnan(x):
        raise ValueError("NaN has no code")
    if math.isinf(x):
        return overflow_code(2**99 if x > 0 else -(2**99), fmt, "symmetric" if overflow == "symmetric" else "saturate")
    return overflow_code(round_fraction(scaled(Fraction(x), fmt.n), rounding), fmt, overflow)


def fits(value: float, bits: int, n: int, rounding: str = "half_even") -> bool:
    code = round_fraction(scaled(Fraction(float(value)), n), rounding)
    return -(2 ** (bits - 1)) <= code <= 2 ** (bits - 1) - 1


def auto_format(values, bits: int) -> Fmt:
    """The signed format of `bits` bits with the largest n at which no value saturates."""
    values = {float(v) for v in np.asarray(values).reshape(-1)}
    if not any(values):
        return Fmt(bits, bits - 1)
    # Only the extremes can leave the range first.
    extremes = {min(values), max(values)}
    for n in range(149, -113, -1):
        if all(fits(v, bits, n) for v in extremes):
            return Fmt(bits, n)
    return Fmt(bits, -112)


def beside_bias(fmt: Fmt, bias, n_x: int) -> Fmt:
    """The format of weights that their bias allows: it is held in 32 bits, with the fraction bits of x and of them."""
    n = fmt.n
    while not all(fits(b, 32, n_x + n) for b in np.asarray(bias).reshape(-1)):
        n -= 1
    return Fmt(fmt.bits, n)


def object_array(shape) -> np.ndarray:
    return np.empty(shape, dtype=object)


def quantize_array(values, fmt: Fmt, rounding="half_even", overflow="saturate") -> np.ndarray:
    values = np.asarray(values)
    out = object_array(values.shape)
    for i in np.ndindex(values.shape):
        out[i] = quantize_value(values[i], fmt, rounding, overflow)
    return out


def constant_formats(values, bits: int, axis: int | None) -> list[Fmt]:
    """One format per index of `axis`, or a single one where `axis` is None."""
    values = np.asarray(values)
    if axis is None:
        return [auto_format(values, bits)]
    return [auto_format(values.take(i, axis), bits) for i in range(values.shape[axis])]


def quantize_weights(values, formats: list[Fmt], axis: int | None, opt: Options) -> np.ndarray:
    values = np.asarray(values)
    if len(formats) == 1:
        return quantize_array(values, formats[0], *opt.constants)
    out = object_array(values.shape)
    for i in np.ndindex(values.shape):
        out[i] = quantize_value(values[i], formats[i[axis]], *opt.constants)
    return out


def bias_code(value: float, n: int, opt: Options | None = None, whole=()) -> int:
    """A bias with n fraction bits; `whole` has all elements of the bias, which "most" looks at."""
    if opt is None:
        return quantize_value(value, Fmt(32, n))
    own = n
    if opt.bias_n == "most":
        while not all(fits(b, opt.bias_bits, own, opt.bias_rounding) for b in np.asarray(whole).reshape(-1)):
            own -= 1
    elif opt.bias_n != "sums":
        own = opt.bias_n
    return quantize_value(value, Fmt(opt.bias_bits, own), opt.bias_rounding) * 2 ** (n - own)


@dataclass
class Codes:
    """Codes in one format; `open` holds, per flat index, all acceptable codes where there are several."""

    codes: np.ndarray
    fmt: Fmt
    open: dict[int, frozenset[int]] = field(default_factory=dict)

    @property
    def shape(self):
        return self.codes.shape

    def exact(self) -> np.ndarray:
        if self.open:
            raise Ambiguous("an operator reads a code that is not pinned down")
        return self.codes


@dataclass(frozen=True)
class Options:
    """Formats, and the rules of a run; `kinds` has pairs of rounding and overflow, None for that of the run.

    An accumulator has bits, and may saturate, in an order of its taps; a bias has bits, a rounding, and fraction bits:
    those of the sums, the most with which nothing saturates, or a number.
    """

    qformat: Fmt
    rounding: str = "half_even"
    overflow: str = "saturate"
    accumulator_bits: int | None = None
    per_channel: bool = False
    kinds: tuple[tuple[str, str | None, str | None], ...] = ()
    tensors: tuple[tuple[str, str | None, str | None], ...] = ()
    accumulator_overflow: str = "wrap"
    order: str = "channels_first"
    rounds_inside: bool = False
    accumulator_n: int | None = None
    product_rounding: str = "floor"
    bias_bits: int = 32
    bias_n: int | str = "sums"
    bias_rounding: str = "half_even"
    counts_pads: bool | None = None
    aligns_add: bool = False

    def of(self, kind: str, tensor: str | None = None) -> Options:
        """The same options with the modes of a kind and of a tensor."""
        own = {"rounding": self.rounding, "overflow": self.overflow}
        general = [entry for entry in self.kinds if entry[0] == "linear" and kind in ("depthwise", "dense")]
        special = [entry for entry in self.kinds if entry[0] == kind]
        for name, rounding, overflow in (*general, *special, *self._own(tensor)):
            assert name
            own = {"rounding": rounding or own["rounding"], "overflow": overflow or own["overflow"]}
        return replace(self, **own)

    def _own(self, tensor: str | None):
        return [entry for entry in self.tensors if entry[0] == tensor]

    @property
    def constants(self) -> tuple[str, str]:
        """Rounding and overflow of constants."""
        found = replace(self, rounding="half_even", overflow="saturate").of("constants")
        return found.rounding, found.overflow

    def requantize(self, v: Fraction, fmt: Fmt, dropped: int = 0) -> int:
        """The one round + overflow; v is in units of the output's step, `dropped` the bits that a shift drops."""
        return overflow_code(round_fraction(v, self.rounding, dropped), fmt, self.overflow)


def bring(code: int, source: Fmt, target: Fmt, opt: Options) -> int:
    return opt.requantize(scaled(code, target.n - source.n), target, source.n - target.n)


def finish(acc: int, n_acc: int, fmt: Fmt, opt: Options) -> int:
    """The end of a linear operator: the simulated accumulator, then one round + overflow."""
    shift, bits = n_acc - fmt.n, opt.accumulator_bits
    if bits is not None and opt.rounds_inside and opt.rounding == "half_up" and shift > 0:
        acc = overflow_code(acc + 2 ** (shift - 1), Fmt(bits, 0), "wrap")
        return overflow_code(acc >> shift, fmt, opt.overflow)
    if bits is not None:
        acc = overflow_code(acc, Fmt(bits, 0), opt.accumulator_overflow)
    return opt.requantize(scaled(acc, -shift), fmt, shift)


def total(terms, bias: int, n_products: int, opt: Options) -> tuple[int, int]:
    """A bias and products, summed as the accumulator does it, and the fraction bits of the sum.

    A register with fraction bits of its own takes every product as a number of its format; the bias has them.
    """
    n = n_products if opt.accumulator_n is None else opt.accumulator_n
    saturates = opt.accumulator_bits is not None and opt.accumulator_overflow == "saturate"

    def held(v: int) -> int:
        return overflow_code(v, Fmt(opt.accumulator_bits, 0), "saturate") if saturates else v

    def taken(v: int) -> int:
        return v if n == n_products else held(round_fraction(scaled(v, n - n_products), opt.product_rounding))

    acc = held(bias)
    for term in terms:
        acc = held(acc + taken(term))
    return acc, n
