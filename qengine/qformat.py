"""Qm.n formats, the rounding and overflow that bring numbers into them, quantize and dequantize."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import frexp, isfinite, ldexp
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qengine.errors import FormatError
from qengine.kernels.reference import requantize
from qengine.kernels.reference.word import Word

_TEXT = re.compile(r"(?P<unsigned>U?)Q(?P<m>0|-?[1-9][0-9]{0,3})\.(?P<n>0|-?[1-9][0-9]{0,3})")
_LOOSE = re.compile(r"(?P<unsigned>u?)q?\s*(?P<m>-?[0-9]{1,4})\s*[.,_:]\s*(?P<n>-?[0-9]{1,4})", re.IGNORECASE)

# Codes of 16 bits times 2^-n stay float32 numbers, the smallest subnormal included.
FRACTION_BITS = range(-112, 150)
"""The n that a format may have."""


class Rounding(StrEnum):
    """How an exact number becomes an integer."""

    HALF_EVEN = "half_even"
    """To nearest, ties to even: ONNX QuantizeLinear, IEEE 754, ap_fixed RND_CONV."""
    HALF_UP = "half_up"
    """floor(v + 1/2): CMSIS-NN, TI, ap_fixed RND."""
    HALF_AWAY = "half_away"
    """To nearest, ties away from zero: gemmlowp, C `round`, ap_fixed RND_INF."""
    FLOOR = "floor"
    """Toward minus infinity: ap_fixed TRN."""
    TRUNC = "trunc"
    """Toward zero: C integer division, ap_fixed TRN_ZERO."""


class Overflow(StrEnum):
    """What becomes of an integer that the word cannot hold."""

    SATURATE = "saturate"
    """The nearest code that there is."""
    WRAP = "wrap"
    """The low bits are kept."""


_Mode = TypeVar("_Mode", Rounding, Overflow)


def _mode(kind: type[_Mode], given: str) -> _Mode:
    try:
        return kind(given)
    except ValueError:
        names = ", ".join(kind)
        raise FormatError(f"no {kind.__name__.lower()} is named {given!r}; there are {names}") from None


def rounding_mode(name: str) -> Rounding:
    """Return the Rounding of that name; FormatError lists the names there are."""
    return _mode(Rounding, name)


def overflow_mode(name: str) -> Overflow:
    """Return the Overflow of that name; FormatError lists the names there are."""
    return _mode(Overflow, name)


@dataclass(frozen=True)
class QFormat:
    """A fixed-point format: value = code * 2^-n.

    Parameters
    ----------
    integer_bits
        m. May be negative: Q-2.9 has 8 bits, a step of 2^-9 and a range of about +-0.25.
    fraction_bits
        n. May be negative: Q8.-1 has 8 bits and a step of 2.
    signed
        Two's complement with one more bit for the sign (Qm.n), or unsigned (UQm.n).

    Raises
    ------
    FormatError
        If the word length is not within 2..16 bits, or the values are no float32 numbers.

    Examples
    --------
    >>> q = QFormat.parse("Q4.3")
    >>> q.bits, q.step, q.min, q.max
    (8, 0.125, -16.0, 15.875)
    >>> str(q)
    'Q4.3'
    """

    integer_bits: int
    fraction_bits: int
    signed: bool = True

    def __post_init__(self) -> None:
        for name, given in (("integer_bits", self.integer_bits), ("fraction_bits", self.fraction_bits)):
            if not isinstance(given, int):
                raise FormatError(f"{name} of a format is a whole number, not {given!r}")
        if not 2 <= self.bits <= 16:
            sign = "1 sign bit + " if self.signed else ""
            raise FormatError(
                f"{self} has {self.bits} bits ({sign}{self.integer_bits} integer + "
                f"{self.fraction_bits} fraction); a word has 2 to 16"
            )
        if self.fraction_bits not in FRACTION_BITS:
            raise FormatError(
                f"{self} has {self.fraction_bits} fraction bits; float32 holds the values of formats "
                f"with {FRACTION_BITS.start} to {FRACTION_BITS.stop - 1}"
            )

    @classmethod
    def parse(cls, text: str) -> "QFormat":
        """Read "Q4.3" or "UQ0.8"; m and n may be negative, as in "Q-2.9".

        Raises
        ------
        FormatError
            If the text is not a format. Only the one spelling that `str` gives is taken.
        """
        if not isinstance(text, str):
            raise FormatError(f"{text!r} is not a fixed-point format such as 'Q4.3'")
        if match := _TEXT.fullmatch(text):
            return cls(int(match["m"]), int(match["n"]), not match["unsigned"])
        hint = ""
        if match := _LOOSE.fullmatch(text.strip()):
            hint = f"; did you mean {'U' if match['unsigned'] else ''}Q{int(match['m'])}.{int(match['n'])}?"
        raise FormatError(f"{text!r} is not a fixed-point format such as Q4.3, Q0.15 or UQ0.8{hint}")

    @classmethod
    def of(cls, given: "QFormat | str") -> "QFormat":
        """Return a format as it is, or parse its text."""
        return given if isinstance(given, QFormat) else cls.parse(given)

    def __str__(self) -> str:
        return f"{'' if self.signed else 'U'}Q{self.integer_bits}.{self.fraction_bits}"

    @property
    def bits(self) -> int:
        """Word length b: 1 + m + n signed, m + n unsigned."""
        return self.signed + self.integer_bits + self.fraction_bits

    @property
    def step(self) -> float:
        """The value of one code, 2^-n."""
        return 2.0**-self.fraction_bits

    @property
    def min(self) -> float:
        """The smallest value."""
        return self.word().least * self.step

    @property
    def max(self) -> float:
        """The largest value."""
        return self.word().most * self.step

    @property
    def dtype(self) -> np.dtype[Any]:
        """Storage of the codes: int8/uint8 up to 8 bits, int16/uint16 above."""
        return self.word().dtype

    def word(self, rounding: str = "half_even", overflow: str = "saturate") -> Word:
        """Return what a kernel needs to know to write codes of this format."""
        return Word(self.bits, self.signed, rounding, overflow)

    def with_fraction_bits(self, n: int) -> "QFormat":
        """Return the format of the same word length and signedness with n fraction bits."""
        return QFormat(self.bits - self.signed - n, n, self.signed)


@dataclass(frozen=True)
class ChannelFormats:
    """One format per channel of a constant; the word length and the signedness are the same in all.

    Attributes
    ----------
    formats : in the order of the channels.
    axis : the axis of the constant that counts channels.
    """

    formats: tuple[QFormat, ...]
    axis: int

    def __post_init__(self) -> None:
        if not self.formats:
            raise FormatError("no formats for the channels of a tensor: each channel needs one")
        if len({(f.bits, f.signed) for f in self.formats}) > 1:
            listed = ", ".join(map(str, dict.fromkeys(self.formats)))
            raise FormatError(f"the formats of a tensor's channels differ in word length or sign: {listed}")

    def __str__(self) -> str:
        n = [f.fraction_bits for f in self.formats]
        return f"{'' if self.signed else 'U'}Q{self.bits} n={min(n)}..{max(n)} per channel"

    @property
    def bits(self) -> int:
        """Word length."""
        return self.formats[0].bits

    @property
    def signed(self) -> bool:
        """Whether codes are two's complement."""
        return self.formats[0].signed

    @property
    def dtype(self) -> np.dtype[Any]:
        """Storage of the codes."""
        return self.formats[0].dtype

    def word(self, rounding: str = "half_even", overflow: str = "saturate") -> Word:
        """Return what a kernel needs to know to write codes of this format."""
        return Word(self.bits, self.signed, rounding, overflow)


Format = QFormat | ChannelFormats


def fraction_bits_of(form: Format, ndim: int) -> int | NDArray[np.int64]:
    """Return n: one number, or an array that broadcasts against a tensor of `ndim` axes."""
    if isinstance(form, QFormat):
        return form.fraction_bits
    shape = [1] * ndim
    shape[form.axis] = -1
    return np.array([f.fraction_bits for f in form.formats], np.int64).reshape(shape)


def holds(form: Format, values: NDArray[Any]) -> bool:
    """Whether every value is that of a code."""
    word = form.word()
    scaled = np.ldexp(values.astype(np.float64), fraction_bits_of(form, values.ndim))
    return np.array_equal(np.clip(np.rint(scaled), word.least, word.most), scaled)


def _array(given: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError:
        raise FormatError("an array is needed, and the lists that are given have different lengths") from None


def quantize(
    x: ArrayLike, qformat: QFormat | str, rounding: str = "half_even", overflow: str = "saturate"
) -> NDArray[Any]:
    """Return overflow(round(x * 2^n)): the codes of x, computed exactly.

    Parameters
    ----------
    x
        Real numbers of any shape; +-inf saturates.
    qformat
        The format, or its text.
    rounding, overflow
        Names of a `Rounding` and an `Overflow`.

    Returns
    -------
    ndarray
        Codes of x's shape: int8/uint8 for words of up to 8 bits, int16/uint16 above.

    Raises
    ------
    FormatError
        If the format or a mode does not exist, or x holds NaN or no real numbers.

    Examples
    --------
    >>> quantize([0.3, -16.2, 99.0], "Q4.3")
    array([   2, -128,  127], dtype=int8)
    """
    form = QFormat.of(qformat)
    real = _array(x)
    if real.dtype.kind not in "fiub" or real.dtype.itemsize > 8:
        raise FormatError(f"cannot quantize {real.dtype} values: real numbers of up to 64 bits are needed")
    if real.dtype.kind == "f" and np.isnan(real).any():
        raise FormatError(f"cannot quantize NaN to {form}: fixed point has no code for it")
    word = form.word(rounding_mode(rounding), overflow_mode(overflow))
    return requantize.quantize(real, form.fraction_bits, word)


def dequantize(codes: ArrayLike, qformat: QFormat | str) -> NDArray[np.float32]:
    """Return float32(code * 2^-n).

    Raises
    ------
    FormatError
        If the format does not exist, or codes are not integers within its range.

    Examples
    --------
    >>> dequantize([2, -128], "Q4.3")
    array([  0.25, -16.  ], dtype=float32)
    """
    form = QFormat.of(qformat)
    whole = _array(codes)
    word = form.word()
    if whole.size and whole.dtype.kind not in "iu":
        raise FormatError(f"codes of {form} are integers, not {whole.dtype}")
    if whole.size and not word.least <= int(whole.min()) <= int(whole.max()) <= word.most:
        raise FormatError(f"codes of {form} lie within {word.least}..{word.most}; found {whole.min()}..{whole.max()}")
    return requantize.dequantize(whole, form.fraction_bits)


def finest_format(values: NDArray[Any], bits: int, signed: bool = True) -> QFormat:
    """Return the format of `bits` bits with the largest n at which no value saturates.

    Values are rounded half_even, as constants are. Where all are 0 every n would do, and it is the one
    with no integer bits.

    Parameters
    ----------
    values
        Finite real numbers of any shape; negative ones saturate in an unsigned format whatever n is.

    Raises
    ------
    FormatError
        If a value is infinite, NaN, or too large for any format of that many bits.
    """
    plain = QFormat(0, bits - signed, signed)
    least, most = float(np.min(values, initial=0)), float(np.max(values, initial=0))
    if not (isfinite(least) and isfinite(most)):
        raise FormatError("no format holds an infinity or NaN: all values must be finite numbers")
    if not signed:
        least = 0.0
    largest = max(most, -least)
    if largest == 0.0:
        return plain
    n = min(largest_scale(least, most, bits, signed), FRACTION_BITS[-1])
    if n in FRACTION_BITS:
        return plain.with_fraction_bits(n)
    raise FormatError(f"no format of {bits} bits holds the value {most if most == largest else least:g}")


def largest_scale(least: float, most: float, bits: int, signed: bool = True) -> int:
    """Return the largest n at which finite values from `least` to `most`, not both 0, fit `bits` bits as codes."""
    # 2^(e-1) <= largest < 2^e. One more fraction bit than fits `largest` whole may do for a negative power
    # of two; one fewer is needed where rounding reaches the next power of two.
    word = Word(bits, signed, "half_even", "saturate")
    fits_whole = bits - signed - frexp(max(most, -least))[1]
    return next(
        n
        for n in (fits_whole + 1, fits_whole, fits_whole - 1)
        if word.least <= round(ldexp(least, n)) <= round(ldexp(most, n)) <= word.most
    )


def exact_format(values: NDArray[Any]) -> QFormat | None:
    """Return a signed format of 8 bits, or else of 16, that holds every value as it is; None where there is none.

    It has no more fraction bits than are needed.

    Parameters
    ----------
    values
        Real numbers of any shape.
    """
    wide = values.astype(np.float64).ravel()
    wide = wide[wide != 0]
    if not np.isfinite(wide).all():
        return None
    if not wide.size:
        return QFormat(7, 0)
    # A float64 is an odd number of at most 53 bits times a power of two.
    fraction, exponent = np.frexp(wide)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    trailing = np.log2((mantissa & -mantissa).astype(np.float64)).astype(np.int64)
    n = int(np.max(53 - trailing - exponent))
    for bits in (8, 16):
        least, most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        codes = np.ldexp(wide, n)
        if n in FRACTION_BITS and least <= codes.min() and codes.max() <= most:
            return QFormat(bits - 1 - n, n)
    return None


def finest_per_channel(values: NDArray[Any], bits: int, axis: int, signed: bool = True) -> ChannelFormats:
    """Return `finest_format` of every channel, the channels being counted along `axis`."""
    channels = np.moveaxis(values, axis, 0)
    return ChannelFormats(tuple(finest_format(c, bits, signed) for c in channels), axis % values.ndim)


def channel_formats(given: Sequence[QFormat | str], axis: int) -> ChannelFormats:
    """Return formats given one by one, or as text, as the formats of a tensor's channels."""
    return ChannelFormats(tuple(QFormat.of(f) for f in given), axis)
