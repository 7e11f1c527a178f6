"""PartFormats: a format for each part of a tensor that several tensors were joined to; and what all formats share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FormatError
from qengine.kernels.reference.word import Word
from qengine.qformat.channels import ChannelFormats
from qengine.qformat.single import QFormat

_MAX_LISTED = 3  # different formats that are listed by name


@dataclass(frozen=True)
class PartFormats:
    """The formats of the parts of a tensor along an axis; word lengths and signs may differ.

    Attributes
    ----------
    formats : format of every part, in order.
    axis : axis along which the parts lie; negative from the last.
    lengths : length of every part; none as long as no shape is known.
    """

    formats: tuple[QFormat, ...]
    axis: int
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.formats:
            raise FormatError("no formats for the parts of a tensor: each part needs one")
        if self.lengths and len(self.lengths) != len(self.formats):
            raise FormatError(f"{len(self.formats)} formats for {len(self.lengths)} parts of a tensor")

    def __str__(self) -> str:
        listed = [str(f) for i, f in enumerate(self.formats) if i == 0 or f != self.formats[i - 1]]
        if len(listed) <= _MAX_LISTED:
            return " | ".join(listed)
        n = [f.fraction_bits for f in self.formats]
        return f"{len(self.formats)} parts n={min(n)}..{max(n)}"

    @property
    def bits(self) -> int:
        """The longest word of a part."""
        return max(f.bits for f in self.formats)

    @property
    def signed(self) -> bool:
        """Whether codes of a part are two's complement."""
        return any(f.signed for f in self.formats)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of stored codes, which holds those of every part."""
        return np.result_type(*[f.dtype for f in self.formats])

    def word(self, rounding: str = "half_even", overflow: str = "saturate") -> Word:
        """Return a word that holds the codes of every part."""
        return Word(
            self.bits + (self.signed and not all(f.signed for f in self.formats)), self.signed, rounding, overflow
        )


def joined_format(formats: tuple[QFormat, ...], axis: int, lengths: tuple[int, ...] = ()) -> QFormat | PartFormats:
    """Return the format of a tensor with parts of some formats: one format where all are equal."""
    return formats[0] if len(set(formats)) == 1 else PartFormats(formats, axis, lengths)


Format = QFormat | ChannelFormats | PartFormats
"""The format of a tensor: one for all its elements, one per channel of a constant, or one per part of a join."""


def fraction_bits_of(fmt: Format, ndim: int) -> int | NDArray[np.int64]:
    """Return the number of fraction bits; an int64 array that broadcasts against `ndim` axes for several formats."""
    if isinstance(fmt, QFormat):
        return fmt.fraction_bits
    shape = [1] * ndim
    shape[fmt.axis] = -1
    each = np.array([f.fraction_bits for f in fmt.formats], np.int64)
    if isinstance(fmt, PartFormats):
        if not fmt.lengths:
            raise FormatError("the lengths of the parts of a tensor are unknown: decode the parts by themselves")
        each = np.repeat(each, fmt.lengths)
    return each.reshape(shape)
