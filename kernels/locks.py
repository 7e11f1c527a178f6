"""Locks that a forked child finds open: whoever held them has not come along."""

import os
import threading
import weakref


class Lock:
    """A lock for `with lock.held:`, not reentrant.

    Attributes
    ----------
    held : Python's own lock. In a `with` statement it is taken and its release arranged in one step; with an
        `__enter__` written in Python, an interrupt could come between the two and leave it taken for ever.
    """

    def __init__(self) -> None:
        self.held = threading.Lock()
        _LOCKS.add(self)


_LOCKS: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def _open_all() -> None:
    for lock in list(_LOCKS):
        lock.held = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)
