"""Files are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qengine.errors import OptionError


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out, before anything is computed, what `replacing` would fail for.

    Raises
    ------
    OptionError
        If the folder does not exist or cannot be written to, or `path` is a folder or a device.
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


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file in the folder of `path`; it takes the place of `path` if the block succeeds.

    Parameters
    ----------
    path
        The file to write. Its folder must exist. A link is followed.

    Yields
    ------
    pathlib.Path
        Where to write: an empty file of a name that nobody else has. After an error in the block, an interrupt
        included, it is removed and `path` is untouched.

    Raises
    ------
    OptionError
        If the folder does not exist, or the file cannot be written.
    """
    check_writable(path)
    final = Path(os.path.realpath(path))
    temporary = final.with_name(f".{final.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        # Never through a link that somebody else put there: in /tmp the next user may be anybody.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        temporary.replace(final)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
