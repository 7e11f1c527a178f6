"""Codes of outputs, which `qengine run --raw` writes, with their formats in a second file."""

from collections.abc import Iterable
from pathlib import Path

from qengine.atomic_files import check_writable
from qengine.errors import OptionError
from qengine.model.formats.files import format_to_json
from qengine.model.formats.files import write_formats as write_file
from qengine.runtime.session import InferenceSession


def check_raw(out: Path | None, session: InferenceSession) -> None:
    """Raise OptionError, before a run, for codes that there are none of, or that could not be saved after it."""
    if not session.in_fixed_point:
        raise OptionError("--raw saves the codes of a run in fixed point: give a --qformat or --formats with it")
    if out is None:
        raise OptionError("--raw saves codes: give a file with -o OUT")
    check_writable(formats_beside(out))


def formats_beside(out: Path) -> Path:
    """Return the path of the formats of codes in a file."""
    return out.with_suffix(".formats.json")


def write_formats(out: Path, names: Iterable[str], session: InferenceSession) -> Path:
    """Write the formats of the codes in a file to a formats file, and return its path."""
    formats = {name: format_to_json(session.formats[name]) for name in names if name in session.formats}
    write_file(formats_beside(out), formats)
    return formats_beside(out)
