"""Teams: threads that compute one run together, and how the caller hands the run to them.

The caller's thread *leads*. The others are *followers*, threads that a team starts once and that wait for runs in
machine code. A run is handed over there too, without Python and its lock: the leader writes the addresses of the
threads' arguments into memory that all see, the *mailbox*, and adds 1 to the number of the run. A follower that still
spins sees it at once; one that sleeps is woken. A follower *joins* a run, and when the leader has nothing left to do it
withdraws the offer to those who have not joined, and waits for the others alone.

Python raises KeyboardInterrupt between two steps of the main thread, and never while that thread is in machine code.
Handing over, computing and waiting for the followers is a single call, so an interrupt comes before a run or after it,
and the caller's arrays live as long as the call. In a forked child the followers do not exist; it starts a team of its
own.
"""

import atexit
import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .build import ENTRY
from .locks import Lock

RUN, RUNNER, PARTS, ENDED, SLEEPING, YIELD, LOCK, UNLOCK, SLEEP, WAKE, MUTEX, CONDITION, OFFERS = (
    0, 1, 2, 8, 16, 24, 25, 26, 27, 28, 32, 64, 96,
)  # fmt: skip
"""Places in the mailbox, in 64-bit numbers; what different threads write lies in different cache lines.

The number of the run, the address of its runner and of the addresses of its parts' arguments (0: followers return);
how many followers have ended; how many sleep; addresses of functions that yield the core, lock, unlock, sleep, and wake
all who sleep; a mutex and a condition variable; for each thread, the number of the run that it may join, 0 for none.
"""

OFFER = 8
"""Numbers from a thread's offer to the next one's."""

_POSIX = ("sched_yield", "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_broadcast")
_WINDOWS = ("SwitchToThread", "AcquireSRWLockExclusive", "ReleaseSRWLockExclusive", "SleepConditionVariableSRW",
            "WakeAllConditionVariable")  # fmt: skip
_STOP_SECONDS = 1.0  # at most, for followers to end with the process


@dataclass(frozen=True)
class Lead:
    """Specification of the kernel that hands a run to the followers, takes part and waits for those who joined.

    Without parts, it lets the followers return.
    """

    emitter = "team"
    arguments = ("mailbox", "followers", "runner", "parts", "state", "state_count")


@dataclass(frozen=True)
class Follow:
    """Specification of the kernel that waits for runs and joins them, until there is one without parts."""

    emitter = "team"
    arguments = ("mailbox", "part")


class ThreadsError(RuntimeError):
    """The threads of a run cannot be started."""


def call(code: int, arguments: int) -> None:
    """Call a kernel by the address of its machine code, and the address of its arguments."""
    result, exception = ctypes.c_int64(), ctypes.c_void_p()
    _function(code)(ctypes.addressof(result), ctypes.addressof(exception), arguments)


@cache
def _function(code: int) -> Callable[[int, int, int], int]:
    return ENTRY(code)


@cache
def _functions() -> tuple[int, ...]:
    """Return the addresses of C functions in the order of the mailbox; 0 for one that the system does not have."""
    library, names = (ctypes.CDLL("kernel32"), _WINDOWS) if os.name == "nt" else (ctypes.CDLL(None), _POSIX)
    return tuple(_address(library, name) for name in names)


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def yield_address() -> int:
    """Return the address of a C function that gives the core to another thread, 0 if there is none."""
    return _functions()[0]


class Team:
    """Followers of runs on a number of threads.

    Attributes
    ----------
    turn : lock of the caller whose turn it is.

    Parameters
    ----------
    threads
        Number of threads, the caller's included.
    lead, follow
        Addresses of the machine code of `Lead` and of `Follow`.

    Raises
    ------
    ThreadsError
        If the threads cannot be started.
    """

    def __init__(self, threads: int, lead: int, follow: int) -> None:
        self.turn, self._lead = Lock(), lead
        self._mailbox, self._arguments = _new_mailbox(threads), np.zeros(len(Lead.arguments), np.int64)
        self._threads: list[threading.Thread] = []
        for part in range(1, threads):
            # The thread's own reference keeps the mailbox alive for as long as it may look there.
            work = threading.Thread(target=_follow, args=(follow, self._mailbox, part), name="qengine", daemon=True)
            try:
                work.start()
            except RuntimeError:
                self._tell_to_return()
                raise ThreadsError(f"{threads} threads are needed, and {part} can be had") from None
            self._threads.append(work)

    def hand_over(self, runner: int, parts: NDArray[np.int64], state: NDArray[np.int64]) -> tuple[int, int]:
        """Return machine code and arguments of the kernel that runs the parts of a run; for the one whose turn it is.

        Parameters
        ----------
        runner
            Address of the machine code of a kernel.
        parts
            (threads,) addresses of the kernel's arguments, one for each thread.
        state
            Numbers that are set to 0 before.
        """
        followers = len(self._threads)
        addresses = (runner, parts.ctypes.data, state.ctypes.data)
        self._arguments[:] = self._mailbox.ctypes.data, followers, *addresses, state.size
        return self._lead, self._arguments.ctypes.data

    def stop(self) -> None:
        """Let the followers return, unless a run is on its way, and wait until they have."""
        if self.turn.guard.acquire(timeout=_STOP_SECONDS):
            self._tell_to_return()
            for thread in self._threads:
                thread.join(_STOP_SECONDS)

    def _tell_to_return(self) -> None:
        """Hand over a run without parts."""
        self._arguments[:] = self._mailbox.ctypes.data, 0, 0, 0, 0, 0
        call(self._lead, self._arguments.ctypes.data)


def _follow(code: int, mailbox: NDArray[np.int64], part: int) -> None:
    arguments = np.array([mailbox.ctypes.data, part], np.int64)
    call(code, arguments.ctypes.data)


def _new_mailbox(threads: int) -> NDArray[np.int64]:
    """Return the mailbox of a team whose first run is still to come."""
    size = OFFERS + OFFER * threads
    memory = np.zeros(size + 8, np.int64)
    start = -memory.ctypes.data % 64 // 8
    box = memory[start : start + size]
    functions = _functions()
    if not all(functions[1:]):
        raise ThreadsError("this system has no condition variables: give 1 thread")
    box[YIELD : WAKE + 1] = functions
    if os.name != "nt":  # there, zeros are a mutex and a condition variable
        library = ctypes.CDLL(None)
        for make, place in ((library.pthread_mutex_init, MUTEX), (library.pthread_cond_init, CONDITION)):
            if make(ctypes.c_void_p(box.ctypes.data + 8 * place), None):
                raise ThreadsError("this system makes no condition variables: give 1 thread")
    return box


_TEAMS: dict[int, Team] = {}
_TEAMS_LOCK = Lock()


def team(threads: int, lead: int, follow: int) -> Team:
    """Return the process's team of a number of threads; see `Team`."""
    with _TEAMS_LOCK.guard:
        if threads not in _TEAMS:
            _TEAMS[threads] = Team(threads, lead, follow)
        return _TEAMS[threads]


@atexit.register
def _stop_all() -> None:
    """Let all followers return before the machine code that they wait in is freed."""
    for one in _TEAMS.values():
        one.stop()


if hasattr(os, "register_at_fork"):
    # A forked child has only the thread that forked.
    os.register_at_fork(after_in_child=_TEAMS.clear)
