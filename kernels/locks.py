"""Locks that a forked child finds open: whoever held them has not come along."""

import os
import threading
import weakref
from types import TracebackType


class Lock:
    """A lock for `with`, not reentrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


_LOCKS: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _open_all() -> None:
    for lock in list(_LOCKS):
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)
