"""Results as people look at them and keep them: text, HTML, CSV, JSON and data frames, all from one list of records.

A result is a dataclass that inherits `Result` and has two members: `summary`, one line, and `records`, the rows of its
table as plain dictionaries. Everything else follows: ``print(result)`` is a table, a notebook shows it as HTML, `save`
writes it by the ending of the file, and `to_pandas` gives a data frame. The JSON object holds all fields of the result.

Names come from model files, which anyone may have made. So text is printable, HTML is escaped, and a CSV cell that a
spreadsheet would execute as a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qengine.atomic_files import replacing
from qengine.errors import MissingPackageError, OptionError, printable
from qengine.qformat import ChannelFormats, PartFormats

if TYPE_CHECKING:
    import pandas

Record = dict[str, Any]
"""A row of a table: values by column."""

_MAX_TEXT_ROWS, _MAX_HTML_ROWS = 40, 200
_MAX_LISTED = 3  # values of a list in a cell
_MAX_CELL = 60  # characters of a cell in text and HTML
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_CELL = "padding:2px 10px;white-space:nowrap"


class Result:
    """Base of results: text, HTML, files and data frames of the rows that `records` returns."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """The result in one line."""

    @abstractmethod
    def records(self) -> list[Record]:
        """Return the rows of the table, each with the same columns."""

    def shown_records(self) -> list[Record]:
        """Return the rows that text and HTML show: all, unless a result has columns that few people read."""
        return self.records()

    def record(self) -> Record:
        """Return the whole result as an object of plain values, as `save` writes it to a .json file."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a file, whole or not at all: all of it to .json, its table to .csv.

        Raises
        ------
        OptionError
            If the file has another ending, or cannot be written.
        """
        write_result(path, {".json": lambda: json_text(self.record()), ".csv": lambda: csv_text(self.records())})

    def to_pandas(self) -> pandas.DataFrame:
        """Return the table as a pandas.DataFrame, with a row for each record.

        Raises
        ------
        OptionError
            If pandas is not installed.
        """
        return data_frame(self.records())

    def __str__(self) -> str:
        return f"{printable(self.summary)}\n\n{text_table(self.shown_records())}".rstrip()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {printable(self.summary)}>"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(printable(self.summary))}</b></p>{html_table(self.shown_records())}"


def plain(value: Any) -> Any:
    """Return a value as JSON has it: infinity is "inf", NaN null, an array a list, and a format its text or a list."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else ("inf" if number > 0 else "-inf") if number == number else None
    if isinstance(value, ChannelFormats | PartFormats):
        return [str(one) for one in value.formats]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if hasattr(value, "record"):
        return plain(value.record())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if is_dataclass(value) and type(value).__str__ is object.__str__:
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def json_text(record: Mapping[str, Any]) -> str:
    """Return a JSON object in lines of ASCII; see `plain`."""
    return json.dumps(plain(record), indent=2, allow_nan=False) + "\n"


def csv_text(records: Sequence[Record], columns: Sequence[str] | None = None) -> str:
    """Return records as CSV under their columns; see `csv_cell`."""
    names = list(columns or columns_of(records))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(map(csv_cell, names))
    writer.writerows([csv_cell(record.get(name)) for name in names] for record in records)
    return text.getvalue()


def csv_cell(value: Any) -> Any:
    """Return a value as a cell of a CSV file.

    None is empty, booleans are 0 and 1, and lists and mappings are JSON. Text that a spreadsheet would execute as a
    formula, as it begins with =, +, -, @ or a control character, gets an apostrophe before it.
    """
    value = plain(value) if not isinstance(value, float) else value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, str) and value.startswith(_FORMULA) and value not in ("-inf", "-"):
        return f"'{value}"
    return value


def data_frame(records: Sequence[Record]) -> pandas.DataFrame:
    """Return records as a pandas.DataFrame; raise OptionError where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingPackageError("to_pandas needs pandas: pip install 'qengine[pandas]'") from None
    return pd.DataFrame.from_records(records, columns=list(columns_of(records)))


def columns_of(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the columns of records, in the order in which they appear."""
    return tuple(dict.fromkeys(name for record in records for name in record))


def write_result(path: str | os.PathLike[str], texts: Mapping[str, Callable[[], str]]) -> None:
    """Write the text for the ending of a file; the texts are functions by ending.

    Raises
    ------
    OptionError
        If the file has another ending, or cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in texts:
        raise OptionError(f"cannot save a result as {os.fspath(path)}: the name must end in {' or '.join(texts)}")
    write_text(path, texts[ending]())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text to a file with its own line ends, whole or not at all; raise OptionError where that fails."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def text_table(records: Sequence[Record], rows: int = _MAX_TEXT_ROWS) -> str:
    """Return records as a table in plain text, numbers to the right; only the first rows of many."""
    names = columns_of(records)
    if not names:
        return ""
    shown = records[:rows]
    columns = [[name, *(_text(record.get(name)) for record in shown)] for name in names]
    right = [_is_numeric(shown, name) for name in names]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([*lines, *_more(records, rows)])


def html_table(records: Sequence[Record], rows: int = _MAX_HTML_ROWS) -> str:
    """Return records as an HTML table that needs nothing else, every text escaped; only the first rows of many."""
    names = columns_of(records)
    if not names:
        return ""
    shown = records[:rows]
    styles = [f"{_CELL};text-align:{'right' if _is_numeric(shown, name) else 'left'}" for name in names]
    head = "".join(f'<th style="{style}">{escape(printable(n))}</th>' for n, style in zip(names, styles, strict=True))
    lines = [
        "".join(
            f'<td style="{style}">{escape(_text(record.get(name)))}</td>'
            for name, style in zip(names, styles, strict=True)
        )
        for record in shown
    ]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    more = "".join(f"<p>{escape(line)}</p>" for line in _more(records, rows))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _more(records: Sequence[Record], rows: int) -> list[str]:
    left = len(records) - rows
    return [f"... and {left:,} more: to_pandas() and save() have all"] if left > 0 else []


def _is_numeric(records: Sequence[Record], name: str) -> bool:
    values = [record.get(name) for record in records]
    return any(isinstance(value, int | float) for value in values) and not any(isinstance(v, str) for v in values)


def _text(value: Any) -> str:
    """Return a value as a cell of text and HTML."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    known = str(value) if isinstance(value, ChannelFormats | PartFormats) else plain(value)
    words = _listed(known) if isinstance(known, list) else str(known)
    text = printable(words)
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 3]}..."


def _listed(values: Sequence[Any]) -> str:
    """Return a list as text: many values as the first ones and their number."""
    first = ", ".join(map(str, values[:_MAX_LISTED]))
    return first if len(values) <= _MAX_LISTED else f"{first}, ... ({len(values)})"
