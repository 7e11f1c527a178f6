"""Batches of several runs that can be iterated again, from memory if they are small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from qengine.data.datasets.dataset import Batch

_MAX_CACHED_BYTES = 1 << 26  # larger data is read again in each iteration


class Runs:
    """Iterable of batches, which are read once if they are small, and otherwise in each iteration.

    Parameters
    ----------
    read
        Function that returns the batches, from the first.
    samples
        Number of samples in all batches together.

    Attributes
    ----------
    first : first batch.
    samples : number of samples in all batches together.
    """

    def __init__(self, read: Callable[[], Iterable[Batch]], samples: int) -> None:
        self.first, self.samples = next(iter(read())), samples
        arrays = (*self.first.feeds.values(), *self.first.targets.values())
        is_small = sum(np.asarray(array).nbytes for array in arrays) * samples <= _MAX_CACHED_BYTES * self.first.count
        self._cached = list(read()) if is_small else None
        self._read = read

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches, from the first."""
        return iter(self._read() if self._cached is None else self._cached)


class Feeds:
    """Iterable of the feeds of batches, without targets and labels."""

    def __init__(self, runs: Iterable[Batch]) -> None:
        self._runs = runs

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the feeds of each run."""
        return (batch.feeds for batch in self._runs)


def feeds_of(runs: Iterable[Batch], advance: Callable[[float], None]) -> Iterator[Mapping[str, Any]]:
    """Yield the feeds of each run, and call `advance` with its number of samples when the next run is requested."""
    for batch in runs:
        yield batch.feeds
        advance(batch.count)
