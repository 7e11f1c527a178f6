"""The command line: the only package that prints, and that decides the exit status of a process."""

import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from qengine.cli.typed import remember, with_typed
from qengine.cli.typed_words import read_words
from qengine.cli.warnings_shown import show_warnings
from qengine.errors import QEngineError

_DONE, _ERROR, _INTERRUPTED = 0, 2, 130

COMPLETION_VARIABLE = "_QENGINE_COMPLETE"
"""Name of the environment variable in which a shell says complete_SHELL."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    arguments
        Words after the name of the command; None for those of the process.

    Returns
    -------
    int
        0 for success, 1 where what was compared differs, 2 for an error (one line on standard error), 130 for an
        interrupt.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if (asked := os.environ.get(COMPLETION_VARIABLE, "")).startswith("complete_"):
        from qengine.cli import completion  # slow, and no other command line needs it

        return completion.respond(asked)
    remember(words)
    _make_safe()
    show_warnings()
    try:
        words = read_words(words)
    except QEngineError as error:
        return _fail(error)
    if words[:1] in (["--install-completion"], ["--show-completion"]):
        from qengine.cli import completion

        completion.write_table()
    with _leaving_at_interrupt():
        app, abort = _application(words)
    try:
        answer = app(words or ["--help"], prog_name="qengine", standalone_mode=False)
        if isinstance(answer, str):
            sys.stdout.write(with_typed(answer))
        sys.stdout.flush()
    except QEngineError as error:
        return _fail(QEngineError(with_typed(str(error))))
    except (KeyboardInterrupt, abort):
        return _INTERRUPTED
    except (BrokenPipeError, SystemExit):  # Typer exits when the reader of its help has closed the pipe
        _discard(sys.stdout)
        return _DONE
    except MemoryError:
        return _fail(QEngineError("not enough memory"))
    except OSError as error:  # an error of standard output: errors of files are QEngineErrors
        if words[:1] == ["--install-completion"]:
            return _fail(QEngineError(f"cannot install the completion ({error}); --show-completion prints its script"))
        _discard(sys.stdout)
        return _fail(QEngineError(f"cannot write to standard output: {error.strerror or error}"))
    except Exception as error:
        # A usage error of Typer, whose class differs between versions of Typer.
        if getattr(error, "format_message", None) is None:
            raise
        from qengine.cli.usage import usage_message

        return _fail(QEngineError(usage_message(error, words)))
    return answer if isinstance(answer, int) else getattr(answer, "status", _DONE)


def _application(words: Sequence[str]) -> tuple[Callable[..., Any], type[BaseException]]:
    """Return the Typer application, and the exception with which Typer reports an interrupt."""
    with _importing():
        import typer

        from qengine.cli.app import application  # slow: it imports most of qengine

        return application(words), typer.Abort


@contextmanager
def _importing() -> Iterator[None]:
    """Collect no garbage while the context lasts, and never what was imported first: all of it stays."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
        gc.enable()


@contextmanager
def _leaving_at_interrupt() -> Iterator[None]:
    """End the process at an interrupt while the context lasts.

    Foreign modules may turn a KeyboardInterrupt into another error while they are imported.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _fail(error: QEngineError) -> int:
    try:
        print(f"qengine: error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - this is the command line
    except OSError:  # standard error is closed too: only the exit status is left
        _discard(sys.stderr)
    return _ERROR


def _make_safe() -> None:
    """Make standard output accept every character, even if it is closed: a finished run must not fail there."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard(stream: TextIO) -> None:
    """Discard what is left in the buffer of a stream, so that flushing it at exit cannot fail again."""
    try:
        number = stream.fileno()
    except (OSError, AttributeError):  # the stream has no file descriptor
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
