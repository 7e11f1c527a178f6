"""Formats by tensor name, as users give them and as formats files hold them.

A formats file is a JSON object: each key is a tensor name, each value a format such as "Q4.3" or a list of formats,
one for each output channel of a constant.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qengine.atomic_files import replacing
from qengine.errors import FormatError
from qengine.qformat import ChannelFormats, Format, QFormat, channel_formats

FormatsByName = Mapping[str, Format | str | Sequence[QFormat | str]]
"""Formats by tensor name; a list gives a constant one format per channel."""


def read_formats(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a formats file; the formats themselves are not parsed.

    Raises
    ------
    FormatError
        If the file cannot be read, is not a JSON object, or gives one name twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, form in pairs:
            if name in result:
                raise FormatError(f"formats file {path}: '{name}' is given twice")
            result[name] = form
        return result

    try:
        formats = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FormatError(f"formats file {path}: {reason}") from None
    if not isinstance(formats, dict):
        raise FormatError(f"formats file {path}: not an object of tensor names and formats")
    return formats


def write_formats(path: str | os.PathLike[str], formats: Mapping[str, str | list[str]]) -> None:
    """Write a formats file that `read_formats` reads, completely or not at all.

    Raises
    ------
    OptionError
        If it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(formats, indent=2) + "\n", encoding="utf-8")


def format_to_json(form: Format) -> str | list[str]:
    """Return a format as a formats file holds it: its text, or a list of texts, one per channel."""
    return str(form) if isinstance(form, QFormat) else [str(channel) for channel in form.formats]


def parse_format(name: str, form: Any) -> QFormat | tuple[QFormat, ...]:
    """Return the format that a user gives for the tensor `name`: one format, or one per channel.

    Raises
    ------
    FormatError
        If `form` is neither a format nor a list of formats, or `name` is no text.
    """
    if not isinstance(name, str):
        raise FormatError(f"formats are given by the names of tensors, not by {name!r}")
    try:
        if isinstance(form, QFormat | str):
            return QFormat.of(form)
        if isinstance(form, ChannelFormats):
            return form.formats
        if isinstance(form, Sequence) and form and all(isinstance(channel, QFormat | str) for channel in form):
            return channel_formats(form, 0).formats
    except FormatError as error:
        raise FormatError(f"format of '{name}': {error}") from None
    raise FormatError(f"format of '{name}': {form!r} is neither a format such as Q4.3 nor a list of formats")
