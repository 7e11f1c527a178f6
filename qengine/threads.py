"""The number of usable cores, and a limit on the threads of NumPy's linear algebra."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

from threadpoolctl import ThreadpoolController

from qengine.kernels.locks import Lock


def available_threads() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class _BlasThreads:
    """Limit on the threads of the BLAS library, which all threads of the process share.

    Runs may overlap. The limit of the run that began last applies, and the run that ends last restores the limits
    that there were before.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = 0
        self._before: Any = None

    @cached_property
    def _pools(self) -> ThreadpoolController:
        return ThreadpoolController()

    def limited(self, threads: int | None) -> AbstractContextManager[None]:
        """Limit BLAS to a number of threads while the context lasts; None sets no limit."""
        return nullcontext() if threads is None else self._limited(threads)

    @contextmanager
    def _limited(self, threads: int) -> Iterator[None]:
        with self._lock.guard:
            limit = self._pools.limit(limits=threads, user_api="blas")
            if not self._runs:
                self._before = limit
            self._runs += 1
        try:
            yield
        finally:
            with self._lock.guard:
                self._runs -= 1
                if not self._runs:
                    self._before.restore_original_limits()


BLAS = _BlasThreads()
"""The only instance, as the limit belongs to the process."""
