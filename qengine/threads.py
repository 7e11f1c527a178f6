"""How many threads there are, and those of NumPy's linear algebra."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from threadpoolctl import ThreadpoolController

from qengine.kernels.locks import Lock


def available_threads() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


class _Blas:
    """The threads of linear algebra, which are the whole process's: the last run to end puts back what was."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._runs = 0
        self._before: Any = None

    @cached_property
    def _pools(self) -> ThreadpoolController:
        return ThreadpoolController()

    @contextmanager
    def limited(self, threads: int | None) -> Iterator[None]:
        """Limit them while the context lasts, unless by None; of runs at the same time the last to begin decides."""
        if threads is None:
            yield
            return
        with self._lock.held:
            limit = self._pools.limit(limits=threads, user_api="blas")
            if not self._runs:
                self._before = limit
            self._runs += 1
        try:
            yield
        finally:
            with self._lock.held:
                self._runs -= 1
                if not self._runs:
                    self._before.restore_original_limits()


BLAS = _Blas()
