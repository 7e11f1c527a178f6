"""Every error that qengine raises on purpose, in one tree.

A message is one line: what was found and where, what is allowed, and what to do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 1000
_MAX_LINE = 200


def printable(text: str) -> str:
    """Return text as one line that no terminal takes for a command: names come from files, and may hold anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a question to put behind a name that does not exist; nothing where no name is like it."""
    close = get_close_matches(name, list(names), 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, cut to 200 characters.

    An exception without a message gives the name of its class. Libraries quote whole files in their messages.
    """
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}..."


class QEngineError(Exception):
    """The root: catching it catches every error that a bad model, input or option can cause.

    Whatever the message quotes, it is one printable line.
    """

    def __init__(self, message: str) -> None:
        line = printable(message)
        half = _LONGEST // 2  # what is quoted may be endless; the reason stands behind it
        super().__init__(line if len(line) <= _LONGEST else f"{line[:half]}...{line[-half:]}")

    def about(self, what: str) -> QEngineError:
        """Return the same error that says first what it is about."""
        found = copy.copy(self)
        QEngineError.__init__(found, f"{what}: {self}")
        return found


class FormatError(QEngineError):
    """A Qm.n format, a rounding or an overflow mode that does not exist or does not fit."""


class ModelError(QEngineError):
    """A model file that is damaged, unsafe or not valid ONNX."""


class UnsupportedError(QEngineError):
    """Valid ONNX that qengine does not run."""


class OperatorError(QEngineError):
    """The function of a registered operator failed, or gave what is no output; what it raised is the cause."""


class FeedError(QEngineError):
    """An input of a run: missing, unknown, or of the wrong type or shape."""


class OptionError(QEngineError):
    """An option of a session or a command that has no meaning, or not with the others."""


class SweepError(QEngineError):
    """A sweep that cannot begin or go on: a folder that is in use, workers that do not see what they are to compute."""
