"""Words in hex, as Verilog's $readmemh reads them: comments, addresses, and several codes in a line's word."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from qengine.deploy.compare.dump import Array, DumpedTensor, Reading
from qengine.deploy.compare.readers.raw import number_in
from qengine.errors import DumpError

_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_MAX_PADDED = 1 << 20
_WORD = re.compile(r"(?:0x)?[0-9a-fA-F_xXzZ?]+")


def read_hex(name: str, content: bytes, source: str) -> list[DumpedTensor]:
    """Return the tensor of a file of hex words in two's complement.

    Raises
    ------
    DumpError
        If a word is not a number, such as the x of a signal that is not driven.
    """
    text = _COMMENT.sub(" ", content.decode("ascii", "replace"))
    words: list[str] = []
    padded = 0
    for word in text.split():
        if word.startswith("@"):
            padded += _pad_to(words, word, source, _MAX_PADDED - padded)
            continue
        plain = word.replace("_", "").removeprefix("0x").removeprefix("0X").rstrip(",")
        if re.fullmatch(r"[0-9a-fA-F]+", plain) is None:
            kind = "is undefined" if _WORD.fullmatch(word) else "is not a hex number"
            raise DumpError(f"{source}: word {len(words) + 1}, '{word[:40]}', {kind}; words are like 0f or fff0")
        words.append(plain)
    if not words:  # those of a tensor without elements
        return [DumpedTensor.of_array(name, source, np.zeros(0, np.int64), number_in(name))]

    def readings(bits: int, count: int) -> Iterator[Reading]:
        yield from _readings(words, bits, count)

    return [DumpedTensor(name, source, readings, number_in(name))]


def _pad_to(words: list[str], address: str, source: str, most: int) -> int:
    """Append at most `most` zeros up to an address, unless nothing stands before it, and return their number."""
    try:
        start = int(address[1:], 16)
    except ValueError:
        raise DumpError(f"{source}: the address '{address[:40]}' is not a hex number") from None
    if not words:
        return 0
    missing = start - len(words)
    if missing < 0:
        raise DumpError(f"{source}: the address {address[:40]} is not after the {len(words)} words before it")
    if missing > most:
        raise DumpError(f"{source}: before the address {address[:40]} more than {_MAX_PADDED:,} words are left out")
    words.extend(["0"] * missing)
    return missing


def _readings(words: list[str], bits: int, count: int) -> Iterator[Reading]:
    digits = -(-bits // 4)
    width = max(map(len, words))
    if width % digits == 0 and width > digits:
        lanes = width // digits
        if len(words) * lanes >= count and (len(words) - 1) * lanes < count:
            split = [[w.rjust(width, "0")[i * digits : (i + 1) * digits] for i in range(lanes)] for w in words]
            numbers = np.array([[int(part, 16) for part in line] for line in split], np.int64)
            yield Reading(
                _signed(numbers[:, ::-1].reshape(-1), 4 * digits), f"{lanes} lanes, the first in the low bits"
            )
            yield Reading(_signed(numbers.reshape(-1), 4 * digits), f"{lanes} lanes, the first in the high bits")
    if width <= 16:
        numbers = np.array([int(word, 16) for word in words], np.uint64).astype(np.int64)
        yield Reading(_signed(numbers, 4 * width), "" if width == digits else f"words of {width} hex digits")


def _signed(numbers: Array, bits: int) -> Array:
    """Return numbers of some bits in two's complement; which of them are unsigned shows later."""
    if bits >= 64:
        return numbers
    return np.asarray(numbers - ((numbers >> (bits - 1)) << bits))
