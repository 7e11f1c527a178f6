"""Text that fits a width: names shortened in the middle, sentences wrapped at words, commands left whole.

Widths are counted in cells of a terminal, where a Chinese character has two and a combining accent none.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from qengine.errors import printable

_GAP = ".."
_WORD = re.compile(r"\s*\S+")
_NUMBER = re.compile(r"[-+]?[\d.,]*\d[%\w]*\W*")
INDENT = 2
"""Cells by which the further lines of a sentence are indented."""


@dataclass(frozen=True)
class Paste:
    """A line to paste into a shell or to open, such as a command or a path, which is never wrapped or shortened.

    Attributes
    ----------
    text : the line.
    style : style of the line.
    """

    text: str
    style: str = ""


def shown(text: str) -> str:
    """Return text as one line that standard output can hold; a character that it lacks is escaped here, not later.

    Escapes are longer than the characters, so that a table must know of them.
    """
    line = printable(text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        line.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return line.encode("ascii", "backslashreplace").decode()
    return line


def shortened(text: str, length: int) -> str:
    """Return a text of at most some cells, the middle left out: its beginning and its end tell names apart."""
    if cell_len(text) <= length:
        return text
    room = max(length - len(_GAP), 0)
    end = _last_cells(text, room // 2)
    return f"{_first_cells(text, room - cell_len(end))}{_GAP[:length]}{end}"


def shortened_apart(names: Sequence[str], length: int) -> list[str]:
    """Return names of at most some cells; of those that would look the same, another part is left out.

    Parameters
    ----------
    names
        The names, all different.
    length
        Most cells of a name.
    """
    short = [shortened(name, length) for name in names]
    room = max(length - len(_GAP), 0)
    for look in [look for look, count in Counter(short).items() if count > 1]:
        same = [i for i, one in enumerate(short) if one == look]
        others = set(short) - {look}
        for end in sorted(range(room + 1), key=lambda cells: abs(cells - room // 2)):
            tails = [_last_cells(names[i], end) for i in same]
            apart = [
                f"{_first_cells(names[i], room - cell_len(tail))}{_GAP}{tail}"
                for i, tail in zip(same, tails, strict=True)
            ]
            if len({*apart}) == len(same) and others.isdisjoint(apart):
                for i, one in zip(same, apart, strict=True):
                    short[i] = one
                break
    return short


def _first_cells(text: str, room: int) -> str:
    used = 0
    for i, character in enumerate(text):
        used += cell_len(character)
        if used > room:
            return text[:i]
    return text


def _last_cells(text: str, room: int) -> str:
    """Return the end of a text; it does not begin with an accent that belongs to a character before it."""
    used, start = 0, len(text)
    for i in range(len(text) - 1, -1, -1):
        used += cell_len(text[i])
        if used > room:
            break
        if cell_len(text[i]):
            start = i
    return text[start:]


def wrapped(text: Text, width: int, indent: int = INDENT) -> Iterator[Text]:
    """Yield the lines of a text: it breaks at spaces, and words that no line holds are shortened in the middle.

    Parameters
    ----------
    text
        The text, one line.
    width
        Most cells of a line.
    indent
        Cells by which all lines but the first are indented.
    """
    if cell_len(text.plain) <= width:
        yield text
        return
    line = Text(style=text.style)
    for match in _WORD.finditer(text.plain):
        word = text[match.start() : match.end()]
        word.style = text.style
        if line and cell_len(line.plain) + cell_len(word.plain) > width and line.plain.strip():
            yield line
            line = Text(" " * indent, style=text.style)
            word = word[len(word) - len(word.plain.lstrip()) :]
        line.append_text(_that_fits(word, width - cell_len(line.plain)))
    yield line


def _that_fits(word: Text, room: int) -> Text:
    if cell_len(word.plain) <= room or _NUMBER.fullmatch(word.plain.strip()):
        return word
    return Text(shortened(word.plain, max(room, 1)), style=word.style)


def longest_word(text: str) -> int:
    """Return the number of cells of the longest word of a text."""
    return max(map(cell_len, text.split()), default=0)
