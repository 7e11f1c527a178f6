"""Text files of integers: hex for $readmemh, C headers, .mif of Intel and .coe of AMD.

A word is in two's complement, cut to its b bits and written with ceil(b / 4) hexadecimal digits; a line of several
lanes is these digits one after the other, the first lane at the low end or at the high end. A last line that is not
full has lanes of 0. Every file begins with a comment that says what it holds.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qengine.errors import FeedError, OptionError, did_you_mean

_PER_LINE = 16
_C_TYPES = (8, 16, 32, 64)
_MOST_LANES = 1024


@dataclass(frozen=True)
class Words:
    """Words of a tensor in the order of a file.

    Attributes
    ----------
    codes : integers, one axis.
    bits : width of a word.
    signed : whether words are two's complement.
    title : text for the first line: name, shape, layout and format.
    name : identifier of C.
    """

    codes: NDArray[Any]
    bits: int
    signed: bool
    title: str
    name: str

    @property
    def digits(self) -> int:
        """The number of hexadecimal digits of a word."""
        return -(-self.bits // 4)


@dataclass(frozen=True)
class Lanes:
    """Words of a line.

    Attributes
    ----------
    count : number of words.
    first : "low" for the first word at the low end, the right, of a line; "high" for the left.
    """

    count: int = 1
    first: str = "low"

    def __post_init__(self) -> None:
        if not 1 <= self.count <= _MOST_LANES:
            raise OptionError(f"lanes must be 1 to {_MOST_LANES}, not {self.count}")
        if self.first not in ("low", "high"):
            raise OptionError(f"the first lane is at the end 'low' or 'high', not '{self.first}'")

    def __str__(self) -> str:
        if self.count == 1:
            return "1 word a line"
        return f"{self.count} words a line, the first at the {'right (low)' if self.first == 'low' else 'left (high)'}"


def lines(words: Words, lanes: Lanes) -> list[str]:
    """Return the lines of hexadecimal digits."""
    mask = np.uint64((1 << words.bits) - 1)
    codes = words.codes.astype(np.int64 if words.codes.dtype.kind == "i" else np.uint64).view(np.uint64) & mask
    padded = np.pad(codes, (0, -len(codes) % lanes.count)).reshape(-1, lanes.count)
    ordered = padded[:, ::-1] if lanes.first == "low" else padded
    # Each number is 16 digits, the first ones 0.
    digits = np.frombuffer(ordered.astype(">u8").tobytes().hex().encode(), "S1").reshape(-1, lanes.count, 16)
    width = words.digits * lanes.count
    text = digits[:, :, 16 - words.digits :].tobytes().decode()
    return [text[i : i + width] for i in range(0, len(text), width)]


def hex_text(words: Words, lanes: Lanes) -> str:
    """Return a file for $readmemh."""
    return "\n".join([f"// {words.title}; {lanes}", *lines(words, lanes)]) + "\n"


def mif_text(words: Words, lanes: Lanes) -> str:
    """Return a memory initialization file of Intel's tools."""
    rows = lines(words, lanes)
    head = [
        f"-- {words.title}; {lanes}",
        f"WIDTH={4 * words.digits * lanes.count};",
        f"DEPTH={max(len(rows), 1)};",
        "ADDRESS_RADIX=UNS;",
        "DATA_RADIX=HEX;",
        "CONTENT BEGIN",
    ]
    return "\n".join([*head, *(f"    {i} : {row};" for i, row in enumerate(rows)), "END;"]) + "\n"


def coe_text(words: Words, lanes: Lanes) -> str:
    """Return a coefficient file of AMD's tools."""
    rows = lines(words, lanes) or ["0" * words.digits * lanes.count]
    head = f"; {words.title}; {lanes}\nmemory_initialization_radix=16;\nmemory_initialization_vector=\n"
    return head + ",\n".join(rows) + ";\n"


def c_text(words: Words, lanes: Lanes) -> str:  # noqa: ARG001 - every writer takes the same arguments
    """Return a C header with one array of the smallest integer type that holds a word."""
    width = next(w for w in _C_TYPES if w >= words.bits)
    kind = f"{'' if words.signed else 'u'}int{width}_t"
    guard = f"QENGINE_{words.name.upper()}_H"
    size = max(len(words.codes), 1)  # C has no array without elements
    numbers = [_c_number(int(code), width, words.signed) for code in words.codes.tolist()] or ["0"]
    rows = [", ".join(numbers[i : i + _PER_LINE]) for i in range(0, len(numbers), _PER_LINE)]
    return (
        "\n".join(
            [
                f"/* {words.title.replace('*/', '* /')} */",
                f"#ifndef {guard}",
                f"#define {guard}",
                "#include <stdint.h>",
                f"static const {kind} {words.name}[{size}] = {{",
                *(f"    {row}," for row in rows),
                "};",
                f"#endif /* {guard} */",
            ]
        )
        + "\n"
    )


def _c_number(code: int, width: int, signed: bool) -> str:
    if signed and code == -(1 << 63):
        return "INT64_MIN"  # its digits alone do not fit the type
    if width <= 32:
        return str(code) if signed or code < 1 << 31 else f"{code}u"
    return f"INT64_C({code})" if signed else f"UINT64_C({code})"


WRITERS = {"hex": hex_text, "c": c_text, "mif": mif_text, "coe": coe_text}
"""Functions of `Words` and `Lanes` that return the text of a file, by the name of the kind."""

SUFFIXES = {"npy": ".npy", "hex": ".hex", "c": ".h", "mif": ".mif", "coe": ".coe"}
"""The endings of the kinds of files."""


def read_hex(text: str, bits: int, signed: bool, count: int, lanes: Lanes) -> NDArray[np.int64]:
    """Return the words of a file for $readmemh, of at most 62 bits.

    Raises
    ------
    FeedError
        If a line has another width, or there are fewer or more words.
    """
    digits = -(-bits // 4)
    found: list[int] = []
    for line in _data_lines(text):
        if len(line) != digits * lanes.count:
            raise FeedError(
                f"a line has {len(line)} digits, and {lanes.count} words of {bits} bits have {digits * lanes.count}"
            )
        one = [int(line[i : i + digits], 16) for i in range(0, len(line), digits)]
        found += one if lanes.first == "high" else one[::-1]
    rows = -(-count // lanes.count)
    if len(found) != rows * lanes.count:
        raise FeedError(f"there are {len(found)} words, expected {rows * lanes.count}")
    if any(word >> bits for word in found):
        raise FeedError(f"a word is wider than {bits} bits")
    codes = np.array(found[:count], np.int64)
    return codes - ((codes >> (bits - 1)) << bits) if signed else codes


def _data_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        bare = line.split("//")[0].strip()
        if bare and not re.fullmatch(r"[0-9A-Fa-f]+", bare):
            raise FeedError(f"'{bare[:40]}' has other characters than hexadecimal digits")
        if bare:
            yield bare


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return kinds of files, each once and .npy first, which every pack has.

    Raises
    ------
    OptionError
        If there is no such kind.
    """
    for kind in kinds:
        if kind not in SUFFIXES:
            near = did_you_mean(kind, SUFFIXES)
            raise OptionError(f"there are no files of the kind '{kind}'{near}; there are {', '.join(SUFFIXES)}")
    return tuple(kind for kind in SUFFIXES if kind in kinds or kind == "npy")
