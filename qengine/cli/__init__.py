"""The command line: the only place that prints or decides an exit status."""

import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import typer

from qengine.cli.app import app
from qengine.errors import QEngineError

_DONE, _ERROR, _INTERRUPTED = 0, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments
        The words after the command's name; by default the process's own.

    Returns
    -------
    int
        0 done, 2 an error that one line on standard error names, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _make_safe()
    try:
        answer = app(words or ["--help"], prog_name="qengine", standalone_mode=False)
        if isinstance(answer, str):
            sys.stdout.write(answer)
        sys.stdout.flush()
    except QEngineError as error:
        return _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except (BrokenPipeError, SystemExit):  # Typer exits when the reader of its help has gone
        _discard(sys.stdout)
        return _DONE
    except MemoryError:
        return _fail(QEngineError("not enough memory"))
    except OSError as error:  # files have errors of their own
        _discard(sys.stdout)
        return _fail(QEngineError(f"cannot write to standard output: {error.strerror or error}"))
    except Exception as error:
        # Typer's usage errors; their class has moved between its versions.
        describe = getattr(error, "format_message", None)
        if describe is None:
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "qengine")
        return _fail(QEngineError(f"{describe()} (see '{command} --help')"))
    return answer if isinstance(answer, int) else _DONE


def _fail(error: QEngineError) -> int:
    try:
        print(f"qengine: error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - this is the command line
    except OSError:  # nobody can be told; the exit status still tells
        _discard(sys.stderr)
    return _ERROR


def _make_safe() -> None:
    """See to it that no character, and no closed stream, can fail a run that is done."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard(stream: TextIO) -> None:
    """Send what is left in a stream's buffer nowhere: at exit it would fail a second time."""
    try:
        number = stream.fileno()
    except (OSError, AttributeError):  # not a file of the system
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
