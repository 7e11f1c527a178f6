"""What one run after the other is fed, as often as it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from qengine.data.datasets.dataset import Batch

_KEPT_BYTES = 1 << 26  # of data that is held in memory


class Runs:
    """Batches, which are read once where they are small, and otherwise anew each time.

    Parameters
    ----------
    read
        Gives them, from the first.
    samples
        How many they hold together.

    Attributes
    ----------
    first : the first of them.
    samples : as it was given.
    """

    def __init__(self, read: Callable[[], Iterable[Batch]], samples: int) -> None:
        self.first, self.samples = next(iter(read())), samples
        arrays = (*self.first.feeds.values(), *self.first.targets.values())
        is_small = sum(np.asarray(array).nbytes for array in arrays) * samples <= _KEPT_BYTES * self.first.count
        self._kept = list(read()) if is_small else None
        self._read = read

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches, from the first."""
        return iter(self._read() if self._kept is None else self._kept)


class Feeds:
    """The feeds of runs alone: an iterable that can be iterated again."""

    def __init__(self, runs: Iterable[Batch]) -> None:
        self._runs = runs

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Give the feeds of one run after the other."""
        return (batch.feeds for batch in self._runs)


def fed(runs: Iterable[Batch], advance: Callable[[float], None]) -> Iterator[Mapping[str, Any]]:
    """Give the feeds of one run after the other, and tell how many samples it had when it is done."""
    for batch in runs:
        yield batch.feeds
        advance(batch.count)
