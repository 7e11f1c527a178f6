"""Parts that sections are made of: tables, folds, command lines, and the reason for what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from qengine.html_report.facts import Report
from qengine.html_report.markup import Markup, element

_OPEN_ROWS = 60
"""Rows of a table before the rest is folded."""


@dataclass(frozen=True)
class Section:
    """A section of the page: its anchor, its heading, and what it holds."""

    anchor: str
    title: str
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes
    ----------
    content : text or markup.
    value : number by which rows are sorted; None for the text.
    style : class of the cell.
    """

    content: Any
    value: float | None = None
    style: str | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: its cells, of which the first one names it, its anchor and its class."""

    cells: Sequence[Any]
    anchor: str | None = None
    style: str | None = None


def table(caption: str, headings: Sequence[str], rows: Iterable[Row], *, numbers: Iterable[int] = ()) -> Markup:
    """Return a table that scrolls inside of itself; the rows after the first ones are folded.

    Parameters
    ----------
    caption
        Caption of the table.
    headings
        Heading of each column.
    rows
        The rows.
    numbers
        Places of the columns that hold numbers.
    """
    right = frozenset(numbers)
    head = element(
        "tr",
        [element("th", one, scope="col", class_="number" if i in right else None) for i, one in enumerate(headings)],
    )
    all_rows = list(rows)
    body = [_row(one, right) for one in all_rows]
    more = len(body) - _OPEN_ROWS
    first = element("tbody", body[:_OPEN_ROWS] if more > 0 else body)
    rest = None
    if more > 0:
        rest = element(
            "details",
            element("summary", f"{more:,} more rows"),
            _scrolled(
                f"{caption}, more rows", element("table", element("thead", head), element("tbody", body[_OPEN_ROWS:]))
            ),
            class_="rows",
        )
    return Markup(
        _scrolled(caption, element("table", element("caption", caption), element("thead", head), first)) + (rest or "")
    )


def _scrolled(label: str, inner: Markup) -> Markup:
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=label)


def _row(row: Row, right: frozenset[int]) -> Markup:
    cells = []
    for i, one in enumerate(row.cells):
        cell = one if isinstance(one, Cell) else Cell(one)
        style = " ".join(filter(None, ("number" if i in right else None, cell.style))) or None
        value = None if cell.value is None else f"{cell.value:.9g}"
        scope = "row" if i == 0 else None
        cells.append(element("th" if i == 0 else "td", cell.content, scope=scope, class_=style, data_value=value))
    return element("tr", cells, id=row.anchor, class_=row.style, tabindex="-1" if row.anchor else None)


def command_block(report: Report, *sections: str) -> Markup | None:
    """Return the command lines that give the numbers of a section, each with a button that copies it."""
    lines = [one.text for one in report.commands if one.section in sections]
    if not lines:
        return None
    return element("div", [command_line(one) for one in lines], class_="commands")


def command_line(text: str) -> Markup:
    """Return a command line with a button that copies it."""
    button = element("button", "Copy", type="button", class_="copy", hidden=True, aria_label=f"Copy: {text}")
    return element("div", element("pre", element("code", text), tabindex="0"), button, class_="command")


def reason(report: Report, name: str) -> Markup:
    """Return why a part is missing."""
    why = report.missing.get(name, "it was not asked for")
    return element("p", f"There is nothing to show: {why}.", class_="missing")


def bar(share: float, grade: str) -> Markup:
    """Return a bar of a share of the width of its cell."""
    width = max(0.0, min(100.0, 100.0 * share))
    return element(
        "span", element("span", style=f"width:{width:.1f}%", class_=f"fill {grade}"), class_="bar", aria_hidden="true"
    )


def paragraph(*children: Any, **attributes: Any) -> Markup:
    """Return a paragraph."""
    return element("p", *children, **attributes)
