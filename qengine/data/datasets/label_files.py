"""Files of labels: numbers or names of classes, one a line in the order of the samples, or with their names.

A line of text may hold a label alone, or the name of a sample and its label. `read_labels` finds out which: a header
names its columns, and otherwise the names of the samples tell.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from qengine.data.read import ARCHIVE_ERRORS, array_of, read_entry
from qengine.errors import FeedError, OptionError, first_line
from qengine.input_files import open_input

SUFFIXES = (".csv", ".tsv", ".txt", ".npy", ".npz")
"""Endings of the names of files of labels."""

_MAX_BYTES = 1 << 28
_MAX_LINE = 1 << 16
_MAX_LABELS = 1 << 28
_KEYS = ("labels", "label", "y", "classes", "class")
_NAME_HEADINGS = frozenset(
    {"file", "filename", "file_name", "image", "image_name", "img", "path", "filepath", "name", "id", "image_id", "key"}
)
_LABEL_HEADINGS = frozenset(
    {"label", "labels", "class", "classes", "class_id", "class_name", "category", "target", "y", "label_id"}
)

Given = list[tuple[str | None, str]]
"""Labels as text, each with the name of its sample; None where the order says which sample it is."""


def read_labels(path: Path, keys: Collection[str]) -> Given | NDArray[Any]:
    """Return the labels in a file: an array, or texts with the names of samples.

    Parameters
    ----------
    path
        A file whose name ends as in `SUFFIXES`.
    keys
        Names of the samples; empty if they have none.

    Raises
    ------
    QEngineError
        If the file does not exist or has another form.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise OptionError(f"there is no file of labels {path}")
    if suffix not in SUFFIXES:
        raise OptionError(f"labels {path} are not in a file that ends in {', '.join(SUFFIXES)}")
    try:
        with open_input(path) as file:
            size = path.stat().st_size
            if suffix == ".npy":
                return array_of(file, size, f"labels {path}", _MAX_LABELS)
            if suffix == ".npz":
                with zipfile.ZipFile(file) as archive:
                    return read_entry(archive, _entry(path, archive.namelist()), _MAX_LABELS)
            if size > _MAX_BYTES:
                raise FeedError(f"labels {path} have {size:,} bytes, more than {_MAX_BYTES:,}: give them as .npy")
            text = file.read(_MAX_BYTES)
    except ARCHIVE_ERRORS as error:
        raise FeedError(f"labels {path} cannot be read: {first_line(error)}") from None
    return _texts(path, suffix, _lines(path, text), keys)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that hold anything; see `read_labels`."""
    try:
        with open_input(path) as file:
            return _lines(path, file.read(_MAX_BYTES))
    except OSError as error:
        raise FeedError(f"{path} cannot be read: {error.strerror or error}") from None


def _entry(path: Path, names: Sequence[str]) -> str:
    found = [name.removesuffix(".npy") for name in names]
    key = next((key for key in _KEYS if key in found), found[0] if len(found) == 1 else None)
    if key is None:
        raise FeedError(f"labels {path} have no array 'labels'; it holds {', '.join(found) or 'nothing'}")
    return key


def _lines(path: Path, content: bytes) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FeedError(f"{path} is not text in UTF-8") from None
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip() and not line.startswith("#")]
    if not lines:
        raise FeedError(f"{path} is empty")
    for number, line in enumerate(lines, 1):
        if len(line) > _MAX_LINE:
            raise FeedError(f"{path}: line {number} has more than {_MAX_LINE:,} characters")
        if "\0" in line:
            raise FeedError(f"{path}: line {number} holds a NUL, which is not text")
    return lines


def _texts(path: Path, suffix: str, lines: list[str], keys: Collection[str]) -> Given:
    rows = _rows(path, suffix, lines, keys)
    header = [cell.lower() for cell in rows[0]]
    names = [i for i, cell in enumerate(header) if cell in _NAME_HEADINGS]
    labels = [i for i, cell in enumerate(header) if cell in _LABEL_HEADINGS]
    if labels and len(rows) > 1 and not _is_row_of_samples(rows[0], keys):
        columns: tuple[int | None, int] = (names[0] if names else None), labels[0]
        if len(header) == 2 and not names:  # another word for the column of the names
            columns = 1 - labels[0], labels[0]
        rows = rows[1:]
    elif len(header) == 1:
        columns = None, 0
        rows = rows[1:] if _is_heading(rows) else rows
    elif len(header) == 2:
        columns = 0, 1
        rows = rows[1:] if names and not _is_row_of_samples(rows[0], keys) else rows
    else:
        raise FeedError(
            f"labels {path} have {len(header)} columns and no header that tells which is which: name the columns file "
            "and label in the first line"
        )
    name, label = columns
    for number, row in enumerate(rows, 1):
        if len(row) <= max(label, name or 0):
            raise FeedError(f"labels {path}: row {number} has {len(row)} columns, and {len(header)} are needed")
    return [(None if name is None else row[name], row[label]) for row in rows]


def _rows(path: Path, suffix: str, lines: list[str], keys: Collection[str]) -> list[list[str]]:
    """Return the cells of each line."""
    if suffix == ".txt" and "\t" not in lines[0] and "," not in lines[0]:
        parts = [line.rsplit(None, 1) for line in lines]
        if all(len(part) == 2 for part in parts) and _names_a_sample(parts[-1][0], keys):
            return [[cell.strip() for cell in part] for part in parts]
        return [[line.strip()] for line in lines]
    if suffix == ".txt" and "\t" not in lines[0] and not _names_a_sample(lines[-1].split(",")[0].strip(), keys):
        return [[line.strip()] for line in lines]  # names of classes that hold commas
    separator = "\t" if "\t" in lines[0] else ";" if ";" in lines[0] and "," not in lines[0] else ","
    try:
        return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator, strict=True)]
    except csv.Error as error:
        raise FeedError(f"labels {path} are not a table of cells separated by '{separator}': {error}") from None


def _names_a_sample(text: str, keys: Collection[str]) -> bool:
    """Whether a text is the name of a sample, or of a file."""
    if text in keys or PurePosixPath(text).name in keys:
        return True
    return bool(re.fullmatch(r"[^\s].*\.[A-Za-z]\w{1,4}", text))


def _is_row_of_samples(row: Sequence[str], keys: Collection[str]) -> bool:
    return any(cell in keys for cell in row)


def _is_heading(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of rows of one cell is a heading: a word over numbers, or one that means labels."""
    first, rest = rows[0][0], [row[0] for row in rows[1:]]
    if not rest:
        return False
    return first.lower() in _LABEL_HEADINGS or (not is_whole(first) and all(map(is_whole, rest)))


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, such as 7 or 7.0."""
    return re.fullmatch(r"[+-]?\d{1,18}(\.0*)?", text.strip(), re.ASCII) is not None
