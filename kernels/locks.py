"""Locks that are released in a forked child, because the threads that held them are not copied."""

import os
import threading
import weakref


class Lock:
    """Lock for `with lock.guard:`, not reentrant.

    Attributes
    ----------
    guard : Python's own lock. A `with` statement takes it and arranges its release in one step; with an `__enter__`
        written in Python, an interrupt could come between the two and leave the lock taken forever.
    """

    def __init__(self) -> None:
        self.guard = threading.Lock()
        _LOCKS.add(self)


_LOCKS: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _open_all() -> None:
    for lock in list(_LOCKS):
        lock.guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)
