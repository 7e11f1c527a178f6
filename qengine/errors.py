"""The tree of errors that qengine raises on purpose, and the helpers that word their messages.

A message is one line. It says what was found and where, what is allowed, and what to do.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from qengine.spelling import nearest

_MAX_MESSAGE = 1000  # characters
_MAX_LINE = 200


def printable(text: str) -> str:
    """Return text as one printable line.

    Names come from files and may hold line breaks or control sequences of terminals; these are escaped.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an exception, cut to 200 characters; its type where it has none."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}..."


def did_you_mean(name: str, names: Iterable[str], meanings: Mapping[str, str] | None = None) -> str:
    """Return "; did you mean 'NAME'?" with the name that is most probably meant, or "" where none is near.

    Parameters
    ----------
    name
        Name as typed.
    names
        Names that there are.
    meanings
        Names that others use for the same things, in lower case, and the name here of each.
    """
    known = list(names)
    meant = (meanings or {}).get(str(name).strip().casefold().replace("-", "_").replace(" ", "_"))
    close = meant if meant in known else nearest(str(name), known)
    return f"; did you mean '{close}'?" if close else ""


class QEngineError(Exception):
    """Root of all errors that a bad model, input or option can cause.

    The message is one printable line of at most about 1,000 characters, also where it quotes a long name.
    """

    def __init__(self, message: str) -> None:
        if len(message) > 2 * _MAX_MESSAGE:
            message = f"{message[:_MAX_MESSAGE]}...{message[-_MAX_MESSAGE:]}"
        line = printable(message)
        half = _MAX_MESSAGE // 2  # a quoted name may be very long, and the reason comes after it
        super().__init__(line if len(line) <= _MAX_MESSAGE else f"{line[:half]}...{line[-half:]}")

    def about(self, subject: str) -> QEngineError:
        """Return a copy of the error whose message begins with a subject, such as a node or a file."""
        error = copy.copy(self)
        QEngineError.__init__(error, f"{subject}: {self}")
        return error


class FormatError(QEngineError):
    """A Qm.n format, rounding or overflow mode does not exist or does not fit."""


class ModelError(QEngineError):
    """A model file is damaged, unsafe or not valid ONNX."""


class UnsupportedError(QEngineError):
    """A model is valid ONNX, but qengine does not support it."""


class OperatorError(QEngineError):
    """The function of a registered operator raised an exception, which is the cause, or returned no valid output."""


class FeedError(QEngineError):
    """An input of a run is missing, unknown, or of the wrong type or shape."""


class TargetError(QEngineError):
    """A target does not exist, or its file or rules have a key, a value or a contradiction that is not allowed."""


class OptionError(QEngineError):
    """An option of a session or a command is not valid, or not valid together with the others."""


class MissingPackageError(OptionError):
    """A package is not installed that only some results need; the message names the extra that installs it."""


class ProjectError(QEngineError):
    """A project file cannot be read or written, or has a key, a value or a path that is not allowed."""


class SweepError(QEngineError):
    """A sweep or a search cannot begin or continue: what it keeps is in use or damaged, or its workers see no data."""


class DumpError(QEngineError):
    """A dump of a device's tensors cannot be read, or is not one of this model."""
