"""ChannelFormats: one format for every channel of a constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qengine.errors import FormatError
from qengine.kernels.reference.word import Word
from qengine.qformat.single import QFormat


@dataclass(frozen=True)
class ChannelFormats:
    """The formats of the channels of a constant, which have one word length and one signedness.

    Attributes
    ----------
    formats : format of every channel.
    axis : axis of the constant that counts channels.
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
        """The word length of every channel."""
        return self.formats[0].bits

    @property
    def signed(self) -> bool:
        """Whether codes are two's complement."""
        return self.formats[0].signed

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of stored codes."""
        return self.formats[0].dtype

    def word(self, rounding: str = "half_even", overflow: str = "saturate") -> Word:
        """Return the word that kernels write: its length, signedness, rounding and overflow."""
        return Word(self.bits, self.signed, rounding, overflow)


def channel_formats(formats: Sequence[QFormat | str], axis: int) -> ChannelFormats:
    """Return the formats of a tensor's channels, from a list of formats or their texts."""
    return ChannelFormats(tuple(QFormat.of(f) for f in formats), axis)
