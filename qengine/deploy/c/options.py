"""Options of an export to C."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypedDict

from qengine.checks import check_whole_number
from qengine.deploy.vectors.names import is_word_of_c
from qengine.errors import OptionError
from qengine.memory import parse_size

MOST_CHECKS = 1000
_FILES = """
alloca assert complex ctype endian errno features fenv float inttypes iso646 limits locale malloc math memory sched
setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath threads
time uchar unistd wchar wctype con prn aux nul
"""
"""Names of files that systems have: a header NAME.h of a network would hide theirs."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")


class CKeywords(TypedDict, total=False):
    """The fields of `COptions` as keyword arguments."""

    name: str
    one_file: bool
    trace: bool
    check: int
    ram: int | str | None
    drop_softmax: bool
    verify: bool


@dataclass(frozen=True)
class COptions:
    """Options of an export to C.

    Attributes
    ----------
    name
        Prefix of all names in C and of the files: an identifier in small letters.
    one_file
        Whether the source, the kernels and the weights are one file NAME.c.
    trace
        Whether the folder holds the model too: then `qengine compare` needs nothing else to read a trace.
    check
        Number of samples in the self-test whose outputs are compared element by element.
    ram
        Bytes that the arena may take, such as 65536 or "64K"; None for no limit.
    drop_softmax
        Whether a Softmax or LogSoftmax at the end is left out.
    verify
        Whether the C is compiled, and every tensor compared with the session.

    Raises
    ------
    OptionError
        If an option is not valid.
    """

    name: str = "net"
    one_file: bool = False
    trace: bool = False
    check: int = 0
    ram: int | str | None = None
    drop_softmax: bool = False
    verify: bool = False

    def __post_init__(self) -> None:
        check_name(self.name)
        check_whole_number("check", self.check, 0, MOST_CHECKS)
        if self.ram is not None:
            object.__setattr__(self, "ram", parse_size("ram", self.ram))

    @property
    def most_bytes(self) -> int | None:
        """The limit of memory in bytes."""
        assert not isinstance(self.ram, str)
        return self.ram


def check_name(name: str) -> None:
    """Raise OptionError unless a text can be the prefix of names in C and of files."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(
            f"name {name!r} is not an identifier of C: give a letter, then up to 30 letters, digits and _"
        )
    if is_word_of_c(name) or name.lower() in _FILES.split():
        why = "is a word of C or C++" if is_word_of_c(name) else f"makes a file {name}.h, which systems have"
        raise OptionError(f"name '{name}' {why}: give another one")
