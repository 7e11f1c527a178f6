"""Dumps as text: CSV, lines of a log, traces of generated C, and JSON.

A line names its tensor or continues the one before. These forms are read, with commas, semicolons, tabs or blanks
between the parts:

- ``name,index,value`` and ``name index value``; the index may be one number for each axis, and be in brackets;
- ``name: value value ...`` and ``[name] value value ...``, also over several lines;
- ``name,id,0a0bff...``, the bytes of a tensor in hex, as a C trace prints them;
- a table whose first line names a tensor for each column; or numbers alone, which are one tensor.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qengine.deploy.compare.dump import DumpedTensor, as_integers
from qengine.deploy.compare.readers.raw import readings_of
from qengine.errors import DumpError, first_line

_NUMBER = re.compile(
    r"[-+]?(?:0x[0-9a-f]{1,16}|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|nan|inf)", re.IGNORECASE | re.ASCII
)
_INDEX = re.compile(r"[0-9]{1,18}")
_HEX_BYTES = re.compile(r"(?:[0-9a-fA-F]{2})+")
_SEPARATOR = re.compile(r"[\s,;|]+")
_BRACKETED = re.compile(r"^\[([^\]\s]*[^\]\s\d.:,][^\]]*|\d+)\]\s*(.*)$")
_INDEXED = re.compile(r"^([^\s,;\[\]]+)\[([\d\s,]+(?:\]\[\d+)*)\]\s*[=:,\s]\s*(\S+)$", re.ASCII)


@dataclass
class _Values:
    """Numbers of a tensor as lines give them: in order, or by index."""

    numbers: list[float] = field(default_factory=list)
    by_index: dict[tuple[int, ...], float] = field(default_factory=dict)
    content: bytes = b""
    number: int | None = None


def read_text(name: str, content: bytes, source: str) -> list[DumpedTensor]:
    """Return the tensors of a text.

    Raises
    ------
    DumpError
        If it holds no numbers or an index twice, or a table (.csv, .tsv) holds a value that is not a number.
    """
    lines = content.decode("utf-8", "replace").splitlines()
    columns = _columns(lines, source)
    if columns is not None:
        return columns
    found: dict[str, _Values] = {}
    current = ""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith(("#", "//")):
            place = f"{source}, line {number}"
            if source.lower().endswith((".csv", ".tsv")):
                _check_values(text, place)
            current = _read_line(text, current, found, place)
    tensors = [_tensor(key or name, values, source) for key, values in found.items() if _count(values)]
    if not tensors:
        raise DumpError(f"{source} holds no numbers; lines are like 'name,index,value' or 'name: value value'")
    return tensors


def read_json(name: str, content: bytes, source: str) -> list[DumpedTensor]:
    """Return the tensors of a JSON object by name, or of one list."""
    try:
        loaded: Any = json.loads(content)
        items = loaded.items() if isinstance(loaded, dict) else [(name, loaded)]
        arrays = {str(key): as_integers(np.array(value, np.float64)) for key, value in items}
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DumpError(f"{source} is not a JSON object of lists of numbers: {first_line(error)}") from None
    return [DumpedTensor.of_array(key, f"{source} ['{key}']", a, n) for n, (key, a) in enumerate(arrays.items())]


def _count(values: _Values) -> int:
    return len(values.numbers) or len(values.by_index) or len(values.content)


def _columns(lines: list[str], source: str) -> list[DumpedTensor] | None:
    """Return the tensors of a table with a name for each column; None for any other text."""
    rows = [_SEPARATOR.split(line.strip().strip(",;")) for line in lines if line.strip()]
    if len(rows) < 2 or len(rows[0]) < 1 or any(len(row) != len(rows[0]) for row in rows):
        return None
    head, body = rows[0], rows[1:]
    if any(_NUMBER.fullmatch(word) for word in head) or not all(_NUMBER.fullmatch(w) for row in body for w in row):
        return None
    numbers = as_integers(np.array([[_value(word) for word in row] for row in body]))
    return [
        DumpedTensor.of_array(key, f"{source}, column '{key}'", numbers[:, i].copy(), i) for i, key in enumerate(head)
    ]


def _check_values(text: str, place: str) -> None:
    """Raise DumpError for a value that is not a number, after numbers or after a name and an index.

    A log holds such lines between others, as a table does not.
    """
    words = [word for word in _SEPARATOR.split(text) if word]
    first = 0 if words and _NUMBER.fullmatch(words[0]) else 1
    indices = len(words) > 2 and all(map(_INDEX.fullmatch, words[1:-1]))
    if first == 0 or (indices and not _is_content(words[1:], text)):
        bad = next((word for word in words[first:] if not _NUMBER.fullmatch(word)), None)
        if bad is not None:
            raise DumpError(f"{place}: '{bad}' is not a number, such as -12, 0x1f or 0.5")


def _read_line(text: str, current: str, found: dict[str, _Values], place: str) -> str:
    """Add the numbers of a line to a tensor, and return the name of that tensor."""
    if match := _INDEXED.match(text):
        key, index, value = match.groups()
        parts = re.findall(r"[0-9]+", index)
        if _NUMBER.fullmatch(value) and all(map(_INDEX.fullmatch, parts)):
            _put(found.setdefault(key, _Values()), tuple(map(int, parts)), value, place)
            return key
    if match := _BRACKETED.match(text):
        key, rest = match[1].strip(), match[2].lstrip(":= ")
        head, _, tail = rest.partition(":")
        if tail and not _NUMBER.fullmatch(head.strip()):
            key, rest = head.strip(), tail
        _extend(found.setdefault(key, _Values(number=int(key) if _INDEX.fullmatch(key) else None)), rest)
        return key
    words = [word for word in _SEPARATOR.split(text) if word]
    head, colon, tail = text.partition(":")
    if colon and head.strip() and not _NUMBER.fullmatch(head.strip()) and not _SEPARATOR.search(head.strip()):
        _extend(found.setdefault(head.strip(), _Values()), tail)
        return head.strip()
    if not words:
        return current  # separators alone
    if _NUMBER.fullmatch(words[0]):
        _extend(found.setdefault(current, _Values()), text)
        return current
    key, rest = words[0], words[1:]
    if _is_content(rest, text):
        values = found.setdefault(key, _Values())
        values.content += bytes.fromhex(rest[1])
        values.number = int(rest[0])
        return key
    if len(rest) < 2 or not all(_NUMBER.fullmatch(word) for word in rest):
        return current  # a headline, or another line of a log
    if all(map(_INDEX.fullmatch, rest[:-1])):
        _put(found.setdefault(key, _Values()), tuple(map(int, rest[:-1])), rest[-1], place)
    else:
        _extend(found.setdefault(key, _Values()), " ".join(rest))
    return key


def _is_content(rest: list[str], text: str) -> bool:
    """Whether the words after a name are a number and the bytes of a tensor in hex."""
    if len(rest) != 2 or "," not in text or not _INDEX.fullmatch(rest[0]):
        return False
    return len(rest[1]) >= 4 and _HEX_BYTES.fullmatch(rest[1]) is not None


def _put(values: _Values, index: tuple[int, ...], value: str, place: str) -> None:
    if index in values.by_index:
        raise DumpError(f"{place}: the index {list(index)} is there twice")
    values.by_index[index] = _value(value)


def _extend(values: _Values, text: str) -> None:
    words = [word for word in _SEPARATOR.split(text.strip(" []{}();")) if word]
    if all(_NUMBER.fullmatch(word) for word in words):
        values.numbers += [_value(word) for word in words]


def _value(word: str) -> float:
    return float(int(word, 16)) if "x" in word.lower() else float(word)


def _tensor(name: str, values: _Values, source: str) -> DumpedTensor:
    where = f"{source}, tensor '{name}'"
    if values.content:
        return DumpedTensor(name, where, readings_of(values.content), values.number)
    if values.by_index:
        return DumpedTensor.of_array(name, where, _filled(values.by_index, where), values.number)
    return DumpedTensor.of_array(name, where, as_integers(np.array(values.numbers)), values.number)


def _filled(by_index: dict[tuple[int, ...], float], where: str) -> Any:
    """Return the array of numbers by index; every index up to the largest one is there."""
    if len(by_index) == 1:
        ((index, value),) = by_index.items()
        if any(index):  # one line of numbers, of which all but the last may be indices
            return as_integers(np.array([*index, value]))
    axes = {len(index) for index in by_index}
    if len(axes) > 1:
        raise DumpError(f"{where}: indices have {min(axes)} and {max(axes)} numbers; all have one for each axis")
    shape = tuple(max(index[axis] for index in by_index) + 1 for axis in range(axes.pop()))
    total = math.prod(shape)
    if total != len(by_index):
        raise DumpError(f"{where}: {len(by_index):,} of the {total:,} elements up to index {list(shape)} are there")
    array = np.empty(shape)
    for index, value in by_index.items():
        array[index] = value
    return as_integers(array)
