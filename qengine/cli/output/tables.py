"""Tables that fit a terminal: the one component with which all commands show rows of figures.

A table is given its columns, each with what it holds and how important it is, and rows of cells. Only when it is shown
is the width known. Then room is made in this order, each step only as far as needed:

1. Long free text breaks at spaces.
2. Headings break at spaces.
3. Names are shortened in the middle, and all free text breaks at spaces: see `_STEPS`.
4. The least important column is left out, of equal ones the right one; a line below says so, and how to see it.

Step 4 is repeated until the rest fits. Figures, formats and other single words are never cut, broken or wrapped, and
the names are never left out. What is written to a file or a pipe has all columns and whole names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property

from rich.cells import cell_len
from rich.text import Text

from qengine.cli.output.styles import QUIET
from qengine.cli.output.text import longest_word, shortened_apart, shown, wrapped

_LEAST_NAME = 20
_LEAST_TEXT = 20
_LEAST_FORMAT = 28
_MOST_WORD = 28  # cells of a word of free text that are given to it whole
_MOST_TEXT = 100  # cells of free text on one line, where the width is open
_OPEN = 1 << 20
_STEPS = (
    (_OPEN, _OPEN),
    (40, _OPEN),
    (40, 24),
    (_LEAST_TEXT, 24),
    (_LEAST_TEXT, _LEAST_NAME),
    (_LEAST_TEXT, 8),
    (8, 8),
)
"""Cells to which free text and names are narrowed, from step to step."""

NEVER = 100
"""Importance of a column that is never left out."""


class _Holds(Enum):
    NAMES = auto()
    WORDS = auto()
    NUMBERS = auto()
    TEXT = auto()


@dataclass
class _Column:
    heading: str
    holds: _Holds
    importance: int
    most: int | None = None
    least_text: int = _LEAST_TEXT
    cells: list[Text] = field(default_factory=list)
    _short: tuple[int, dict[str, str]] | None = None

    @cached_property
    def widest(self) -> int:
        """Cells that the column takes with all its room."""
        widest = max([self.heading_widest, *(cell_len(cell.plain) for cell in self.cells)])
        return widest if self.most is None else min(widest, self.most)

    @cached_property
    def unwrapped(self) -> int:
        """Cells that the column takes when only its heading is broken at spaces."""
        widest = max([longest_word(self.heading), *(cell_len(cell.plain) for cell in self.cells)])
        return widest if self.most is None else min(widest, self.most)

    @cached_property
    def least(self) -> int:
        """Cells that the column must have."""
        heading = longest_word(self.heading)
        if self.holds is _Holds.NAMES:
            return max(heading, min(self.unwrapped, _LEAST_NAME))
        if self.holds is _Holds.TEXT:
            return max(heading, min(self.unwrapped, max(self.least_text, self.word)))
        return self.unwrapped

    def narrowed(self, least_text: int, least_name: int) -> int:
        """Return the cells of the column where free text and names have these."""
        heading = longest_word(self.heading)
        if self.holds is _Holds.NAMES:
            return min(self.unwrapped, max(heading, least_name))
        if self.holds is _Holds.TEXT:
            return min(self.unwrapped, max(heading, self.word, least_text, self.least_text * (least_text > 8)))
        return self.unwrapped

    @cached_property
    def word(self) -> int:
        """Cells of the longest word of free text, up to `_MOST_WORD`."""
        return min(max((longest_word(cell.plain) for cell in self.cells), default=0), _MOST_WORD)

    @property
    def heading_widest(self) -> int:
        """Cells of the longest line of the heading, where only its own line breaks count."""
        return max(map(cell_len, self.heading.split("\n")))

    def lines_of_heading(self, width: int) -> list[Text]:
        """Return the lines of the heading, broken at its own line breaks and, as needed, at spaces."""
        parts = self.heading.split("\n")
        return [line for part in parts for line in wrapped(Text(part, style=QUIET), width, indent=0)]

    def lines_of(self, cell: Text, width: int) -> list[Text]:
        """Return the lines of a cell in a width."""
        if self.holds is _Holds.NAMES:
            if self._short is None or self._short[0] != width:
                names = dict.fromkeys(one.plain for one in self.cells)
                self._short = width, dict(zip(names, shortened_apart(tuple(names), width), strict=True))
            return [Text(self._short[1][cell.plain], style=cell.style)]
        return list(wrapped(cell, width, indent=0)) if self.holds is _Holds.TEXT else [cell]


class Table:
    """Rows of cells under headings, laid out when the width is known; see the module.

    Parameters
    ----------
    elsewhere
        Options or files that show the columns which are left out, such as "--json".
    has_heading
        Whether headings are shown.
    gap
        Cells between columns.
    indent
        Cells before each line.
    """

    def __init__(self, elsewhere: str = "--json", *, has_heading: bool = True, gap: int = 2, indent: int = 0) -> None:
        self._columns: list[_Column] = []
        self._elsewhere, self._has_heading, self._gap, self._indent = elsewhere, has_heading, gap, indent
        self.row_count = 0

    def names(self, heading: str, importance: int = NEVER) -> None:
        """Add a column of names, which are shortened in the middle where there is too little room."""
        self._add(heading, _Holds.NAMES, importance)

    def words(self, *headings: str, importance: int = 5) -> None:
        """Add columns of single words, such as formats, which are never broken."""
        for heading in headings:
            self._add(heading, _Holds.WORDS, importance)

    def numbers(self, *headings: str, importance: int = 5) -> None:
        """Add columns of figures, which stand on the right and are never broken."""
        for heading in headings:
            self._add(heading, _Holds.NUMBERS, importance)

    def formats(self, heading: str, importance: int = 8) -> None:
        """Add a column of formats, which are not broken unless one is very long."""
        self._columns.append(_Column(heading, _Holds.TEXT, importance, least_text=_LEAST_FORMAT))

    def text(self, heading: str, importance: int = 5, *, most: int | None = None) -> None:
        """Add a column of free text, which breaks at spaces, everywhere if it is wider than `most` cells."""
        self._columns.append(_Column(heading, _Holds.TEXT, importance, most))

    def _add(self, heading: str, holds: _Holds, importance: int) -> None:
        self._columns.append(_Column(heading, holds, importance))

    def row(self, *cells: str | Text, style: str = "") -> None:
        """Add a row, with empty cells where there are fewer than columns."""
        self.row_count += 1
        filled = (*cells, *[""] * (len(self._columns) - len(cells)))
        for column, cell in zip(self._columns, filled, strict=True):
            text, own = (cell.plain, cell.style) if isinstance(cell, Text) else (cell, "")
            column.cells.append(Text(shown(text), style=own or style))

    def lines(self, width: int | None) -> Iterator[Text]:
        """Yield the lines of the table, of at most `width` cells; None for no limit."""
        gap, indent = self._gap, self._indent
        room = None if width is None else width - indent
        kept = _kept(self._columns, room, gap)
        widths = _widths(kept, room, gap)
        if self._has_heading:
            heads = [column.lines_of_heading(w) for column, w in zip(kept, widths, strict=True)]
            height = max(map(len, heads), default=0)
            for i in range(height):
                cells = [head[i - height + len(head)] if i >= height - len(head) else Text() for head in heads]
                yield _joined(kept, cells, widths, indent, gap)
        for i in range(self.row_count):
            parts = [column.lines_of(column.cells[i], w) for column, w in zip(kept, widths, strict=True)]
            for j in range(max(map(len, parts), default=0)):
                cells = [part[j] if j < len(part) else Text() for part in parts]
                yield _joined(kept, cells, widths, indent, gap)
        missing = [column for column in self._columns if column not in kept]
        if missing and room is not None and self._has_heading:
            needed = sum(c.least for c in self._columns) + gap * (len(self._columns) - 1) + indent
            listed = ", ".join(" ".join(column.heading.replace("-\n", "").split()) for column in missing)
            line = f"not shown: {listed} (for {needed} columns, or see {self._elsewhere})"
            yield from wrapped(Text(" " * indent + line, style=QUIET), room + indent, indent + 2)


def _kept(columns: Sequence[_Column], room: int | None, gap: int) -> list[_Column]:
    """Return the columns that are shown."""
    kept = list(columns)
    while room is not None and len(kept) > 1 and sum(c.least for c in kept) + gap * (len(kept) - 1) > room:
        least = min(column.importance for column in kept)
        if least >= NEVER:
            break
        kept.remove([column for column in kept if column.importance == least][-1])
    return kept


def _widths(columns: Sequence[_Column], room: int | None, gap: int) -> list[int]:
    """Return the widths of columns: narrowed in the order of the module, as far as needed."""
    widths = [column.widest for column in columns]
    if room is None:
        return [
            min(w, max(c.least, _MOST_TEXT)) if c.holds is _Holds.TEXT else w
            for c, w in zip(columns, widths, strict=True)
        ]
    over = sum(widths) + gap * (len(columns) - 1) - room
    goals = [[column.narrowed(*step) for column in columns] for step in _STEPS]
    first = [
        max(goal, column.heading_widest) if column.holds is not _Holds.NAMES else column.widest
        for goal, column in zip(goals[0], columns, strict=True)
    ]
    for goal in (first, *goals):
        while over > 0 and (wide := [i for i in range(len(columns)) if widths[i] > goal[i]]):
            widest = max(wide, key=lambda i: (widths[i] - goal[i], -i))
            widths[widest] -= 1
            over -= 1
    return widths


def _joined(columns: Sequence[_Column], cells: Sequence[Text], widths: Sequence[int], indent: int, gap: int) -> Text:
    """Return one line of a table, without spaces at its end."""
    line = Text(" " * indent)
    for i, (column, cell, width) in enumerate(zip(columns, cells, widths, strict=True)):
        pad = " " * max(width - cell_len(cell.plain), 0)
        is_right = column.holds is _Holds.NUMBERS
        if is_right:
            line.append(pad)
        line.append_text(cell)
        if not is_right and i < len(columns) - 1:
            line.append(pad)
        if i < len(columns) - 1:
            line.append(" " * gap)
    line.rstrip()
    return line
