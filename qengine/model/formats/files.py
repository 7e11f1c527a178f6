"""Formats by tensor name, as users give them and as formats files hold them.

A formats file is a JSON object: each key is a tensor name, each value a format such as "Q4.3" or a list of formats,
one for each output channel of a constant or for each part of a join. Where the formats come from data, one more key,
"qengine", has an object that says from which; where a tensor has that name, "_" is added to the key. A format never is
an object.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Any

from qengine.atomic_files import write_text
from qengine.errors import FormatError
from qengine.input_files import read_input
from qengine.model.graph import RECORD
from qengine.near_files import missing_file
from qengine.qformat import ChannelFormats, Format, PartFormats, QFormat

FormatsByName = Mapping[str, Format | str | Sequence[QFormat | str]]
"""Formats by tensor name; a list gives a constant one format per channel, and a join one per part."""


class RecordedFormats(dict[str, Any]):
    """Formats by tensor name, with what is recorded of the data that they come from.

    Attributes
    ----------
    record : object that says from which data they come; None where nothing does.
    origin : name of their file; "the formats" without one.
    """

    record: Mapping[str, Any] | None = None
    origin: str = "the formats"

    @classmethod
    def of(cls, formats: Mapping[str, Any]) -> RecordedFormats:
        """Return formats in memory, such as those of a calibration, with what they record."""
        if isinstance(formats, RecordedFormats):
            return formats
        found = cls((name, value) for name, value in formats.items() if not _is_record(name, value))
        provenance = getattr(formats, "provenance", None)
        if provenance is not None:
            found.record = provenance.record()
        else:
            found.record = next((value for name, value in formats.items() if _is_record(name, value)), None)
        return found


def read_formats(path: str | os.PathLike[str]) -> RecordedFormats:
    """Read the formats of a formats file; they are not parsed.

    Raises
    ------
    FormatError
        If the file cannot be read, is not a JSON object, or gives one name twice.
    """
    found = RecordedFormats.of(_object(path))
    found.origin = PurePath(path).name
    return found


def read_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the object of a formats file that says which data the formats come from; None where there is none.

    Raises
    ------
    FormatError
        As `read_formats`.
    """
    record = read_formats(path).record
    return None if record is None else dict(record)


def _is_record(name: Any, value: Any) -> bool:
    return isinstance(name, str) and name.rstrip("_") == RECORD and isinstance(value, Mapping)


def _object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the JSON object of a formats file."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, fmt in pairs:
            if name in result:
                raise FormatError(f"formats file {path}: '{name}' is given twice")
            result[name] = fmt
        return result

    try:
        formats = json.loads(read_input(path).decode("utf-8-sig"), object_pairs_hook=unique)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if isinstance(error, FileNotFoundError):
            reason = f"{reason}{_no_path(os.fspath(path)) or missing_file(path)}"
        raise FormatError(f"formats file {path}: {reason}") from None
    if not isinstance(formats, dict):
        raise FormatError(f"formats file {path}: not an object of tensor names and formats")
    return formats


def _no_path(text: str) -> str:
    """Return what a text is, where it is the content of a formats file or a format; "" for a path."""
    if text.lstrip().startswith("{"):
        return ": it is the content of a formats file; save it, and give the name of the file"
    with suppress(FormatError):
        return f": it is a format, {QFormat.parse(text)}; one for all activations is given as --qformat or qformat="
    return ""


def write_formats(
    path: str | os.PathLike[str], formats: Mapping[str, str | list[str]], record: Mapping[str, Any] | None = None
) -> None:
    """Write a formats file that `read_formats` reads, completely or not at all.

    Parameters
    ----------
    path
        The file.
    formats
        Formats as text by tensor name.
    record
        Object that says which data they come from, for `read_record`; None for none.

    Raises
    ------
    OptionError
        If it cannot be written.
    """
    name = RECORD
    while name in formats:
        name += "_"
    content = {**({} if record is None else {name: record}), **formats}
    write_text(path, json.dumps(content, indent=2) + "\n")


def format_to_json(fmt: Format) -> str | list[str]:
    """Return a format as a formats file holds it: its text, or a list of texts, one per channel or part."""
    return str(fmt) if isinstance(fmt, QFormat) else [str(channel) for channel in fmt.formats]


def parse_format(name: str, fmt: Any) -> QFormat | tuple[QFormat, ...]:
    """Return the format that a user gives for the tensor `name`: one format, or one per channel or part.

    Raises
    ------
    FormatError
        If `fmt` is neither a format nor a list of formats, or `name` is not text.
    """
    if not isinstance(name, str):
        raise FormatError(f"formats are given by the names of tensors, not by {name!r}")
    try:
        if isinstance(fmt, QFormat | str):
            return QFormat.of(fmt)
        if isinstance(fmt, ChannelFormats | PartFormats):
            return fmt.formats
        if isinstance(fmt, Sequence) and fmt and all(isinstance(channel, QFormat | str) for channel in fmt):
            return tuple(QFormat.of(one) for one in fmt)
    except FormatError as error:
        raise FormatError(f"format of '{name}': {error}") from None
    raise FormatError(f"format of '{name}': {fmt!r} is neither a format such as Q4.3 nor a list of formats")
