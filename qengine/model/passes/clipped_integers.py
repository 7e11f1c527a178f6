"""Ranges of stored integers that a Clip narrows: the words of fewer bits that they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.model.graph import Node
from qengine.model.rules import Modes
from qengine.qformat import ChannelFormats, Format, Overflow, QFormat

_INTEGERS = {"int8", "uint8", "int16", "uint16"}


@dataclass(frozen=True)
class IntegerRange:
    """The integers from `least` to `most`."""

    least: int
    most: int

    def word(self, fmt: QFormat, zero_point: int) -> tuple[QFormat, Modes] | None:
        """Return the format and rules of codes in this range; None where no word has just these codes.

        Parameters
        ----------
        fmt, zero_point
            Format of the stored integers, and the integer that stores 0.
        """
        least, most = self.least - zero_point, self.most - zero_point
        for bits in range(2, fmt.bits + 1):
            if (least, most) == (0, (1 << bits) - 1):
                return QFormat(bits - fmt.fraction_bits, fmt.fraction_bits, signed=False), Modes()
            limit = 1 << (bits - 1)
            if most == limit - 1 and least in (-limit, 1 - limit):
                overflow = None if least == -limit else Overflow.SYMMETRIC
                return QFormat(bits - 1 - fmt.fraction_bits, fmt.fraction_bits), Modes(overflow=overflow)
        return None

    def constant_format(self, fmt: Format, zero_point: int) -> Format:
        """Return the format of a constant whose integers are in this range; the given one where no word fits."""
        each = fmt.formats if isinstance(fmt, ChannelFormats) else (fmt,)
        words = [self.word(one, zero_point) if isinstance(one, QFormat) else None for one in each]
        found = tuple(word[0] for word in words if word is not None)
        if len(found) < len(each):
            return fmt
        return ChannelFormats(found, fmt.axis) if isinstance(fmt, ChannelFormats) else found[0]

    def bounds(self, fmt: QFormat, zero_point: int) -> list[NDArray[np.float32]]:
        """Return the least and the greatest of the numbers that the integers represent."""
        return [np.asarray((end - zero_point) * fmt.step, np.float32) for end in (self.least, self.most)]


def clip_range(node: Node, constants: Mapping[str, NDArray[Any]]) -> IntegerRange | None:
    """Return the integers that a Clip lets pass; None for any other node, or where they are not constants."""
    if node.operator != "Clip" or node.domain or len(node.inputs) != 3:
        return None
    bounds = [constants.get(name) for name in node.inputs[1:]]
    least, most = (one if one is not None and one.size == 1 and one.dtype.name in _INTEGERS else None for one in bounds)
    if least is None or most is None or least.item() > most.item():
        return None
    return IntegerRange(int(least.item()), int(most.item()))
