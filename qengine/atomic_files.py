"""Atomic writing of files and folders: each is written whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qengine.errors import OptionError


def check_writable(path: str | os.PathLike[str], model: str | os.PathLike[str] | None = None) -> None:
    """Check before a long computation that `replacing` can write a file.

    Parameters
    ----------
    path
        The file to write later.
    model
        The model that is read, which must not be replaced; None where there is none.

    Raises
    ------
    OptionError
        If the folder does not exist or cannot be written to, or `path` is a folder, a device or the model.
    """
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 - pathlib raises for names that are too long
    if not os.path.isdir(folder):  # noqa: PTH112
        raise OptionError(f"cannot write {path}: there is no folder {Path(path).parent}")
    if os.path.isdir(path):  # noqa: PTH112
        raise OptionError(f"cannot write {path}: it is a folder")
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise OptionError(f"cannot write {path}: it is not a regular file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionError(f"cannot write {path}: no permission to write in {Path(path).parent}")
    with suppress(OSError):
        if model is not None and Path(path).samefile(model):
            raise OptionError(f"cannot write {path}: it is the model itself, which would be lost; give another name")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file in the folder of `path`, and move it to `path` if the block succeeds.

    Parameters
    ----------
    path
        The file to write. Its folder must exist. A link is followed.

    Yields
    ------
    pathlib.Path
        An empty file with a unique name, to write to. After an error or an interrupt in the block it is removed and
        `path` is unchanged.

    Raises
    ------
    OptionError
        If the folder does not exist, or the file cannot be written.
    """
    check_writable(path)
    final = Path(os.path.realpath(path))
    temporary = final.with_name(f".{final.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        # O_EXCL follows no link: in a shared folder such as /tmp, another user may have put one there.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        temporary.replace(final)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text as UTF-8, with the same bytes on every system, whole or not at all; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def replacing_folder(path: str | os.PathLike[str], is_replaceable: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary folder in the folder of `path`, and move it to `path` if the block succeeds.

    Parameters
    ----------
    path
        The folder to write. The folder around it must exist.
    is_replaceable
        Function that says whether a folder that is there may be replaced; an empty one always is.

    Yields
    ------
    pathlib.Path
        An empty folder. After an error or an interrupt in the block it is removed and `path` is unchanged.

    Raises
    ------
    OptionError
        If there is something else, or the folder cannot be written.
    """
    check_folder(path, is_replaceable)
    final = Path(os.path.realpath(path))
    temporary = final.with_name(f".{final.name[:40]}.{secrets.token_hex(6)}.tmp")
    old = temporary.with_suffix(".old")
    try:
        temporary.mkdir()
        yield temporary
        if final.exists():
            final.replace(old)
        temporary.replace(final)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        if old.exists() and not final.exists():
            old.replace(final)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(path: str | os.PathLike[str], is_replaceable: Callable[[Path], bool]) -> None:
    """Check before a long computation that `replacing_folder` can write a folder.

    Parameters
    ----------
    path, is_replaceable
        See `replacing_folder`.

    Raises
    ------
    OptionError
        If there is something else, or the folder cannot be written.
    """
    final = Path(os.path.realpath(path))
    if not final.parent.is_dir():
        raise OptionError(f"cannot write {path}: there is no folder {Path(path).parent}")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise OptionError(f"cannot write {path}: no permission to write in {final.parent}")
    if final.is_dir():
        if any(final.iterdir()) and not is_replaceable(final):
            raise OptionError(f"cannot write {path}: the folder holds something else; give another name, or empty it")
    elif final.exists():
        raise OptionError(f"cannot write {path}: it is a file, not a folder")
