"""Locks on files between processes: by fcntl, or by msvcrt on Windows. A lock ends with the process that holds it."""

import os
import sys

if sys.platform == "win32":
    import msvcrt

    def is_byte_locked(file: int, place: int) -> bool:
        """Lock one byte of an open file, which need not be there; return whether this process has the lock now."""
        os.lseek(file, place, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def is_file_locked(file: int) -> bool:
        """Lock an open file as a whole; return whether this descriptor has the lock now."""
        return is_byte_locked(file, 0)

else:
    import fcntl

    def is_byte_locked(file: int, place: int) -> bool:
        """Lock one byte of an open file, which need not be there; return whether this process has the lock now."""
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # POSIX allows both
            return False
        return True

    def is_file_locked(file: int) -> bool:
        """Lock an open file as a whole; return whether this descriptor has the lock now."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
