"""A folder that no other user can write to, and files in it that no other user has written.

Machine code that is read from disk runs, so it must come from where only this user, or root, can put it. A path is
opened step by step from the root of the file system: each step by the descriptor of the folder before it, so that what
was checked is what is used. Every folder on the way must belong to this user or root, and no other user may write to
it; in a folder like /tmp, where only its owner can replace an entry (the sticky bit), others may, and the entry must
belong to this user or root. So must a symbolic link, which is followed by its text.

Windows opens no folders. There a folder below the user's profile is private, because Windows gives no other user but
administrators the right to write there; any other folder is refused.
"""

import os
import re
import secrets
import stat
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic, sleep

from .file_locks import is_byte_locked

_MAX_LINKS = 40
_POLL_SECONDS = 0.02  # between two attempts to get a lock


def _flags(*names: str) -> int:
    """Return flags of `os.open` by name; those that the system does not have are left out."""
    return sum(getattr(os, name, 0) for name in names)


_CLOSED = ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
_SEARCH = _flags("O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_PATH" if hasattr(os, "O_PATH") else "O_RDONLY")
_READ = _flags("O_RDONLY", "O_NONBLOCK", *_CLOSED)
_MAKE = _flags("O_WRONLY", "O_CREAT", "O_EXCL", *_CLOSED)
_LOCK = _flags("O_RDWR", "O_CREAT", "O_NONBLOCK", *_CLOSED)
_LOCK_DIGITS = 15
_ANOTHERS = "belongs to another user"

HAS_OPEN_FOLDERS = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY")
"""Whether the system opens folders, and files relative to them; Windows does not."""

TEMPORARY = r"\.[0-9a-f]{16}\.tmp"
"""Regular expression of the names of unfinished files."""

LOCKS = "locks"
"""The name of the file whose bytes stand for the locks of others; it stays empty."""


class NotPrivateError(Exception):
    """A folder cannot be opened or made, or another user can write to it; the message says which and why."""


class PrivateFolder:
    """An open folder that only this user and root can write to.

    Parameters
    ----------
    path
        Path of the folder. Folders that are missing are made, for this user alone.

    Raises
    ------
    NotPrivateError
        If the folder cannot be opened or made, or another user can write to it or replace a folder on the way.
    """

    def __init__(self, path: str) -> None:
        try:
            self.path = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH117, PTH118
            self._folder: int | None = None
            if HAS_OPEN_FOLDERS:
                self._folder = _opened(self.path)
            else:
                _make_below_profile(self.path)
        except OSError as error:
            raise NotPrivateError(f"{path} cannot be used: {error.strerror}") from None

    def is_writable(self) -> bool:
        """Whether files can be made: the folder may be root's, or on a disk that is only read."""
        name = _temporary()
        try:
            os.close(os.open(self._at(name), _MAKE, 0o600, dir_fd=self._folder))
            os.unlink(self._at(name), dir_fd=self._folder)
        except OSError:
            return False
        return True

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None where it is missing, not regular, or may be by another user."""
        try:
            with open(os.open(self._at(name), _READ, dir_fd=self._folder), "rb") as file:  # noqa: PTH123 - a descriptor
                status = os.fstat(file.fileno())
                is_safe = stat.S_ISREG(status.st_mode) and _fault(status) is None
                return file.read() if is_safe else None
        except OSError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file for this user alone, whole or not at all; where that fails there is none."""
        temporary = self._at(_temporary())
        with suppress(OSError):
            try:
                with open(os.open(temporary, _MAKE, 0o600, dir_fd=self._folder), "wb") as file:  # noqa: PTH123
                    if HAS_OPEN_FOLDERS:
                        os.fchmod(file.fileno(), 0o600)  # the umask may have taken bits
                    file.write(content)
                os.replace(temporary, self._at(name), src_dir_fd=self._folder, dst_dir_fd=self._folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self._folder)
                raise

    @contextmanager
    def locked(self, names: Collection[str], seconds: float) -> Iterator[None]:
        """Hold the locks of files while the context lasts: other processes that ask for one of them wait.

        Where the disk has no locks, and after some seconds of waiting, the context begins without them. A process must
        not ask for locks while it holds some.

        Parameters
        ----------
        names
            Names of the files, which need not exist; they begin with hexadecimal digits.
        seconds
            Longest time to wait.
        """
        file = None
        try:
            with suppress(OSError):
                file = os.open(self._at(LOCKS), _LOCK, 0o600, dir_fd=self._folder)
                end = monotonic() + seconds
                # One byte of a common file stands for each name. In a fixed order, no two processes wait in a circle.
                for place in sorted(int(name[:_LOCK_DIGITS], 16) for name in names):
                    while not is_byte_locked(file, place) and monotonic() < end:
                        sleep(_POLL_SECONDS)
            yield
        finally:
            if file is not None:
                os.close(file)  # which opens the locks

    def make(self, name: str) -> bool:
        """Make a folder in this one; return whether it is new."""
        try:
            _make(self._at(name), self._folder)
        except OSError:
            return False
        return True

    def prune(self, folders: str, files: str, kept: int) -> None:
        """Delete all but the folders that changed last, of those with a name like `folders`.

        Only files with a name like `files` are deleted; a folder that holds others stays.
        """
        with suppress(OSError):
            found = []
            for name in filter(re.compile(folders).fullmatch, self._names()):
                status = os.stat(self._at(name), dir_fd=self._folder, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    found.append((status.st_mtime, name))
            for _, name in sorted(found)[: max(0, len(found) - kept)]:
                self._delete(name, re.compile(files))

    def _delete(self, name: str, files: re.Pattern[str]) -> None:
        inner = os.open(name, _SEARCH, dir_fd=self._folder) if HAS_OPEN_FOLDERS else None
        place = self._at(name)
        try:
            for file in filter(files.fullmatch, os.listdir(place) if inner is None else _names(inner)):  # noqa: PTH208
                os.unlink(os.path.join(place, file) if inner is None else file, dir_fd=inner)  # noqa: PTH118
        finally:
            if inner is not None:
                os.close(inner)
        with suppress(OSError):  # the folder holds something else
            os.rmdir(place, dir_fd=self._folder)

    def _at(self, name: str) -> str:
        """Return the name of an entry for the functions of `os`, which also take the descriptor of the folder."""
        return name if HAS_OPEN_FOLDERS else os.path.join(self.path, name)  # noqa: PTH118

    def _names(self) -> list[str]:
        """Return the names in the folder."""
        return os.listdir(self.path) if self._folder is None else _names(self._folder)  # noqa: PTH208


def _temporary() -> str:
    return f".{secrets.token_hex(8)}.tmp"


def _names(folder: int) -> list[str]:
    """Return the names in a folder whose descriptor may be one that only searches."""
    readable = _readable(folder)
    try:
        return os.listdir(readable)  # noqa: PTH208 - a descriptor
    finally:
        os.close(readable)


def _readable(folder: int) -> int:
    """Return a descriptor that reads a folder, for one that may only search it."""
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)


def _is_ours(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user or root."""
    return status.st_uid in {0, os.geteuid()}


def _fault(status: os.stat_result, *, sticky: bool = False) -> str | None:
    """Return how another user could have changed a file or folder; None for not at all."""
    if not HAS_OPEN_FOLDERS:  # the rights of the profile's folder hold for what is in it
        return None
    if not _is_ours(status):
        return _ANOTHERS
    others = stat.S_IWOTH
    if status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid):
        others |= stat.S_IWGRP
    if status.st_mode & others and not (sticky and status.st_mode & stat.S_ISVTX):
        return "can be written to by other users"
    return None


@cache
def _is_own_group(group: int) -> bool:
    """Whether a group has this user alone, as many systems make one of the user's name for every user."""
    import grp  # seldom needed
    import pwd

    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    is_named = group == user.pw_gid != 0 and entry.gr_name == user.pw_name
    return is_named and set(entry.gr_mem) <= {user.pw_name}


def _make(name: str, folder: int | None) -> None:
    os.mkdir(name, 0o700, dir_fd=folder)
    if folder is not None:
        os.chmod(name, 0o700, dir_fd=folder)  # the umask may have taken bits


def _make_below_profile(path: str) -> None:
    """Make a folder below the profile of this user.

    Raises
    ------
    NotPrivateError
        If it leads elsewhere.
    """
    place, profile = os.path.realpath(path), os.path.realpath(os.path.expanduser("~"))  # noqa: PTH111
    inside = os.path.normcase(place).startswith(os.path.join(os.path.normcase(profile), ""))  # noqa: PTH118
    if not inside:
        raise NotPrivateError(f"{path} is not below {profile}, where no other user may write")
    os.makedirs(place, exist_ok=True)  # noqa: PTH103


def _opened(path: str) -> int:
    """Return a descriptor of a folder, after the checks of all folders and links on the way to it."""
    here, at, links = os.open("/", _SEARCH), "/", 0
    left = deque(path.split("/"))
    try:
        while True:
            while left and left[0] in {"", "."}:
                left.popleft()
            if (fault := _fault(os.fstat(here), sticky=bool(left))) is not None:
                raise NotPrivateError(f"{at} {fault}")
            if not left:
                return here
            name = left.popleft()
            place = os.path.join(at, name)  # noqa: PTH118
            try:
                status = _status_or_made(name, here)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if not _is_ours(status):
                        raise NotPrivateError(f"the link {place} {_ANOTHERS}")
                    if links > _MAX_LINKS:
                        raise NotPrivateError(f"the link {place} has too many links before it")
                    target = os.readlink(name, dir_fd=here)
                    left.extendleft(reversed(target.split("/")))
                    if not target.startswith("/"):
                        continue
                    inner, place = os.open("/", _SEARCH), "/"
                else:
                    inner = os.open(name, _SEARCH, dir_fd=here)
            except OSError as error:
                raise NotPrivateError(f"{place} cannot be used: {error.strerror}") from None
            os.close(here)
            here, at = inner, place
    except BaseException:
        os.close(here)
        raise


def _status_or_made(name: str, folder: int) -> os.stat_result:
    """Return the status of an entry of a folder, which is made as a folder for this user alone if it is missing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        with suppress(FileExistsError):  # another process was first
            _make(name, folder)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
