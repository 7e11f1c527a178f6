"""Warnings of the logger "qengine" on standard error, folded to the width of a terminal."""

import logging
import shutil
import sys
import textwrap
from collections.abc import Iterable
from contextlib import suppress

from qengine.errors import printable

_MIN_WIDTH = 40


class _Handler(logging.Handler):
    """Handler that writes to the standard error of the moment, which a status line may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; where standard error is closed, nothing."""
        write_line(record.getMessage())


def write_line(text: str) -> None:
    """Write a text to standard error, on a terminal in lines of its width."""
    with suppress(OSError, ValueError, AttributeError):
        if sys.stderr.isatty():
            width = max(shutil.get_terminal_size().columns, _MIN_WIDTH)
            text = textwrap.fill(
                text, width - 1, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


_HANDLER = _Handler(logging.WARNING)


_shown: set[str] = set()


def show_notes(notes: Iterable[str]) -> None:
    """Write remarks, such as those on how data is read, to standard error: each once, however often data is opened."""
    for note in notes:
        if note not in _shown:
            _shown.add(note)
            write_line(printable(note))


def show_warnings() -> None:
    """Write warnings to standard error from now on."""
    _shown.clear()
    logging.getLogger("qengine").addHandler(_HANDLER)  # a second time changes nothing
