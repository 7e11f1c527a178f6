"""QFormat: one fixed-point format, its text form and its range."""

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from qengine.checks import check_whole_number
from qengine.errors import FormatError
from qengine.kernels.reference.word import Word

_TEXT = re.compile(r"(?P<unsigned>U?)Q(?P<m>0|-?[1-9][0-9]{0,3})\.(?P<n>0|-?[1-9][0-9]{0,3})")
_LOOSE = re.compile(r"(?P<unsigned>u?)q?\s*(?P<m>-?[0-9]{1,4})\s*[.,_:]\s*(?P<n>-?[0-9]{1,4})", re.IGNORECASE)

FRACTION_BITS = range(-112, 150)
"""The numbers of fraction bits that a format may have: float32 then holds every 16-bit code times 2^-n exactly."""


@dataclass(frozen=True)
class QFormat:
    """A fixed-point format: value = code * 2^-n.

    Parameters
    ----------
    integer_bits
        Number of integer bits m. It may be negative: Q-2.9 has 8 bits, a step of 2^-9 and a range of about +-0.25.
    fraction_bits
        Number of fraction bits n. It may be negative: Q8.-1 has 8 bits and a step of 2.
    signed
        Whether codes are two's complement with one more bit for the sign (Qm.n), or unsigned (UQm.n).

    Raises
    ------
    FormatError
        If the word length is not within 2 to 16 bits, or float32 cannot hold the values.

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
        for name, value in (("integer_bits", self.integer_bits), ("fraction_bits", self.fraction_bits)):
            object.__setattr__(self, name, check_whole_number(name, value, error=FormatError))
        if not 2 <= self.bits <= 16:
            from qengine.qformat.notation import counted_with_sign  # its patterns are slow to make, and seldom needed

            sign = "1 sign bit + " if self.signed else ""
            other = counted_with_sign(self.integer_bits, self.fraction_bits) if self.signed else ""
            raise FormatError(
                f"{self} has {self.bits} bits ({sign}{self.integer_bits} integer + "
                f"{self.fraction_bits} fraction); a word has 2 to 16"
                + (f"; where the sign is counted among the integer bits (ARM), it is {other} here" if other else "")
            )
        if self.fraction_bits not in FRACTION_BITS:
            raise FormatError(
                f"{self} has {self.fraction_bits} fraction bits; float32 holds the values of formats "
                f"with {FRACTION_BITS.start} to {FRACTION_BITS.stop - 1}"
            )

    @classmethod
    def parse(cls, text: str) -> "QFormat":
        """Return the format of a text such as "Q4.3", "UQ0.8" or "Q-2.9".

        A text in the notation of another tool, such as "ap_fixed<8,4>", is translated where it has one meaning, and
        the logger "qengine" tells it: see `qengine.qformat.notation`.

        Raises
        ------
        FormatError
            If the text is not a format; the message says which may be meant.
        """
        if not isinstance(text, str):
            raise FormatError(f"{text!r} is not a fixed-point format such as 'Q4.3'")
        if match := _TEXT.fullmatch(text):
            return cls(int(match["m"]), int(match["n"]), not match["unsigned"])
        from qengine.qformat.notation import meaning_of  # its patterns are slow to make, and seldom needed

        if meaning := meaning_of(text):
            try:
                found = cls(meaning.integer_bits, meaning.fraction_bits, meaning.signed)
            except FormatError as error:
                raise FormatError(f"{text.strip()} is {meaning.text}: {error}") from None
            if text.strip() != str(found):
                _tell(text.strip(), f"{found}; {meaning.remark}" if meaning.remark else str(found))
            return found
        hint = ""
        if match := _LOOSE.fullmatch(text.strip()):
            hint = f"; did you mean {'U' if match['unsigned'] else ''}Q{int(match['m'])}.{int(match['n'])}?"
        elif text.strip("'\" ") != text.strip() and text.strip("'\" "):
            hint = f": the quotes are part of it; give {text.strip(chr(39) + chr(34) + ' ')}"
        raise FormatError(f"{text!r} is not a fixed-point format such as Q4.3, Q0.15 or UQ0.8{hint}")

    @classmethod
    def of(cls, fmt: "QFormat | str") -> "QFormat":
        """Return a format unchanged, or parse its text."""
        return fmt if isinstance(fmt, QFormat) else _parsed(fmt) if isinstance(fmt, str) else cls.parse(fmt)

    def __str__(self) -> str:
        return f"{'' if self.signed else 'U'}Q{self.integer_bits}.{self.fraction_bits}"

    @property
    def bits(self) -> int:
        """The word length b: 1 + m + n if signed, m + n if unsigned."""
        return self.signed + self.integer_bits + self.fraction_bits

    @property
    def step(self) -> float:
        """The distance of two codes, 2^-n."""
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
        """The dtype of stored codes: int8 or uint8 up to 8 bits, int16 or uint16 above."""
        return self.word().dtype

    def word(self, rounding: str = "half_even", overflow: str = "saturate") -> Word:
        """Return the word that kernels write: its length, signedness, rounding and overflow."""
        return Word(self.bits, self.signed, rounding, overflow)

    def with_fraction_bits(self, n: int) -> "QFormat":
        """Return the format with n fraction bits and the same word length and signedness."""
        return QFormat(self.bits - self.signed - n, n, self.signed)


@lru_cache(4096)  # the formats files of a sweep name the same few again and again
def _parsed(text: str) -> QFormat:
    return QFormat.parse(text)


@lru_cache(1024)  # a formats file may spell a thousand formats in this way
def _tell(text: str, meaning: str) -> None:
    """Tell what a text in another notation means, once."""
    logging.getLogger("qengine").warning("%s is %s", text, meaning)
