"""Option `--operators`: Python files that register operators."""

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from qengine.errors import OptionError, QEngineError, first_line
from qengine.input_files import read_input
from qengine.near_files import missing_file


def run_files(paths: Sequence[Path]) -> None:
    """Run Python files, one after the other.

    Raises
    ------
    OptionError
        If a file cannot be read, or raises.
    """
    for path in paths:
        _run(path)


def _run(path: Path) -> None:
    what = f"--operators {path}"
    try:
        source = read_input(path)
    except OSError as error:
        near = missing_file(path) if isinstance(error, FileNotFoundError) else ""
        raise OptionError(f"{what}: {error.strerror or error}{near}") from None
    # A module name that no other file has, and the same each time: a second run replaces the operators of the first.
    name = f"{path.stem}_{hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:12]}"
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except QEngineError as error:
        raise OptionError(f"{what}: {_line(error, path)}{error}") from error
    except (Exception, SystemExit) as error:
        reason = f": {first_line(error)}" if str(error) else ""
        raise OptionError(f"{what}: {_line(error, path)}{type(error).__name__}{reason}") from error


def _line(error: BaseException, path: Path) -> str:
    """Return "line N: " with the last line of the file in the traceback; "" without one."""
    here = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"line {here[-1]}: " if here else ""
