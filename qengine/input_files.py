"""Opening of the files that a user gives: regular files only, as a pipe or a device may never end."""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class NotAFileError(OSError):
    """A path leads to a folder, a pipe, a socket or a device; `strerror` says which."""


_KINDS = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISFIFO, "is a named pipe, and only regular files are read"),
    (stat.S_ISSOCK, "is a socket, and only regular files are read"),
    (stat.S_ISCHR, "is a device, and only regular files are read"),
    (stat.S_ISBLK, "is a device, and only regular files are read"),
)


@dataclass(frozen=True)
class Encoded:
    """Content of a file that is in memory, such as an image in a table, with the words that errors have for it."""

    content: bytes
    label: str

    def __str__(self) -> str:
        return self.label


def open_input(path: str | os.PathLike[str] | Encoded) -> BinaryIO:
    """Return a regular file opened for reading; a link to one is followed.

    Raises
    ------
    NotAFileError
        If the path leads to anything else.
    OSError
        If it cannot be opened.
    ValueError
        If the path holds a NUL.
    """
    if isinstance(path, Encoded):
        return io.BytesIO(path.content)
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    try:
        check_regular(os.fstat(file.fileno()).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def read_input(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a regular file; see `open_input`."""
    with open_input(path) as file:
        return file.read()


def check_regular(mode: int, path: str | os.PathLike[str]) -> None:
    """Raise NotAFileError unless the mode of a path is that of a regular file."""
    if stat.S_ISREG(mode):
        return
    reason = next((text for is_kind, text in _KINDS if is_kind(mode)), "is not a regular file")
    raise NotAFileError(0, reason, str(Path(path)))


def _open_at_once(name: str, flags: int) -> int:
    """Open a file without a wait: a named pipe without a writer would wait for one forever."""
    if not hasattr(os, "O_NONBLOCK"):
        return os.open(name, flags)
    check_regular(os.stat(name).st_mode, name)  # opening some devices has effects  # noqa: PTH116
    return os.open(name, flags | os.O_NONBLOCK | getattr(os, "O_NOCTTY", 0))
